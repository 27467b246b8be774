"""``boltzgen free-energy between``: the difference between two systems with the same atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.free_energy import tables as free_energy_tables
from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DataTemperature, DryRun, MaxTime


def between(
    a: Annotated[Path, typer.Argument(metavar="A", help="OUT folder of the first system.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="OUT folder of the second system.")],
    data_a: Annotated[Path | None, typer.Option(metavar="MD", help="Simulation of A.")] = None,
    data_b: Annotated[Path | None, typer.Option(metavar="MD", help="Simulation of B.")] = None,
    data_temperature: DataTemperature = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Flow samples sent each way where there is no simulation; 0: none.")
    ] = 10_000,
    relative_to: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Result of another leg, which is subtracted.")
    ] = None,
    output: words.Output = Path("between.json"),
    device: words.Device = "cpu",
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Free-energy difference between two systems with the same atoms, dG(A->B) = G_B - G_A.

    Vacuum and solvent, two force fields, a force field and a hybrid, two temperatures. Every estimator
    that the folders allow is tried, the best stands first: partition functions of both flows, BAR
    with and without the map that both flows make, and BAR with simulations.

    Example: boltzgen free-energy between OUT-VACUUM OUT-SOLVENT -o solvation.json
    """
    from boltzgen.workflows.free_energy.between import between as work

    with console.long_verb("between", max_time) as (stop, progress):
        result = work(
            a,
            b,
            data_a=data_a,
            data_b=data_b,
            data_temperature=data_temperature,
            samples=samples,
            relative_to=relative_to,
            output=output,
            device=device,
            n_bootstrap=bootstrap,
            seed=seed,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    content = result.document
    entries = content["estimates"]
    if entries[0]["unit"] == "kT":
        heading = f"{free_energy_tables.title('free-energy difference', content)}, {content['convention']}"
    else:
        heading = entries[0]["quantity"]
    free_energy_tables.estimates(f"{heading}\n{entries[0]['name']}", entries, first="estimator")
    console.table(
        "how the systems meet",
        ("", "overlap", "hysteresis (kT)", "+-", "effective", "lost A", "lost B"),
        [
            [
                entry["estimator"],
                entry["overlap"],
                entry.get("hysteresis_kT"),
                entry.get("hysteresis_standard_error_kT"),
                entry["n_effective"],
                entry.get("outside_A"),
                entry.get("outside_B"),
            ]
            for entry in entries
        ],
    )
    for name, why in content["left_out"].items():
        console.message(f"not computed: {name}: {why}")
    free_energy_tables.verdicts(entries, first="estimator")
    free_energy_tables.written(result)
    result.check_best(strict=strict)
