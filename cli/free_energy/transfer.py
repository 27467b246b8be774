"""The verb ``transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime


def transfer(
    source: Annotated[
        Path, typer.Argument(metavar="LIST", help="SMILES, one a line with a name after it; a CSV; an SDF.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    energy_from: Annotated[
        str, typer.Option("--from", metavar="ENERGY", help="vacuum or a solvent: hct, obc1, obc2, gbn, gbn2.")
    ] = "vacuum",
    energy_to: Annotated[
        str, typer.Option("--to", metavar="ENERGY", help="The same; FORCEFIELD/SOLVENT where fields differ.")
    ] = "obc2",
    forcefield: Annotated[
        str | None, typer.Option(metavar="NAME", help="mmff94 (default), mmff94s, gaff2, gaff, OpenFF names.")
    ] = None,
    charges: Annotated[
        str | None, typer.Option(metavar="bcc|abcg2|file", help="Charges of gaff2, gaff and OpenFF.")
    ] = None,
    surface: Annotated[
        str, typer.Option(metavar="TERM", help="Surface term of the solvents: ace, lcpo, none.")
    ] = "ace",
    temperature: Annotated[float, typer.Option(help="K.")] = 300.0,
    evaluations: Annotated[
        int | None, typer.Option(help="Energies of each of the two simulations; default: by the size.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A flow that draws of both energies besides.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws of --model, of each energy.")] = 10_000,
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Free energy of taking each molecule of a list from one energy to another, and what it is made of.

    Vacuum to implicit solvent, or any two energies of the same atoms: dG(A->B) with its error, the transfer
    energy at fixed conformations, the change of the molecule's own energy, its conformational entropy. An
    implicit-solvent transfer is no hydration free energy. The same command goes on where it was stopped.

    Example: boltzgen transfer list.smi --from vacuum --to obc2 --forcefield gaff2 -o TRANSFER
    """
    from boltzgen.workflows.two_energies.transfer import transfer as work

    with console.long_verb("transfer, molecules", max_time) as (stop, progress):
        result = work(
            source,
            output,
            energy_from=energy_from,
            energy_to=energy_to,
            forcefield=forcefield,
            charges=charges,
            surface=surface,
            temperature=temperature,
            evaluations=evaluations,
            model=model,
            samples=samples,
            n_bootstrap=bootstrap,
            seed=seed,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    headers, rows = result.table()
    console.table(f"{result.title}; kcal/mol", headers, rows)
    for name, why in result.failed.items():
        console.finding(f"failed: {name}: {why}")
    for one in result.complete:
        for reason in one["reasons"]:
            console.finding(f"{one['verdict']}: {one['name']}: {reason}")
    console.message(f"{result.folder / 'transfers.json'} and transfers.csv written.")
    result.check(strict=strict)
