"""``boltzgen free-energy mbar``: one answer from many folders of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.free_energy import tables as free_energy_tables
from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime


def mbar(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="OUT folders of sample, MD folders of simulate.")
    ],
    systems: Annotated[
        list[Path] | None,
        typer.Option("--system", metavar="SYS", help="System of an MD folder, or a further state; again."),
    ] = None,
    temperatures: Annotated[
        list[float] | None,
        typer.Option("--temperature", metavar="K", help="Every system at this temperature, too; again."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="State that differences start at, as in SYS@300K.")
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Rows of each OUT folder that are used.")] = 20_000,
    output: words.Output = Path("mbar.json"),
    device: words.Device = "cpu",
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Free energies of many states from the samples of all of them, by MBAR.

    A state is a system at a temperature. Simulations give differences from the first state; samples of
    a flow make ln Z of every state absolute, too. All systems have the same atoms.

    Example: boltzgen free-energy mbar MD-A MD-HALF MD-B --system SYS-A --system SYS-HALF --system SYS-B
    """
    from boltzgen.workflows.free_energy.mbar import mbar as work

    with console.long_verb("mbar", max_time) as (stop, progress):
        result = work(
            folders,
            systems=systems or (),
            temperatures=temperatures or (),
            reference=reference,
            samples=samples,
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
    free_energy_tables.estimates(free_energy_tables.title("MBAR", content), content["estimates"])
    matrix = content["overlap_matrix"]
    console.table(
        "overlap matrix",
        ("", *matrix["states"]),
        [[name, *row] for name, row in zip(matrix["states"], matrix["rows"], strict=True)],
    )
    free_energy_tables.verdicts(content["estimates"])
    free_energy_tables.written(result)
    result.check(strict=strict)
