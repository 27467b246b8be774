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
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.files import write_json
from boltzgen.folders import alone_with_file
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

SCHEMA = "boltzgen.selftest/1"

#: Samples of a case; the quick ones leave errors about three times as large.
SAMPLES, QUICK_SAMPLES = 200_000, 20_000

Case = Callable[[int, np.random.Generator], list[Row]]


@dataclass(frozen=True, repr=False)
class SelfTest:
    """All rows, and what they were computed with."""

    rows: tuple[Row, ...]
    quick: bool
    seed: int

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
            "passed": not self.failures,
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
        """BoltzgenError that names the rows that failed and why, if there are any."""
        failed = self.failures
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
    progress: Progress = silent,
) -> SelfTest:
    """Compute numbers that are known exactly, on this machine, by the functions that users call.

    Parameters
    ----------
    quick: a tenth of the samples and no training, in under 20 s on one core. seed: of the draws.
    output: file that gets the rows as JSON, too.

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
    table = cases(quick)
    for number, (name, case) in enumerate(table.items()):
        progress(number, len(table), {"case": name})
        start = time.perf_counter()
        try:
            found = case(QUICK_SAMPLES if quick else SAMPLES, np.random.default_rng([seed, number]))
        except Exception as error:  # noqa: BLE001  (a broken installation is what is looked for)
            first = (str(error).strip().splitlines() or ["no message"])[0]
            found = [Row(name, "all", "all", None, None, None, reason=f"{type(error).__name__}: {first}")]
        seconds = time.perf_counter() - start
        rows += [replace(row, seconds=seconds / len(found)) for row in found]
    progress(len(table), len(table), None)
    result = SelfTest(tuple(rows), quick, seed)
    if output is not None:
        with alone_with_file(output):
            write_json(output, result.to_json())
    return result
