"""``boltzgen cite``: what to cite, as BibTeX."""

from __future__ import annotations

from typing import Annotated

import typer

from boltzgen_cli.terminal import console


def cite(
    path: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="SYS, MD, DATASET, RUN, OUT, a model or a result file."),
    ] = None,
) -> None:
    """Print BibTeX of boltzgen and of the methods that PATH used; without PATH, of all it can use.

    Example: boltzgen cite OUT/free_energy.json > methods.bib
    """
    from boltzgen.workflows.installation.cite import cite as work

    found = work(path)
    console.result(found)
    console.text(found.bibtex(), end="")
    for note in found.notes:
        console.message(note)
