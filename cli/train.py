"""``boltzgen train``: a configuration becomes a run with checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from boltzgen.interrupts import StopRequest, parse_duration
from boltzgen_cli import console


def train(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped configuration."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Departures from CONFIG, as in optimizer.steps=500."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run.")] = Path(
        "RUN"
    ),
    resume: Annotated[
        str, typer.Option(metavar="auto|never|CHECKPOINT", help="Where to go on; auto: the latest in RUN.")
    ] = "never",
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")] = "cpu",
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop with a checkpoint after 90s, 15m, 2h.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the configuration's.")] = None,
    compile_energies: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile the energy; default: if the run gains by it."),
    ] = None,
) -> None:
    """Train a Boltzmann generator on data, on the energy, or on both.

    Example: boltzgen train alanine-dipeptide-demo -o RUN system=SYS data=MD

    Stopped by a signal or --max-time, a run goes on with --resume auto.
    """
    limit = parse_duration(max_time) if max_time is not None else None

    from boltzgen.workflows.train import train as work

    with StopRequest(limit) as stop, console.progress("train") as progress:
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
        )
    if os.environ.get("RANK", "0") == "0":
        console.key_values(f"trained: {output}", result.summary())
