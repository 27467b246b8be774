"""``boltzgen demo``: the whole road on alanine dipeptide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli import run
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.fields import in_words
from boltzgen_cli.terminal.run_options import DryRun, MaxTime


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it makes.")] = Path(
        "demo"
    ),
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate instead of taking the frames shipped.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and sampling.")] = 0,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """From a PDB file to a free energy with its error, in about two minutes: run, on alanine dipeptide.

    Example: boltzgen demo -o demo

    Prints the commands that do the same by hand.
    """
    from boltzgen.workflows.installation.demo import demo as work

    with console.long_verb("demo", max_time) as (stop, progress), run.cut_short():
        result = work(
            output,
            simulate_anew=simulate,
            seed=seed,
            stop=stop,
            say=console.message,
            listen=console.progress,
            words=in_words,
            expect=progress.expecting(True) if dry_run else None,
        )
    run.show(result)
    console.message(f"Everything is in {result.folder}; {result.seconds:.0f} s in all.")
