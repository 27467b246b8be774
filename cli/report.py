"""``boltzgen report``: one offline page about a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.fields import in_words


def report(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="DIR of a whole run, OUT, RUN, MD or SYS.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")
    ] = Path("report.html"),
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Each figure also as SVG file beside the page.")
    ] = True,
) -> None:
    """Write one offline HTML page: the answer, the molecule, and all that speaks for and against it.

    Example: boltzgen report OUT -o report.html
    """
    from boltzgen.workflows.reporting.report import report as work

    page = work(path, output, figures=figures, words=in_words)
    console.result(page)
    console.key_values("report", page.rows())
    console.message(f"written: {page.path} ({page.seconds:.1f} s)")
