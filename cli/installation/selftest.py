"""``boltzgen selftest``: exact references computed on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.run_options import DryRun, MaxTime


def selftest(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the samples and no training: under 20 s on one core.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the rows as JSON, too.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    max_time: MaxTime = None,
    dry_run: DryRun = False,
) -> None:
    """Compute numbers that are known exactly, and compare: z = (value - exact) / standard error.

    Example: boltzgen selftest --quick

    SNIS, PSIS: importance sampling, plain and with Pareto smoothing. F_g - F_t: gauche less trans.
    Butane drawn: from its bonds and angles, without a flow; fresh: by a flow before training; trained: after.

    A row fails when |z| is 4 or more, when its standard error is 0.05 or more (kT for free energies), or when
    it cannot be computed. Exits with 1 if a row fails; everything is printed and written first.
    """
    from boltzgen.workflows.exact_answers.selftest import selftest as work

    with console.long_verb("selftest", max_time, saves=False) as (stop, progress):
        result = work(
            quick=quick,
            seed=seed,
            output=output,
            stop=stop,
            progress=progress,
            expect=progress.expecting(dry_run),
        )
    console.result(result)
    console.table(
        "boltzgen selftest",
        ("number", "by", "exact", "value", "+-", "z"),
        [
            [
                f"{row.system}: {row.quantity}",
                row.estimator,
                _fixed(row.exact),
                _fixed(row.value),
                _fixed(row.standard_error),
                _judged(row.z, row.passed),
            ]
            for row in result.rows
        ],
    )
    result.raise_for_failures()
    console.message(f"all {len(result.rows)} rows agree with the exact values.")


def _fixed(number: float | None) -> str | None:
    """Four decimals: errors are below 0.05, and -28.32 would hide them."""
    return None if number is None else f"{number:.4f}"


def _judged(z: float | None, passed: bool) -> str:
    shown = "" if z is None else f"{z:+.2f}"
    return shown if passed else f"{shown} FAILED".strip()
