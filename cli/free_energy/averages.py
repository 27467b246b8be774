"""``boltzgen free-energy observable`` and ``thermo``: averages over the target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.free_energy import tables as free_energy_tables
from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console


def observable(
    folder: words.Folder,
    names: Annotated[
        list[str] | None, typer.Option("--of", metavar="NAME", help="Observable; may be given again.")
    ] = None,
    values: Annotated[
        Path | None, typer.Option(metavar="NPY", help="Your own: one row for each sample, by numpy.save.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Unit of --values.")] = "1",
    coordinates: words.Coordinates = None,
    system: Annotated[
        Path | None, typer.Option(metavar="SYS", help="For dipoles and rg-mass, where SYS was moved.")
    ] = None,
    smooth: words.Smooth = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Result file; default OUT/observable.json."),
    ] = None,
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
) -> None:
    """Expectation values over the target, with errors.

    Names: rg, rg-mass, sasa, asphericity, acylindricity, shape-anisotropy (nm); dipole, dipole-rms (D);
    J3-HN-HA, J3-HN-C, J3-HN-CB, J3-HCCH, J3(A,B,C):ATOM-ATOM-ATOM-ATOM (Hz); noe:ATOM-ATOM (nm), groups
    as H4+H5; hbond, hbond(Wernet-Nilsson); phi, psi:3 ... as cosine and sine; what --coordinates declares;
    x0 in a model system. An atom is an index from 0, a name, or RESIDUE.NAME.

    Example: boltzgen free-energy observable OUT --of rg --of J3-HN-HA:2 --of noe:2.HA-3.H
    """
    from boltzgen.workflows.free_energy.averages import observable as work

    result = work(
        folder,
        names or (),
        values=values,
        unit=unit,
        coordinates=coordinates,
        system=system,
        smoothed=smooth,
        output=output,
        n_bootstrap=bootstrap,
        seed=seed,
    )
    console.result(result)
    free_energy_tables.estimates(
        free_energy_tables.title("expectation values", result.document), result.document["estimates"]
    )
    for note in result.document.get("notes", ()):
        console.message(note)
    free_energy_tables.verdicts(result.document["estimates"])
    free_energy_tables.written(result)
    result.check(strict=strict)


def thermo(
    folder: words.Folder,
    states: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same of each state (YAML or JSON).")
    ] = None,
    step: Annotated[
        float, typer.Option(min=1e-4, max=0.2, help="Relative step in temperature of the check.")
    ] = 0.01,
    smooth: words.Smooth = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Result file; default OUT/thermo.json."),
    ] = None,
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
) -> None:
    """Energy, heat capacity, entropy and free energy of the configurations.

    Of the potential energy at fixed parameters: no momenta, and no solvation entropy, since the
    implicit solvent does not change with temperature here. With --states the same of each state, and
    the differences that the file names.

    Example: boltzgen free-energy thermo OUT -o thermo.json
    """
    from boltzgen.workflows.free_energy.averages import thermo as work

    result = work(
        folder,
        states_file=states,
        relative_step=step,
        smoothed=smooth,
        output=output,
        n_bootstrap=bootstrap,
        seed=seed,
    )
    console.result(result)
    content = result.document
    entries = [{**entry, "name": f"{entry['name']}: {entry['quantity']}"} for entry in content["estimates"]]
    free_energy_tables.estimates(free_energy_tables.title("configurational quantities", content), entries)
    console.message(content["scope"])
    free_energy_tables.verdicts(content["estimates"])
    free_energy_tables.written(result)
    result.check(strict=strict)
