"""``boltzgen conformers``: samples gathered into wells, with what each holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime

if TYPE_CHECKING:
    from boltzgen.workflows.conformers.record import ConformerTable

#: Wells that the terminal shows, and reasons of the verdict.
WELLS, REASONS = 20, 6

#: Wells of which observables are shown.
OBSERVED = 6


def conformers(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="OUT|FILE",
            help="OUT, the DIR of run, MD, a trajectory, or structures (SDF, CREST's XYZ); or --smiles.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = Path(
        "DIR"
    ),
    smiles: Annotated[
        str | None,
        typer.Option(metavar="SMILES", help="Small molecule to prepare and to answer by run first."),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(metavar="SYS|FILE", help="The molecule, or SDF or mol2 of it; default: the samples'."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature in K, where the samples do not say it; default 300.")
    ] = None,
    pose: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One structure: the free energy of staying near it.")
    ] = None,
    within: Annotated[
        float, typer.Option(metavar="NM", help="How near, by the symmetric RMSD of heavy atoms.")
    ] = 0.1,
    names: Annotated[
        list[str] | None,
        typer.Option("--of", metavar="NAME", help="Observable of each well, as free-energy observable."),
    ] = None,
    coordinates: words.Coordinates = None,
    rows: Annotated[int, typer.Option(min=1, help="Samples to minimise at most, chosen by weight.")] = 2000,
    forcefield: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --smiles, or of a molecule's file; default mmff94.")
    ] = None,
    charges: Annotated[
        str | None, typer.Option(metavar="bcc|abcg2|file|FILE", help="Charges of gaff2, gaff, OpenFF.")
    ] = None,
    implicit: Annotated[
        str, typer.Option(metavar="MODEL", help="Implicit solvent: none, hct, obc1, obc2, gbn, gbn2.")
    ] = "none",
    time: Annotated[str, typer.Option(metavar="TIME", help="With --smiles: most time of run.")] = "30m",
    precision: Annotated[
        str, typer.Option(metavar="0.1kT", help="With --smiles: standard error that run is to reach.")
    ] = "0.1kT",
    bootstrap: words.Bootstrap = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of samples and the bootstrap.")] = 0,
    strict: words.Strict = False,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Which conformers, in which proportions: wells with populations, free energies and entropies.

    Samples are minimised; minima that nobody can tell apart are one well, mirror images of an achiral
    molecule too. DIR receives conformers.json and .csv, conformers.sdf with properties, and
    crest_conformers.xyz for other programs.

    Examples:

    boltzgen conformers OUT -o WELLS

    boltzgen conformers crest_conformers.xyz --system SYS -o WELLS

    boltzgen conformers OUT -o WELLS --of J3-HCCH --of dipole

    boltzgen conformers --smiles ClCCCl -o WELLS --time 10m
    """
    from boltzgen.workflows.conformers.conformers import conformers as work

    with console.long_verb("conformers", max_time) as (stop, progress):
        result = work(
            source,
            output,
            smiles=smiles,
            system=system,
            temperature=temperature,
            pose=pose,
            within=within,
            names=names or (),
            coordinates=coordinates,
            rows=rows,
            forcefield=forcefield,
            charges=charges,
            implicit=implicit,
            time=time,
            precision=precision,
            n_bootstrap=bootstrap,
            seed=seed,
            stop=stop,
            progress=progress,
            say=console.message,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    show(result)
    result.check(strict=strict)


def show(result: ConformerTable) -> None:
    """Print the wells, the entropies, the pose, and what spoils the verdict."""
    shown = result.wells[:WELLS]
    more = "" if len(result.wells) <= WELLS else f": the first {WELLS} of {len(result.wells)}"
    console.table(
        f"wells at {result.temperature:g} K{more}",
        ("", "labels", "images", "percent", "95 % from", "to"),
        [
            (
                one["name"],
                one["labels"],
                one["degeneracy"],
                *map(_percent, (one["population"], *one["interval95"])),
            )
            for one in shown
        ],
    )
    console.table(
        "over the first well, kcal/mol and k; percent by counting minima",
        ("", "G", "95 % from", "to", "E", "S", "energies alone", "RRHO"),
        [_counted(one, shown[0]) for one in shown],
    )
    if result.observables or any(one["observables"] for one in shown):
        console.table(
            "observables, of all and of each well",
            ("observable", "of", "value", "95 % from", "to", "unit"),
            [
                (one["name"], whose, one["value"][one["unit"]], *one["interval95"][one["unit"]], one["unit"])
                for whose, told in (
                    ("all", result.observables),
                    *((well["name"], well["observables"]) for well in shown[:OBSERVED]),
                )
                for one in told
            ],
        )
    rows = [(one["name"], one["value"]["k"], *one["interval95"]["k"]) for one in result.entropies]
    if rows:
        console.table("entropies, k", ("", "value", "95 % from", "to"), rows)
    if result.pose is not None:
        console.key_values("the pose", _pose(result.pose))
    console.key_values(f"conformers: {result.folder}", result.rows())
    console.finding(f"verdict: {result.verdict}")
    for reason in result.reasons[:REASONS]:
        console.finding(f"- {reason}")
    if len(result.reasons) > REASONS:
        console.finding(f"- and {len(result.reasons) - REASONS} more reasons, in conformers.json")
    for note in result.notes:
        console.message(f"- {note}")
    console.message(f"written: {', '.join(str(path) for path in result.files)}")


def _counted(one: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[Any, ...]:
    """Free energy, minimised energy and entropy over the `first` well, and what counting minima gives."""
    free = one["free_energy"] or {}
    entropies = [(well["entropy"] or {}).get("value", {}).get("k") for well in (one, first)]
    entropy = None if None in entropies else entropies[0] - entropies[1]
    return (
        one["name"],
        (free.get("value") or {}).get("kcal/mol"),
        *((free.get("interval95") or {}).get("kcal/mol") or (None, None)),
        one["over_lowest"]["kcal/mol"] - first["over_lowest"]["kcal/mol"],
        entropy,
        _percent(one["population_by_energies"]),
        _percent(one["population_by_oscillators"]),
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _pose(pose: Mapping[str, Any]) -> dict[str, Any]:
    free = pose["free_energy"]
    low, high = free["interval95"]["kcal/mol"]
    strain = pose["minimum_over_lowest"] or {}
    return {
        "within (nm)": pose["within_nm"],
        "population, %": _percent(pose["population"]["population"]),
        "free energy of staying (kcal/mol)": free["value"]["kcal/mol"],
        "95 % from": low,
        "95 % to": high,
        "its minimum over the lowest (kcal/mol)": strain.get("kcal/mol"),
        "verdict": free["verdict"],
    }
