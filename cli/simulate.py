"""The verb ``simulate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime


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
    engine: Annotated[
        str,
        typer.Option(metavar="auto|openmm|torch", help="What makes the steps; auto: the faster one here."),
    ] = "auto",
    platform: Annotated[
        str, typer.Option(help="OpenMM platform; auto measures and takes the fastest.")
    ] = "auto",
    starts: Annotated[
        str,
        typer.Option(
            metavar="auto|reference|conformers|FILE",
            help="Where replicas begin; FILE: SDF, XYZ (CREST's), a trajectory or MD.",
        ),
    ] = "auto",
    ring_moves: Annotated[
        int, typer.Option(help="Metropolis moves that turn a ring over, at every exchange or frame.")
    ] = 1,
    replicas: Annotated[
        int | None, typer.Option(help="torch: copies, a multiple of the temperatures; default about 128.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|cuda", help="torch: where to compute; default cpu.")
    ] = None,
    hydrogen_mass: Annotated[
        float | None, typer.Option(help="torch: dalton, taken from their neighbours; 3 suits 2fs.")
    ] = None,
    torsion_moves: Annotated[
        int | None,
        typer.Option(help="torch: Metropolis moves about rotatable bonds at every exchange or frame."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="single|double", help="torch: of the dynamics; default single.")
    ] = None,
    compile_energies: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="torch: compile the energy; default: if it pays."),
    ] = None,
    resume: Annotated[
        str, typer.Option(help="auto goes on with, or lengthens, the run in MD; never refuses one.")
    ] = "never",
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Make reference and training data: replica exchange or Langevin dynamics, in OpenMM or in torch.

    MD receives one HDF5 file per temperature, which MDTraj reads, and manifest.json with exchange rates,
    round trips and statistical inefficiencies. A first interrupt finishes the block, saves and prints the
    command that goes on.

    Example: boltzgen simulate SYS -o MD --temperatures 300,366,446,543,662,800 --time 2ns
    """
    from boltzgen.workflows.simulation.simulate import simulate as work

    with console.long_verb("simulate, ps of each replica", max_time) as (stop, progress):
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
            engine=engine,
            platform=platform,
            starts=starts,
            ring_moves=ring_moves,
            replicas=replicas,
            device=device,
            hydrogen_mass=hydrogen_mass,
            torsion_moves=torsion_moves,
            precision=precision,
            compile_energies=compile_energies,
            resume=resume,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
            command=sys.argv,
        )
    console.result(result)
    console.key_values(f"{result.folder}: {result.frames} frames at each temperature", result.rows())
    batched = result.batched
    if batched is not None:
        tried, taken = batched.moves_tried, batched.moves_taken
        console.key_values(
            "",
            {
                "independent walks": batched.walks,
                "replicas put back": batched.restarts,
                **({} if tried is None else {"moves about bonds": f"{taken} of {tried} taken"}),
                "largest drift, standard errors": max((abs(z) for z in batched.drift.values()), default=0.0),
            },
        )
    if result.ring_moves is not None:
        moves = result.ring_moves
        console.key_values("", {"moves of rings": f"{moves.taken} of {moves.tried} taken"})
    up = [pair.acceptance for pair in result.exchanges]
    rows = [
        (f"{kelvin:g}", result.independent_frames(kelvin), up[rung] if rung < len(up) else None)
        for rung, kelvin in enumerate(result.temperatures)
    ]
    console.table("", ("K", "independent frames", "exchange with next"), rows)
    if result.ring_states:
        states = [(ring.name, ring.frames, ring.height_kT) for ring in result.ring_states]
        console.table("", ("rings at the lowest temperature", "frames", "lowest conformer (kT)"), states)
    for warning in result.warnings:
        console.finding(warning if warning.startswith("caution: ") else f"warning: {warning}")
