"""``boltzgen check``: an ensemble examined again, and probed for what its flow may have missed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.sample import show_summary
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DataTemperature, DryRun, MaxTime


def check(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by sample.")],
    model: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The model that drew it; default: the manifest's.")
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="SYS", help="The molecule; default: the manifest's.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run replica exchange from several starts, and compare.")
    ] = False,
    budget: Annotated[
        int, typer.Option(metavar="EVALUATIONS", help="Energy evaluations of the probe.")
    ] = 2_000_000,
    data: Annotated[
        Path | None, typer.Option(metavar="MD", help="Frames that training never saw, to compare as well.")
    ] = None,
    data_temperature: DataTemperature = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Samples whose density and energy are recomputed.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the probe.")] = 0,
    starts: Annotated[
        str,
        typer.Option(
            metavar="auto|reference|conformers|FILE", help="Where the probe begins besides, as for simulate."
        ),
    ] = "auto",
    platform: Annotated[str, typer.Option(help="OpenMM platform of the probe; auto: the fastest.")] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the verdict is unreliable.")
    ] = False,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Examine samples again, and look for what the flow may have missed.

    Example: boltzgen check OUT --probe

    The files' hashes, copies among the samples, densities and energies recomputed from the positions, and
    log-determinants by autograd are always examined. --probe runs short replica exchange: states of torsions
    that it finds and the flow does not cover are named. What is found goes into the manifest and the verdict.
    """
    from boltzgen.workflows.sampling.check import check as work

    with console.long_verb("probe", max_time) as (stop, progress):
        result = work(
            folder,
            model=model,
            system=system,
            probe=probe,
            budget=budget,
            data=data,
            data_temperature=data_temperature,
            rows=rows,
            seed=seed,
            starts=starts,
            platform=platform,
            strict=strict,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    states = () if result.coverage is None else result.coverage.states
    if states:
        console.table(
            "populations (%)",
            ("state", "reweighted", "95 % from", "to", "target", "95 % from", "to"),
            [
                (
                    one.name,
                    *map(_percent, (one.reweighted, *one.reweighted_interval95)),
                    *map(_percent, (one.target, *one.target_interval95)),
                )
                for one in states
            ],
        )
    show_summary(folder, result.summary)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
