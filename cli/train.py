"""``boltzgen train``: a configuration becomes a run with checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import CompileEnergies, Device, DryRun, MaxTime, Resume, RunFolder


def train(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped configuration."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Departures from CONFIG, as in optimizer.steps=500."),
    ] = None,
    output: RunFolder = Path("RUN"),
    resume: Resume = "never",
    device: Device = "cpu",
    max_time: MaxTime = None,
    dry_run: DryRun = False,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the configuration's.")] = None,
    compile_energies: CompileEnergies = None,
) -> None:
    """Train a Boltzmann generator on data, on the energy, or on both.

    Example: boltzgen train alanine-dipeptide-demo -o RUN system=SYS data=MD

    Stopped by a signal or --max-time, a run goes on with --resume auto.
    """
    from boltzgen.workflows.training.train import train as work

    with console.long_verb("train", max_time) as (stop, progress):
        result = work(
            config,
            overrides or [],
            output,
            resume=resume,
            device=device,
            seed=seed,
            compile_energies=compile_energies,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    if os.environ.get("RANK", "0") == "0":
        console.key_values(f"trained: {output}", result.rows())
