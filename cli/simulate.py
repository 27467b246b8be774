"""The verb ``simulate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from boltzgen.interrupts import StopRequest, parse_duration
from boltzgen_cli import console


def simulate(
    system: Annotated[Path, typer.Argument(metavar="SYS", help="Folder written by prepare.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MD", help="Folder to write.")],
    temperatures: Annotated[
        str, typer.Option(help="Ladder in K, with commas, rising; one alone is Langevin dynamics.")
    ] = "300",
    time: Annotated[str, typer.Option(help="Sampling time of each replica, such as 2ns or 500ps.")] = "1ns",
    timestep: Annotated[str, typer.Option(help="Integration step; at most 2fs without constraints.")] = "1fs",
    friction: Annotated[float, typer.Option(help="Langevin friction in 1/ps.")] = 2.0,
    exchange_interval: Annotated[str, typer.Option(help="Time between rounds of exchanges.")] = "0.5ps",
    save_interval: Annotated[str, typer.Option(help="Time between saved frames.")] = "0.5ps",
    equilibration: Annotated[str, typer.Option(help="Time run and thrown away first.")] = "10ps",
    seed: Annotated[int, typer.Option(help="Seed of velocities, noise and exchanges.")] = 0,
    platform: Annotated[
        str, typer.Option(help="OpenMM platform; auto measures and takes the fastest.")
    ] = "auto",
    resume: Annotated[
        str, typer.Option(help="auto goes on with, or lengthens, the run in MD; never refuses one.")
    ] = "never",
    max_time: Annotated[
        str | None, typer.Option(help="Stop and save after this long, such as 90s, 15m or 2h.")
    ] = None,
) -> None:
    """Make reference and training data: replica exchange or Langevin dynamics in OpenMM.

    MD receives one HDF5 file per temperature, which MDTraj reads, and manifest.json with exchange rates,
    round trips and statistical inefficiencies. A first interrupt finishes the block, saves and prints the
    command that goes on.

    Example: boltzgen simulate SYS -o MD --temperatures 300,366,446,543,662,800 --time 2ns
    """
    limit = parse_duration(max_time) if max_time is not None else None
    from boltzgen.workflows.simulate import simulate as work

    with StopRequest(max_time=limit) as stop, console.progress("simulate, ps of each replica") as progress:
        result = work(
            system,
            output,
            temperatures=temperatures,
            time=time,
            timestep=timestep,
            friction=friction,
            exchange_interval=exchange_interval,
            save_interval=save_interval,
            equilibration=equilibration,
            seed=seed,
            platform=platform,
            resume=resume,
            stop=stop,
            progress=progress,
            command=sys.argv,
        )
    manifest = result.manifest
    console.key_values(
        f"{result.folder}: {result.frames} frames at each temperature",
        {
            "molecule": f"{manifest['system']['name']}, {manifest['system']['n_atoms']} atoms",
            "platform": manifest["platform"],
            "wall time, s": manifest["wall_seconds"],
        },
    )
    measured = manifest["statistical_inefficiency"]
    pairs = (manifest["exchange"] or {}).get("pairs", [])
    rows = []
    for rung, kelvin in enumerate(manifest["temperatures_K"]):
        slowest = max((g for k, g in measured.items() if k.endswith(f"@{kelvin:g}K")), default=None)
        up = pairs[rung]["acceptance"] if rung < len(pairs) else None
        rows.append((f"{kelvin:g}", None if slowest is None else int(result.frames / slowest), up))
    console.table("", ("K", "independent frames", "exchange with next"), rows)
