"""``boltzgen adapt``: a model goes on to one new molecule, on energies alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import CompileEnergies, Device, DryRun, MaxTime, Resume, RunFolder


def adapt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run, a model folder or a shipped model.")],
    system: Annotated[str, typer.Argument(metavar="SYS", help="Folder written by prepare.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Departures from the configuration adapt."),
    ] = None,
    output: RunFolder = Path("RUN"),
    budget: Annotated[float, typer.Option(metavar="N", help="Energy evaluations to spend.")] = 1e5,
    learn_from: Annotated[
        str,
        typer.Option(
            "--from", metavar="weights|chains", help="Weighted draws, or walkers moved by the flow."
        ),
    ] = "weights",
    temperature: Annotated[float | None, typer.Option(help="Temperature in K; default: the model's.")] = None,
    resume: Resume = "never",
    device: Device = "cpu",
    max_time: MaxTime = None,
    dry_run: DryRun = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the draws.")] = 0,
    compile_energies: CompileEnergies = None,
) -> None:
    """Fine-tune a model for a molecule it was not trained on, without data.

    Example: boltzgen adapt RUN SYS --budget 1e5 -o ADAPTED

    The effective sample size is measured before and after, and the better model is kept.
    """
    from boltzgen.workflows.training.adapt import adapt as work

    with console.long_verb("adapt", max_time) as (stop, progress):
        result = work(
            model,
            system,
            output,
            overrides or [],
            budget=budget,
            learn_from=learn_from,
            temperature=temperature,
            resume=resume,
            device=device,
            seed=seed,
            compile_energies=compile_energies,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    console.key_values(f"adapted: {output}", result.rows())
    if not result.improved:
        console.message("adapting did not help; the model that it began from was kept.")
