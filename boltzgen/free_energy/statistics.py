"""`Statistics`: how an estimator treats its samples, and how it makes its error bars; one record for all.

ask = Statistics(np.random.default_rng(7), coverage=ensemble.coverage)
log_partition(ensemble.log_w, ask)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from boltzgen.ensemble.chains.diagnostics import judge_walkers
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.diagnostics import NO_COVERAGE, worst
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError


@dataclass(frozen=True, eq=False)
class Statistics:
    """What every estimator is told besides its samples.

    InputError for values that mean nothing. Estimators refuse a field that they have no use for.
    """

    rng: np.random.Generator
    """Stream of the bootstrap. It moves on: two estimates from one record have independent replicates."""

    n_bootstrap: int = 1000
    """Replicates of the bootstrap, at least 2."""

    smoothed: bool = False
    """Whether the largest weights are Pareto-smoothed first."""

    coverage: Mapping[str, Any] | None = None
    """Record of `boltzgen.ensemble.coverage` that the verdict rests on; None: nobody checked."""

    inefficiency: float = 1.0
    """Samples per independent sample, at least 1; 1 for draws of a flow. Larger for frames of a simulation,
    which then stand in the order of time: errors grow by it, and the bootstrap draws whole blocks."""

    walkers: Walkers | None = None
    """Who made the samples; None where they are independent. Errors are then those of the scatter among
    walkers, the bootstrap draws walkers, and samples count by how many of them are independent."""

    def __post_init__(self) -> None:
        if self.n_bootstrap < 2:
            raise InputError(f"the bootstrap needs at least 2 replicates, not {self.n_bootstrap}.")
        if not self.inefficiency >= 1:
            raise InputError(f"the statistical inefficiency must be at least 1, not {self.inefficiency}.")

    def about(self, ensemble: Ensemble) -> Statistics:
        """The same for the samples of `ensemble`: its coverage, its walkers and what is found of these."""
        walkers, coverage = ensemble.walkers, ensemble.coverage
        if walkers is None:
            return replace(self, coverage=coverage)
        figures = ensemble.diagnostics().chains
        assert figures is not None
        known = coverage or {"verdict": "caution", "reasons": [NO_COVERAGE]}
        found = [(known["verdict"], reason) for reason in known["reasons"]]
        verdict, reasons = worst([*found, *judge_walkers(figures, len(walkers))])
        told = {"chained": True, "bulk_samples": figures.ess_bulk or 0.0}
        record = {**known, "verdict": verdict, "reasons": reasons, **told}
        return replace(self, coverage=record, walkers=walkers)

    def require_unset(self, estimator: str, *names: str) -> None:
        """InputError where one of the fields `names`, for which `estimator` has no use, was set."""
        for field in fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                raise InputError(f"{estimator} has no use for the statistics' {field.name}; leave it out.")


def require_two(n: int) -> None:
    """InputError unless there are at least two samples."""
    if n < 2:
        raise InputError("one sample has no statistics; draw at least two (a few thousand to be useful).")
