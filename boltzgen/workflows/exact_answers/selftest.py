"""``selftest``: numbers that are known exactly, computed on this machine by the functions that users call.

Each row compares one estimate with an exact value (closed form or quadrature) by its z-score,
``(value - exact) / standard error``. A row fails when |z| is 4 or more, when its error is not below 0.05
(kT for free energies), or when it could not be computed. The seed is fixed, so that a healthy
installation always passes; with another seed one row in 16 000 fails by chance.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.checks import check_seed
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.files import write_json
from boltzgen.folders import alone_with_file
from boltzgen.interrupts import StopRequest
from boltzgen.notebook import html_table
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.workflows.exact_answers.rows import Row
from boltzgen.workflows.exact_answers.systems import (
    double_well,
    gaussian_effective_sample_size,
    harmonic_wells,
    lennard_jones_dimer,
    many_well,
    mueller_brown,
    pair_double_well,
    pareto_shape,
    tilted_double_well,
)
from boltzgen.workflows.timing.expectation import Expect, Expectation
from boltzgen.workflows.timing.pace import pace

SCHEMA = "boltzgen.selftest/1"

#: Samples of a case; the quick ones leave errors about three times as large.
SAMPLES, QUICK_SAMPLES = 200_000, 20_000

Case = Callable[[int, np.random.Generator], list[Row]]

#: Seconds of each case with the quick samples, on one idle core; with all it takes ten times as long.
SECONDS = {
    "harmonic wells": 2.0,
    "effective sample size": 0.4,
    "Pareto shape": 0.1,
    "double well": 1.0,
    "many-well": 1.0,
    "tilted double well": 0.3,
    "Mueller-Brown": 0.7,
    "Lennard-Jones dimer": 0.4,
    "pair double well": 0.2,
    "butane from its terms": 1.4,
    "butane, untrained flow": 2.7,
    "butane, trained flow": 4.0,
}


@dataclass(frozen=True, repr=False)
class SelfTest:
    """All rows, and what they were computed with; `missing` cases were not begun, for what `stopped` says."""

    rows: tuple[Row, ...]
    quick: bool
    seed: int
    missing: tuple[str, ...] = ()
    stopped: str = ""

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.passed)

    def to_json(self) -> dict[str, Any]:
        """The file of `output`, schema boltzgen.selftest/1."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "quick": self.quick,
            "seed": self.seed,
            "passed": not self.failures and not self.missing,
            **({"missing": list(self.missing)} if self.missing else {}),
            "rows": [row.to_json() for row in self.rows],
        }

    def __repr__(self) -> str:
        return f"<SelfTest: {len(self.rows) - len(self.failures)} of {len(self.rows)} rows passed>"

    def _repr_html_(self) -> str:
        columns = ("number", "by", "exact", "value", "+-", "z", "passed")
        rows = [
            (f"{row.system}: {row.quantity}", row.estimator, row.exact, row.value, row.standard_error, row.z)
            for row in self.rows
        ]
        passed = [row.passed for row in self.rows]
        return html_table(columns, [(*row, ok) for row, ok in zip(rows, passed, strict=True)])

    def raise_for_failures(self) -> None:
        """BoltzgenError that names the rows that failed and why; StoppedError where cases are missing."""
        failed = self.failures
        if not failed and self.missing:
            raise StoppedError(
                f"{self.stopped}: the {len(self.rows)} rows so far agree; {len(self.missing)} cases were not "
                f"begun ({', '.join(self.missing)}). Give more time, or `quick=True`."
            )
        if not failed:
            return
        named = "; ".join(f"{row.system}, {row.quantity} by {row.estimator}: {row.why}" for row in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise BoltzgenError(
            f"{len(failed)} of {len(self.rows)} exact references were missed ({named}{more}). Do not trust "
            "free energies of this installation; run `doctor()` and report both outputs."
        )


def cases(quick: bool) -> dict[str, Case]:
    """Every case by name, in the order of the table."""
    from boltzgen.workflows.exact_answers.butane import (
        butane_from_its_terms,
        butane_trained,
        butane_untrained,
    )

    table: dict[str, Case] = {
        "harmonic wells": harmonic_wells,
        "effective sample size": gaussian_effective_sample_size,
        "Pareto shape": pareto_shape,
        "double well": double_well,
        "many-well": many_well,
        "tilted double well": tilted_double_well,
        "Mueller-Brown": mueller_brown,
        "Lennard-Jones dimer": lennard_jones_dimer,
        "pair double well": pair_double_well,
        "butane from its terms": butane_from_its_terms,
        "butane, untrained flow": butane_untrained,
    }
    return table if quick else {**table, "butane, trained flow": butane_trained}


def selftest(
    *,
    quick: bool = False,
    seed: int = 0,
    output: str | os.PathLike[str] | None = None,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> SelfTest:
    """Compute numbers that are known exactly, on this machine, by the functions that users call.

    Parameters
    ----------
    quick: a tenth of the samples and no training, in under 20 s on one core. seed: of the draws.
    output: file that gets the rows as JSON, too. stop: asked before each case, which is not begun where it
        would take longer than is left. expect: told how long it will take before it begins.

    Returns
    -------
    SelfTest: each row with exact value, estimate, standard error (kT for free energies) and z-score. A case
        that raises gives one failed row with the reason, and the others go on; see
        `SelfTest.raise_for_failures`.

    Raises
    ------
    InputError: `output` is a folder, or the seed negative.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.selftest(quick=True)  # doctest: +SKIP
    >>> found.failures  # doctest: +SKIP
    ()
    """
    check_seed(seed)
    if output is not None and Path(output).is_dir():
        raise InputError(f"{output} is a folder; `output` needs the name of a file, such as selftest.json.")
    rows: list[Row] = []
    missing: tuple[str, ...] = ()
    table, ends = cases(quick), stop or StopRequest()
    slower = 1.0 if expect is None and ends.max_time is None else pace() * (1 if quick else 10)
    needed = {name: slower * SECONDS.get(name, 1.0) for name in table}
    if expect is not None:
        total, task = sum(needed.values()), f"{len(table)} cases"
        expect(Expectation("selftest", total, task, "by the pace of this core"))
    for number, (name, case) in enumerate(table.items()):
        if not ends.leaves(needed[name]):
            missing = tuple(table)[number:]
            break
        progress(number, len(table), {"case": name})
        start = time.perf_counter()
        try:
            found = case(QUICK_SAMPLES if quick else SAMPLES, np.random.default_rng([seed, number]))
        except Exception as error:  # noqa: BLE001  (a broken installation is what is looked for)
            first = (str(error).strip().splitlines() or ["no message"])[0]
            found = [Row(name, "all", "all", None, None, None, reason=f"{type(error).__name__}: {first}")]
        seconds = time.perf_counter() - start
        rows += [replace(row, seconds=seconds / len(found)) for row in found]
    if not missing:
        progress(len(table), len(table), None)
    result = SelfTest(tuple(rows), quick, seed, missing, ends.reason if missing else "")
    if output is not None:
        with alone_with_file(output):
            write_json(output, result.to_json())
    return result
