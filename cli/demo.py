"""``boltzgen demo``: the whole road on alanine dipeptide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen.interrupts import StopRequest
from boltzgen_cli import console


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it makes.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of training and sampling.")] = 0,
) -> None:
    """From a PDB file to a free energy with its error, in about five minutes.

    Example: boltzgen demo -o demo

    Prints the commands that do the same by hand.
    """
    from boltzgen.workflows.demo import demo as work

    with StopRequest() as stop:
        work(
            output,
            seed=seed,
            stop=stop,
            say=console.message,
            listen=console.progress,
            show=console.key_values,
        )
