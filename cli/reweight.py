"""``boltzgen reweight``: the same samples for another energy or another temperature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime

if TYPE_CHECKING:
    from boltzgen.workflows.sampling.records import Reweighting


def reweight(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by sample.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT2", help="Folder for the result.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="SYS2", help="Folder by prepare, with the same atoms.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature in K; alone it evaluates nothing.")
    ] = None,
    expensive: Annotated[
        int | None,
        typer.Option(metavar="N", help="Evaluate N samples at most, chosen by their weights; default: all."),
    ] = None,
    until_ess: Annotated[float | None, typer.Option(metavar="N", help="Stop at N effective samples.")] = None,
    until_error: Annotated[
        float | None, typer.Option(metavar="E", help="Stop at a standard error E of ln Z.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of samples.")] = 0,
    resume: Annotated[
        str, typer.Option(help="auto goes on with, or makes more precise, what OUT2 holds; never refuses it.")
    ] = "never",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the verdict is unreliable.")
    ] = False,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Weigh samples anew for another force field, hybrid or temperature.

    Example: boltzgen reweight OUT --to SYS2 -o OUT2 --expensive 2000

    Example: boltzgen reweight OUT --temperature 320 -o OUT320
    """
    from boltzgen.workflows.sampling.reweight import reweight as work

    with console.long_verb("reweight", max_time) as (stop, progress):
        result = work(
            folder,
            output,
            to=to,
            temperature=temperature,
            expensive=expensive,
            until_ess=until_ess,
            until_error=until_error,
            seed=seed,
            resume=resume,
            strict=strict,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    _show(output, result)


def _show(output: Path, result: Reweighting) -> None:
    """Before and after, the cost, and the verdict."""
    names = ("n_effective", "k_hat", "log_z", "log_z_standard_error", "verdict")
    rows = [(name, getattr(result.before, name), getattr(result.after, name)) for name in names]
    console.table(f"reweighted: {output}", ("", "before", "after"), rows)
    console.key_values("cost", result.rows())
    console.finding(f"verdict: {result.summary.verdict}")
    for reason in result.summary.reasons:
        console.finding(f"- {reason}")
