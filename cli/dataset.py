"""``boltzgen dataset``: many molecules, prepared and simulated, split by molecule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import Verbs
from boltzgen_cli.terminal.run_options import DryRun, MaxTime

if TYPE_CHECKING:
    from boltzgen.workflows.datasets.build import Dataset, DatasetMolecule

app = Verbs(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def dataset() -> None:
    """Systems and data of many molecules, to train one flow on.

    Example: boltzgen dataset build dataset-capped-amino-acids -o DATASET
    """


@app.command("build")
def build(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of a shipped configuration.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Departures from CONFIG: simulation.evaluations=1e5."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DATASET", help="Folder of the data set.")
    ] = Path("DATASET"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Build this molecule alone; again for more.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="train|validation|test", help="Build the molecules of this split; again."),
    ] = None,
    systems_only: Annotated[
        bool, typer.Option("--systems-only", help="Prepare without data: to sample, to train on energies.")
    ] = False,
    rebuild: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Throw this molecule away, make it anew; again.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="PACKED", help="Take frames of this packed run, simulate the rest.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to simulate.")] = "cpu",
    compile_energies: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile each energy; default: if the run gains by it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed, instead of the configuration's.")] = None,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Prepare and simulate the molecules of CONFIG into DATASET.

    The same command goes on where it was stopped, and adds molecules that CONFIG names since.

    Example: boltzgen dataset build dataset-dipeptides -o DATASET --split train --max-time 2h
    """
    from boltzgen.workflows.datasets.build import build_dataset

    with console.long_verb("dataset, molecules", max_time) as (stop, progress):
        result = build_dataset(
            config,
            output,
            overrides or [],
            only=only or (),
            split=split or (),
            systems_only=systems_only,
            rebuild=rebuild or (),
            frames=frames,
            device=device,
            compile_energies=compile_energies,
            seed=seed,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    _show(result)


@app.command("list")
def list_molecules(
    folder: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder written by dataset build.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every file with its SHA-256 first.")
    ] = False,
) -> None:
    """The molecules of a data set, and whether their simulations converged.

    Example: boltzgen dataset list DATASET --verify
    """
    from boltzgen.workflows.datasets.build import load_dataset

    found = load_dataset(folder, verify=verify)
    if verify:
        console.message(f"{folder}: every file is as it was written.")
    _show(found)


def _show(found: Dataset) -> None:
    console.result(found)
    console.table(
        f"{found.folder}: {found.status}",
        ("molecule", "split", "atoms", "frames", "g", "trips", "halves", "verdict"),
        [_row(one) for one in found.molecules],
    )
    total = sum(one.evaluations for one in found.molecules)
    console.message(
        f"{total} energy evaluations; frames at each temperature; at the lowest: g, frames for one that is "
        "independent; halves: the largest change between them in standard errors."
    )


def _row(one: DatasetMolecule) -> tuple[str | int | float | None, ...]:
    known = one.convergence
    g, halves = known.get("inefficiency"), known.get("halves") or {}
    verdict = known.get("verdict") or ("no data" if one.status == "complete" else one.status)
    return (
        one.name,
        one.split,
        one.atoms,
        one.frames,
        g and round(g, 1),
        known.get("round_trips"),
        (z := halves.get("z")) and round(z, 1),
        verdict,
    )
