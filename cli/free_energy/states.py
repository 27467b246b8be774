"""``boltzgen free-energy``: estimators on folders of weighted samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boltzgen_cli.free_energy import tables as free_energy_tables
from boltzgen_cli.free_energy import words
from boltzgen_cli.free_energy.averages import observable, thermo
from boltzgen_cli.free_energy.between import between
from boltzgen_cli.free_energy.mbar import mbar
from boltzgen_cli.free_energy.surface import surface
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import Verbs

if TYPE_CHECKING:
    from boltzgen.workflows.free_energy.results import FreeEnergyResult

app = Verbs(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def free_energy() -> None:
    """Free energies with their errors, from weighted samples.

    Example: boltzgen free-energy states OUT --states states.yaml
    """


@app.command("states")
def states(
    folder: words.Folder,
    states_file: Annotated[
        Path, typer.Option("--states", metavar="FILE", help="States by torsions or distances (YAML or JSON).")
    ],
    smooth: words.Smooth = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Result file; default OUT/free_energy.json."),
    ] = None,
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
) -> None:
    """Free-energy differences between conformational states, dG(A->B) = G_B - G_A.

    A states file, with ready names phi, psi, omega, chi1 ... (phi:3 is residue 3), in degrees:

    \b
        states:
          - {name: left,  where: {phi: [-180, 0]}}
          - {name: right, where: {phi: [0, 180]}}
        differences: [[left, right]]

    Other torsions and distances (nm) are declared by MDTraj selections of one atom each:

    \b
        coordinates:
          ends: {distance: ["resid 0 and name C", "resid 2 and name N"]}

    Example: boltzgen free-energy states OUT --states states.yaml -o free_energy.json
    """
    from boltzgen.workflows.free_energy.states import free_energy_states

    result = free_energy_states(
        folder, states_file, smoothed=smooth, output=output, n_bootstrap=bootstrap, seed=seed
    )
    console.result(result)
    show(result)
    result.check(strict=strict)


app.command("surface")(surface)
app.command("observable")(observable)
app.command("thermo")(thermo)
app.command("between")(between)
app.command("mbar")(mbar)


def show(result: FreeEnergyResult) -> None:
    """Print the differences, the populations of the states, and what spoils a verdict."""
    content = result.document
    heading = free_energy_tables.title("free-energy differences", content)
    free_energy_tables.estimates(f"{heading}, {content['convention']}", content["estimates"])
    free_energy_tables.populations(content["states"])
    free_energy_tables.verdicts(content["estimates"])
    free_energy_tables.written(result)
