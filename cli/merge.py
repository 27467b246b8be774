"""``boltzgen merge``: several folders of samples become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.sample import show_summary
from boltzgen_cli.terminal import console


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="OUT...", help="Folders written by sample.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for all samples.")],
) -> None:
    """Join samples of one molecule that were drawn with different seeds.

    Example: boltzgen merge OUT1 OUT2 -o OUT
    """
    from boltzgen.workflows.sampling.merge import merge as work

    found = work(folders, output)
    console.result(found)
    show_summary(output, found)
