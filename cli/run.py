"""``boltzgen run``: from a molecule and a question to an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from boltzgen.errors import PartialError
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal import prepare_options as options
from boltzgen_cli.terminal.fields import in_words
from boltzgen_cli.terminal.run_options import DataTemperature, DryRun

if TYPE_CHECKING:
    from boltzgen.workflows.roads.answer import Run

#: Joint states of several torsions that the terminal shows.
JOINT = 4

#: Reasons of the verdict that the terminal shows, the worst: a peptide may have one for each of its states.
REASONS = 4


def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="MOLECULE",
            help="What prepare takes, a SYS folder, or example:NAME; or --sequence, --smiles.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything; goes on in it.")
    ] = Path("DIR"),
    states: Annotated[
        str, typer.Option(metavar="FILE|auto", help="States file; auto: the wells of each torsion.")
    ] = "auto",
    temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 300.0,
    precision: Annotated[
        str, typer.Option(metavar="0.1kT", help="Standard error to reach; kT, kJ/mol or kcal/mol.")
    ] = "0.1kT",
    time: Annotated[str, typer.Option(metavar="TIME", help="Most time, such as 5m, 30m or 2h.")] = "30m",
    frames: Annotated[
        Path | None,
        typer.Option(metavar="MD", help="Trajectory or MD folder to train on, instead of simulating."),
    ] = None,
    check_frames: Annotated[
        Path | None,
        typer.Option(metavar="MD", help="Another one to check with; default: the last half of --frames."),
    ] = None,
    data_temperature: DataTemperature = None,
    config: Annotated[
        str | None, typer.Option(metavar="CONFIG", help="How to train, instead of what suits the molecule.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Departure from it, repeatable.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples to draw, instead of what a pilot says.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of everything that is drawn.")] = 0,
    sequence: options.Sequence = None,
    smiles: options.Smiles = None,
    capped: options.Capped = False,
    coordinates: options.Coordinates = None,
    include: options.Include = None,
    forcefield: options.Forcefield = None,
    charges: options.Charges = None,
    implicit: options.Implicit = "none",
    surface: options.Surface = "ace",
    radii: options.Radii = None,
    constraints: options.Constraints = "none",
    add_hydrogens: options.AddHydrogens = False,
    ph: options.Ph = 7.0,
    minimize: options.Minimize = None,
    name: options.Name = None,
    free_rotation: options.FreeRotation = None,
    bridge: options.Bridge = False,
    bridge_platform: options.BridgePlatform = "auto",
    bridge_workers: options.BridgeWorkers = 1,
    ml: options.Ml = None,
    ml_region: options.MlRegion = "all",
    ml_option: options.MlOption = None,
    dry_run: DryRun = False,
) -> None:
    """From a molecule to populations and free energies with errors and a verdict, in one command.

    It takes the road that suits the molecule (a shipped model, adapted or not, or a simulation and training),
    says why and how long that takes, and prints the commands that do the same by hand.

    Examples:

    boltzgen run --sequence AGS --implicit obc1 -o AGS --precision 0.3kT --time 5m

    boltzgen run --smiles ClCCCl -o DCE

    boltzgen run molecule.prmtop --coordinates molecule.inpcrd -o DIR --states states.yaml --time 2h
    """
    asked = options.chosen(locals())

    from boltzgen.workflows.roads.run import run as work

    with console.long_verb("run") as (stop, progress), cut_short():
        result = work(
            source,
            output,
            states=states,
            temperature=temperature,
            precision=precision,
            time=time,
            frames=frames,
            check_frames=check_frames,
            data_temperature=data_temperature,
            config=config,
            overrides=override or (),
            samples=samples,
            seed=seed,
            stop=stop,
            say=console.message,
            listen=console.progress,
            words=in_words,
            expect=progress.expecting(True) if dry_run else None,
            **asked,
        )
    show(result)


@contextmanager
def cut_short() -> Iterator[None]:
    """Where the time was over before the end, what there is of the answer is shown before the error."""
    try:
        yield
    except PartialError as error:
        if error.result is not None:
            show(cast("Run", error.result))
        raise


def show(result: Run) -> None:
    """Print the answer: each torsion's states, or those asked for; of joint states the likeliest.

    `answer.json` and the page have all of them, and the same in sentences.
    """
    from boltzgen_cli.free_energy import tables

    console.result(result)
    content = result.to_json()
    joint = [one for one in content["populations"] if one["result"] == result.joint]
    states = [
        one for one in (*content["populations"], *content["mirror_images"]) if one["result"] != result.joint
    ]
    if states:
        tables.populations(states)
        differences = [one for one in content["free_energies"] if one["result"] != result.joint]
        tables.estimates("free energies", differences, unit="kT")
    else:
        console.message("No torsion has more than one well here; OUT holds the ensemble.")
    if joint:
        tables.populations(
            joint[:JOINT], f"joint states: the likeliest {min(JOINT, len(joint))} of {len(joint)}"
        )
    if result.conformers:
        tables.populations(
            [{**one, "name": one["labels"] or one["name"]} for one in result.conformers],
            "conformers, mirror images together",
        )
    console.key_values(f"answer: {result.folder}", result.rows())
    console.finding(f"verdict: {result.verdict}")
    for reason in result.reasons[:REASONS]:
        console.finding(f"- {reason}")
    more = len(result.reasons) - REASONS
    if more > 0:
        console.finding(f"- and {more} more reasons, in {result.folder / 'answer.json'} and on the page")
    for helps in result.next:
        console.finding(f"- {helps}")
