"""One row of ``selftest``: a number that is known exactly, and its estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from boltzgen.free_energy import Estimate

#: A row fails at this |z|, and at this standard error (kT, or 1 for numbers without unit).
LARGEST_Z, LARGEST_ERROR = 4.0, 0.05

#: Bootstrap replicates of a row: enough to see that both errors agree.
REPLICATES = 100


@dataclass(frozen=True)
class Row:
    """`value` with its `standard_error` against `exact`, all in `unit`; None where not computed."""

    system: str
    quantity: str
    estimator: str
    exact: float | None
    value: float | None
    standard_error: float | None
    unit: str = "kT"
    n: int = 0
    seconds: float = 0.0
    reason: str = ""

    @classmethod
    def of(cls, system: str, quantity: str, exact: float, estimate: Estimate, *, sign: float = 1.0) -> Row:
        """The row of `sign` times `estimate`."""
        value = None if estimate.value is None else sign * estimate.value
        reason = "; ".join(estimate.reasons) if value is None else ""
        return cls(
            system,
            quantity,
            _SHORT.get(estimate.estimator, estimate.estimator),
            exact,
            value,
            estimate.standard_error,
            unit=estimate.unit,
            n=estimate.n,
            reason=reason,
        )

    @property
    def z(self) -> float | None:
        """``(value - exact) / standard error``."""
        if self.value is None or self.exact is None or not self.standard_error:
            return None
        return (self.value - self.exact) / self.standard_error

    @property
    def passed(self) -> bool:
        return not self.why

    @property
    def why(self) -> str:
        """Why the row fails; empty when it passes."""
        z, error = self.z, self.standard_error
        if z is None or error is None or not (math.isfinite(z) and math.isfinite(error)):
            return self.reason or "no value with an error was found"
        if abs(z) >= LARGEST_Z:
            return f"z = {z:+.1f}"
        return f"standard error {error:.2g}" if error >= LARGEST_ERROR else ""

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable; null, with `reason`, for numbers that are not known or not finite."""
        return {
            "system": self.system,
            "quantity": self.quantity,
            "estimator": self.estimator,
            "unit": self.unit,
            "exact": self.exact,
            "value": _known(self.value),
            "standard_error": _known(self.standard_error),
            "z": _known(self.z),
            "n": self.n,
            "seconds": round(self.seconds, 3),
            "passed": self.passed,
            "reason": self.why,
        }


_SHORT = {"self-normalised importance sampling": "SNIS", "Pareto-smoothed importance sampling": "PSIS"}


def _known(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
