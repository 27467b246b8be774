"""What a picture says about its axes: where a torsion's circle is cut, its ticks, its units, what it is of.

Numbers and words alone, no canvas, so that every figure and the page say the same.

* A surface ends at `HIGHEST_KT`, and bins of fewer than `FEWEST_EFFECTIVE` effective samples stay blank.
* A torsion's circle is cut where its free energy is highest, so that no well is cut in two; ticks stand every
  60 degrees and read from -120 to 180, wherever the axis begins.
* Greek letters for torsions; kT with kJ/mol and kcal/mol; populations in percent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.free_energy.surface import FEWEST_EFFECTIVE as FEWEST_EFFECTIVE
from boltzgen.free_energy.surface import HIGHEST_KT as HIGHEST_KT
from boltzgen.free_energy.surface import shown_free_energy as shown_free_energy
from boltzgen.units import KJ_PER_KCAL, energy_in_units, thermal_energy

#: Degrees between two ticks of a torsion.
TICK_STEP = 60.0

#: Names of torsions -> what people write.
GREEK = {"phi": "φ", "psi": "ψ", "omega": "ω", "chi": "χ", "theta": "θ"}

#: Digits below the line, for chi1 to chi5.
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

_TORSION = re.compile(rf"\b({'|'.join(GREEK)})(\d*)(?::(\d+))?(?![\w])")


@dataclass(frozen=True)
class Subject:
    """What a figure is of: molecule, force field with solvent, temperature in K; empty where not known."""

    molecule: str = ""
    force_field: str = ""
    temperature: float | None = None

    def line(self, *more: str) -> str:
        """``alanine-dipeptide · ff99SB-ILDN, OBC · 300 K``, then `more` of the figure's own."""
        at = "" if self.temperature is None else f"{self.temperature:g} K"
        return " · ".join(part for part in (self.molecule, self.force_field, at, *more) if part)


def symbol(name: str) -> str:
    """`name` of a variable with Greek letters: ``phi:3`` -> ``φ 3``, ``cos(chi1)`` -> ``cos(χ₁)``."""

    def one(found: re.Match[str]) -> str:
        greek, number, residue = found.groups()
        return GREEK[greek] + number.translate(_LOWERED) + (f" {residue}" if residue else "")

    return _TORSION.sub(one, name)


def label(name: str, unit: str = "") -> str:
    """``φ (°)``: the variable's symbol with its unit, if it has one."""
    shown = {"degrees": "°", "1": ""}.get(unit, unit)
    return f"{symbol(name)} ({shown})" if shown else symbol(name)


def is_circle(edges: ArrayLike, unit: str) -> bool:
    """Whether bins with these `edges` span one whole turn of an angle."""
    ends = np.asarray(edges, dtype=np.float64)
    return unit == "degrees" and bool(np.isclose(ends[-1] - ends[0], 360.0))


def cut_bin(free_energy_b: ArrayLike) -> int:
    """The bin (of B around a circle) that an axis begins with, so that it is cut at the highest point.

    free_energy_b: (B,), NaN or infinite where nothing is known, which is higher than anything. Among bins
    equally high the middle of the longest run counts; the cut is at its lower edge.
    """
    f_b = np.asarray(free_energy_b, dtype=np.float64)
    f_b = np.where(np.isfinite(f_b), f_b, np.inf)
    highest = f_b == f_b.max()
    if highest.all():
        return 0
    start = int(np.flatnonzero(~highest)[0])  # no run goes over the end of what is rolled to here
    runs = np.split(np.arange(f_b.size), np.flatnonzero(np.diff(np.roll(highest, -start).astype(int))) + 1)
    tops = [run for run in runs if np.roll(highest, -start)[run[0]]]
    longest = max(tops, key=len)
    return int((start + longest[(len(longest)) // 2]) % f_b.size)


def marginal(free_energy: np.ndarray, axis: int) -> np.ndarray:
    """Free energy along one `axis` of a map, ``-ln sum exp(-F)`` over the others; NaN where all is blank."""
    with np.errstate(divide="ignore"):
        p = np.where(np.isfinite(free_energy), np.exp(-np.nan_to_num(free_energy)), 0.0)
        others = tuple(d for d in range(p.ndim) if d != axis)
        f = -np.log(p.sum(axis=others))
    return np.where(np.isfinite(f), f, np.nan)


def turned(edges: ArrayLike, values: ArrayLike, first: int, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`edges` (B + 1,) and `values` (B along `axis`) of a circle, begun with bin `first`; degrees."""
    ends = np.asarray(edges, dtype=np.float64)
    rolled = np.concatenate([ends[first:-1], ends[: first + 1] + 360.0])
    return rolled, np.roll(np.asarray(values), -first, axis=axis)


def on_axis(angles: ArrayLike, low: float) -> np.ndarray:
    """`angles` in degrees, taken round the circle into ``[low, low + 360)``."""
    return low + np.remainder(np.asarray(angles, dtype=np.float64) - low, 360.0)


def torsion_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks from `low` to `high` degrees, every `TICK_STEP`, and what they read (-120 to 180)."""
    first, last = np.ceil(low / TICK_STEP - 1e-9), np.floor(high / TICK_STEP + 1e-9)
    places = [float(n * TICK_STEP) for n in range(int(first), int(last) + 1)]
    return places, [f"{_read(place):g}".replace("-", "−") for place in places]


def _read(degrees: float) -> float:
    """The angle in (-180, 180]."""
    turn = -np.remainder(-degrees + 180.0, 360.0) + 180.0
    return 0.0 if turn == 0 else float(turn)


def three_units(value: float, temperature: float | None, digits: int = 3) -> str:
    """An energy in kT as ``3.94 kT = 9.83 kJ/mol = 2.35 kcal/mol``; in kT alone without a temperature."""
    if temperature is None:
        return f"{value:.{digits}g} kT"
    return " = ".join(f"{x:.{digits}g} {unit}" for unit, x in energy_in_units(value, temperature).items())


def unit_factors(temperature: float | None) -> Mapping[str, float]:
    """What one kT is in each unit of a second scale: kJ/mol and kcal/mol; none for a model system."""
    if temperature is None:
        return {}
    kj = thermal_energy(temperature)
    return {"kJ/mol": kj, "kcal/mol": kj / KJ_PER_KCAL}


def energy_label(what: str, temperature: float | None) -> str:
    """``free energy (kT; 1 kT = 2.49 kJ/mol = 0.596 kcal/mol)`` for a scale that has room for one unit."""
    if temperature is None:
        return f"{what} (kT)"
    return f"{what} (kT; {three_units(1.0, temperature)})"


def percent(share: float) -> str:
    """A population for people: ``96.3 %``, ``0.42 %``; three digits, as many as mean something."""
    return f"{100 * share:.3g} %"


def shares_need_logarithm(shares: Sequence[float]) -> bool:
    """Whether populations are drawn on a logarithmic scale: one of them, not zero, is below one percent."""
    return any(0 < share < 0.01 for share in shares)


def subject_of(provenance: Mapping[str, Any], temperature: float | None) -> Subject:
    """The `Subject` that the provenance of an ensemble or of a system's frames holds under ``subject``."""
    known = provenance.get("subject")
    known = known if isinstance(known, Mapping) else {}
    return Subject(str(known.get("molecule", "")), str(known.get("force_field", "")), temperature)
