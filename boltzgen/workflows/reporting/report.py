"""``report``: one offline HTML page of a folder, and its figures beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.files import make_folder, write_atomic
from boltzgen.folders import alone_with_file
from boltzgen.report.page.document import document, numbers
from boltzgen.report.page.sections import sections
from boltzgen.workflows.reporting.material import gather


@dataclass(frozen=True, repr=False)
class Page:
    """What `report` wrote.

    Attributes
    ----------
    path: the HTML file. folder: its figures as SVG files; None where none were written.
    numbers: what the page says, schema boltzgen.report/1 (docs/files.md). seconds: how long it took.
    """

    path: Path
    folder: Path | None
    numbers: dict[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The numbers of the page."""
        return self.numbers

    def rows(self) -> dict[str, Any]:
        """Name and value of what people look at first."""
        found = self.numbers["sections"].get("answer", {})
        return {
            "page": str(self.path),
            "figures": None if self.folder is None else str(self.folder),
            "sections": ", ".join(self.numbers["sections"]),
            "verdict": found.get("verdict"),
            "seconds": round(self.seconds, 1),
        }

    def __repr__(self) -> str:
        return f"<Page {self.path}: {len(self.numbers['sections'])} sections, {self.seconds:.1f} s>"


def report(
    path: str | PathLike[str],
    output: str | PathLike[str] = "report.html",
    *,
    figures: bool = True,
    words: Callable[[str], str] = str,
) -> Page:
    """One offline HTML page about `path`: the answer first, then all that speaks for and against it.

    Parameters
    ----------
    path: a folder of a whole run, OUT, RUN, MD or SYS; the page has the sections that it gives.
    output: the HTML file, under 5 MB, which needs no network.
    figures: write each figure as SVG file, too, into the folder ``report_files`` beside ``report.html``.
    words: turns the names of arguments in sentences into those of another language; the command line's.

    Returns
    -------
    Page: where it is, and ``numbers``, all that it says, as JSON.

    Raises
    ------
    InputError: `path` holds nothing that a page could be made of, or `output` cannot be written.

    Notes
    -----
    The same input gives the same bytes: the page has no time but those of the records that it was made
    from. What is damaged is named on the page; the rest is shown.

    Example
    -------
    >>> import boltzgen as bg
    >>> page = bg.write_report("OUT", "report.html")
    >>> page.numbers["schema"], page.path.stat().st_size < 5_000_000
    ('boltzgen.report/1', True)
    """
    started = time.monotonic()
    target = Path(output)
    if target.is_dir():
        raise InputError(f"{target} is a folder; `output` needs the name of a file, such as report.html.")
    material = gather(path, words)
    parts, frames = sections(material)
    text = document(material, parts, frames)
    folder = target.with_name(f"{target.stem}_files") if figures else None
    pictures = [picture for one in parts for picture in one.pictures]
    with alone_with_file(target):
        if folder is not None and pictures:
            make_folder(folder)
            for picture in pictures:
                write_atomic(folder / f"{picture.name}.svg", picture.svg)
        write_atomic(target, text)
    found = numbers(material, parts)
    return Page(target, folder if pictures else None, found, time.monotonic() - started)
