"""``boltzgen benchmark``: figures of a model that can be set beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.sample import Precision
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import Verbs
from boltzgen_cli.terminal.run_options import DryRun, MaxTime

app = Verbs(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def benchmark() -> None:
    """Figures of a model that can be set beside published ones.

    Example: boltzgen benchmark transfer MODEL DATASET -o BENCH
    """


@app.command("transfer")
def transfer(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run, a model folder or a shipped model.")],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder written by dataset build.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BENCH", help="Folder for the figures.")],
    split: Annotated[
        str, typer.Option(metavar="test|validation|train", help="Molecules to measure.")
    ] = "test",
    samples: Annotated[int, typer.Option(min=1, help="Samples drawn of each molecule.")] = 10_000,
    temperature: Annotated[float | None, typer.Option(help="Temperature in K; default: the model's.")] = None,
    adapt: Annotated[
        float | None,
        typer.Option(metavar="BUDGET", help="Adapt to each molecule with so many energies; measure again."),
    ] = None,
    molecules: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Measure this molecule alone; again, or A,B, for more."),
    ] = None,
    torus_samples: Annotated[
        int, typer.Option(help="Samples, at most, for the distance on the torus (2000: 3 s, 10000: 150 s).")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Seed of the draws.")] = 0,
    dtype: Annotated[Precision, typer.Option(help="Arithmetic of the flow.")] = Precision.float64,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")] = "cpu",
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Measure a model on molecules that it never saw: ESS, likelihood, distances, speed.

    Example: boltzgen benchmark transfer RUN DATASET -o BENCH --adapt 1e5

    What a molecule needs beyond samples (distances, likelihood, free energies of phi) comes from the data of
    DATASET at the temperature, where there are any. The same command again goes on where it was stopped.
    """
    from boltzgen.workflows.transfer.benchmark import benchmark_transfer as work

    with console.long_verb("transfer", max_time) as (stop, progress):
        result = work(
            model,
            dataset,
            output,
            split=split,
            samples=samples,
            temperature=temperature,
            adapt=adapt,
            molecules=[name for entry in molecules or () for name in entry.split(",")],
            seed=seed,
            dtype=dtype.value,
            torus_samples=torus_samples,
            device=device,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    for stage, headers, rows in result.tables():
        console.table(f"{stage} ({output})", headers, rows)
    console.message(f"Figures: {output}/transfer.json, .csv, .md and .png; what the columns mean is in .md.")
