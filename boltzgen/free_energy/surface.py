"""Free-energy surfaces along one or two variables, with error bands.

    F_b = -ln(p_b / v_b) + constant,     p_b = sum of normalised weights in bin b,  v_b its length or area

zero in the lowest bin. The error of a bin is that of the difference to this reference bin, whose own
error is therefore zero. (Where several bins are equally low within their noise, the reference is the
one that happened to come out lowest: the others then lie high by about its own error, the smallest of
all.) With W_b the weight in bin b, reference r and statistical inefficiency g:

    var F_b = g sum_n w_n^2 (h_bn / W_b - h_rn / W_r)^2                              (delta method)

and the spread over a Poisson bootstrap of samples, blocks or walkers; of walkers the sum is over those of
each walker. Bins without weight are NaN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import TOO_FEW_EFFECTIVE, no_error_bar, worst
from boltzgen.errors import InputError
from boltzgen.free_energy.importance import WeightedSample
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import (
    ERRORS_DISAGREE,
    MAX_LOST_REPLICATES,
    binned_by,
    binned_samples,
    binned_variance,
    block_length,
    few_walkers,
    more_of,
    poisson_sums,
)
from boltzgen.remedies import WIDER_BINS, WIDER_RANGE

#: Bins of a surface at most: each is bootstrapped.
MAX_BINS = 40_000

#: Free energies above this many kT are not shown: a bin so rare is one sample in twenty thousand.
HIGHEST_KT = 10.0

#: Bins that rest on fewer effective samples are not shown.
FEWEST_EFFECTIVE = TOO_FEW_EFFECTIVE


@dataclass(frozen=True, repr=False)
class Surface:
    """A free-energy surface in kT over d = 1 or 2 variables; arrays are (bins,) or (bins 1, bins 2).

    Attributes
    ----------
    names, units: of the variables. edges: one increasing array of bin edges each.
    free_energy: zero in the lowest bin, NaN where empty. standard_error: of the difference to the
        lowest bin; the asymptotic one where it agrees with the bootstrap, else the larger.
    low, high: 95 % interval of the bootstrap, holding one standard error on each side; NaN where empty,
        infinite where a bin is missing from more than 2.5 % of the replicates. Errors are NaN, too, where a
        bin rests on one or two effective samples.
    n: samples with weight in each bin. n_effective: their effective number.
    reference: index of the lowest bin, None when no sample carries weight. outside: share of the
        weight outside the edges, which is no part of the surface; None likewise.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    free_energy: np.ndarray
    standard_error: np.ndarray
    standard_error_asymptotic: np.ndarray
    standard_error_bootstrap: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    n_effective: np.ndarray
    reference: tuple[int, ...] | None
    outside: float | None
    n_samples: int
    k_hat: float | None
    estimator: str
    verdict: str
    reasons: tuple[str, ...]

    @property
    def centres(self) -> tuple[np.ndarray, ...]:
        return tuple((edge[1:] + edge[:-1]) / 2 for edge in self.edges)

    @property
    def shown(self) -> np.ndarray:
        """`free_energy` where tables and figures show it, else NaN; see `shown_free_energy`."""
        return shown_free_energy(self.free_energy, self.n_effective)

    @property
    def is_shown(self) -> list[bool]:
        """Whether each bin is shown, in the order of `rows`."""
        return [bool(known) for known in np.isfinite(self.shown).ravel()]

    def __repr__(self) -> str:
        empty = int(np.isnan(self.free_energy).sum())
        return (
            f"<Surface along {' and '.join(self.names)}: {self.n.size} bins, {empty} empty, "
            f"{self.n_samples} samples; verdict {self.verdict}>"
        )

    def rows(self) -> Iterator[dict[str, float | int | None]]:
        """One record a bin, the last variable fastest; None where a number is not known."""
        for index in itertools.product(*(range(len(centre)) for centre in self.centres)):
            row: dict[str, float | int | None] = {
                name: float(centre[i]) for name, centre, i in zip(self.names, self.centres, index)
            }
            for key in _KT_FIELDS:
                row[key] = _known(float(getattr(self, key)[index]))
            yield {**row, "n": int(self.n[index]), "n_effective": float(self.n_effective[index])}

    def to_json(self) -> dict[str, Any]:
        """Everything, with null for NaN and infinity; free energies in kT."""
        return {
            "names": list(self.names),
            "units": list(self.units),
            "edges": [edge.tolist() for edge in self.edges],
            "energy_unit": "kT",
            **{key: _nested(getattr(self, key)) for key in _KT_FIELDS},
            "n": self.n.tolist(),
            "n_effective": self.n_effective.tolist(),
            "reference": None if self.reference is None else list(self.reference),
            "outside": self.outside,
            "n_samples": self.n_samples,
            "k_hat": self.k_hat,
            "estimator": self.estimator,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
        }


def shown_free_energy(
    free_energy: ArrayLike, n_effective: ArrayLike, fewest: float = FEWEST_EFFECTIVE
) -> np.ndarray:
    """`free_energy` (kT) where it is shown, NaN above `HIGHEST_KT` and below `fewest` effective samples."""
    f, n = np.asarray(free_energy, dtype=np.float64), np.asarray(n_effective, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(f) & (f <= HIGHEST_KT) & (n >= fewest), f, np.nan)


_ERRORS = ("standard_error_asymptotic", "standard_error_bootstrap", "low", "high")

_KT_FIELDS = (
    "free_energy",
    "standard_error",
    "standard_error_asymptotic",
    "standard_error_bootstrap",
    "low",
    "high",
)


def free_energy_surface(
    log_w: ArrayLike,
    values: ArrayLike,
    edges: Sequence[ArrayLike] | ArrayLike,
    statistics: Statistics,
    *,
    periodic: Sequence[bool] | bool = False,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> Surface:
    """The surface of log-weights (N,) over `values` (N,) or (N, d), d = 1 or 2.

    edges: d increasing arrays of bin edges (one array for d = 1). periodic: whether a variable lives on a
    circle; its edges must then span one whole turn, and values are wrapped into it. Bins are ``[low,
    high)``. A value outside the edges, or NaN (in a rejected sample only), lies in no bin; the share of
    the weight there is reported.

    Never raises for poor samples. InputError for shapes that disagree, edges that do not increase,
    fewer than two samples, NaN in log-weights or in a sample that carries weight.
    """
    sample = WeightedSample.of(log_w, statistics)
    x_nd = _values(values, sample)
    grid = _edges(edges, x_nd.shape[1])
    around = [periodic] * len(grid) if isinstance(periodic, bool | np.bool_) else list(periodic)
    labels = [f"x{d}" for d in range(len(grid))] if names is None else list(names)
    given_units = [""] * len(grid) if units is None else list(units)
    if not len(around) == len(labels) == len(given_units) == len(grid):
        raise InputError(
            f"names, units and `periodic` must have one entry for each of {len(grid)} variables."
        )
    shape = tuple(len(edge) - 1 for edge in grid)
    bin_n = _bins(x_nd, grid, around)
    bands, n_b, effective_b, reference, noted = _bands(sample, bin_n, _volumes(grid))
    outside = float(sample.w_n[bin_n < 0].sum()) if sample.has_weight else None
    verdict, reasons = worst([*sample.findings(), *noted])
    return Surface(
        names=tuple(labels),
        units=tuple(given_units),
        edges=tuple(grid),
        **{key: band.reshape(shape) for key, band in bands.items()},
        n=n_b.reshape(shape),
        n_effective=effective_b.reshape(shape),
        reference=None if reference is None else tuple(int(i) for i in np.unravel_index(reference, shape)),
        outside=outside,
        n_samples=sample.n,
        k_hat=sample.k_hat,
        estimator=sample.estimator,
        verdict=verdict,
        reasons=tuple(reasons),
    )


def _bands(
    sample: WeightedSample, bin_n: np.ndarray, volume_b: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, int | None, list[tuple[str, str]]]:
    """Bands by field name, samples and effective samples a bin, the reference bin, and findings."""
    inside = (bin_n >= 0) & (sample.w_n > 0)
    bins, w, size = bin_n[inside], sample.w_n[inside], volume_b.size
    n_b = np.bincount(bins, minlength=size)
    w_b = np.bincount(bins, weights=w, minlength=size)
    square_b = np.bincount(bins, weights=w**2, minlength=size)
    walkers = sample.statistics.walkers
    w_kb = None if walkers is None else binned_by(walkers, sample.w_n, np.where(inside, bin_n, -1), size)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective_b = binned_samples(w_kb, w_b, square_b, sample.statistics)
        absolute_b = np.where(w_b > 0, -np.log(w_b / volume_b), np.nan)
    if not inside.any():
        empty = np.full(size, np.nan)
        where = f"no sample with weight lies inside the edges; {WIDER_RANGE}"
        noted = [("unreliable", where)] if sample.has_weight else []
        return dict.fromkeys(_KT_FIELDS, empty), n_b, effective_b, None, noted
    reference = int(np.nanargmin(absolute_b))
    bands = {"free_energy": absolute_b - absolute_b[reference]}
    asymptotic_b = np.sqrt(binned_variance(w_kb, w_b, square_b, reference, sample.statistics))
    asymptotic_b[reference] = 0.0
    bootstrap_b, low_b, high_b = _bootstrap(sample, inside, bins, bands["free_energy"], reference)
    bands |= {"standard_error_asymptotic": asymptotic_b, "standard_error_bootstrap": bootstrap_b}
    bands |= {"low": low_b, "high": high_b}
    # no error bar rests on one or two samples, of a bin or of the reference
    blank_b = np.array([no_error_bar(n) is not None for n in np.minimum(effective_b, effective_b[reference])])
    blank_b[reference] = no_error_bar(effective_b[reference]) is not None
    for name in _ERRORS:
        bands[name] = np.where(blank_b, np.nan, bands[name])
    bands["standard_error"], noted = _chosen(
        bands["standard_error_asymptotic"],
        bands["standard_error_bootstrap"],
        effective_b,
        n_b,
        more_of(sample.statistics.coverage),
    )
    # as `holding` does for one number
    error_b, value_b = np.nan_to_num(bands["standard_error"]), bands["free_energy"]
    bands["low"] = np.minimum(bands["low"], value_b - error_b)
    bands["high"] = np.maximum(bands["high"], value_b + error_b)
    return bands, n_b, effective_b, reference, noted


def _bootstrap(
    sample: WeightedSample,
    inside: np.ndarray,
    bins: np.ndarray,
    free_energy_b: np.ndarray,
    reference: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard error, low and high end of each bin; weights are summed by (block, bin), which is sparse."""
    from scipy import sparse

    walkers = sample.statistics.walkers
    if walkers is None:
        length = block_length(sample.n, sample.statistics.inefficiency)
        block, blocks = np.flatnonzero(inside) // length, -(-sample.n // length)
    else:
        block, blocks = walkers.index[inside], walkers.number
    shape = (blocks, free_energy_b.size)
    w_bb = sparse.coo_matrix((sample.w_n[inside], (block, bins)), shape=shape).tocsr()
    sums_rb = poisson_sums(w_bb, sample.statistics)
    occupied = np.flatnonzero(np.isfinite(free_energy_b))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_rb = np.log(sums_rb[:, occupied])
        value_rb = log_rb[:, occupied.searchsorted(reference)][:, None] - log_rb
    value_rb += free_energy_b[occupied] - (np.log(_total(w_bb, reference)) - np.log(_total(w_bb, occupied)))
    value_rb = np.where(np.isnan(value_rb), np.inf, value_rb)
    finite_rb = np.isfinite(value_rb)
    kept_b = finite_rb.sum(axis=0)
    mean_b = np.where(finite_rb, value_rb, 0.0).sum(axis=0) / np.maximum(kept_b, 1)
    spread_b = np.where(finite_rb, value_rb - mean_b, 0.0)
    error_b = np.sqrt((spread_b**2).sum(axis=0) / np.maximum(kept_b - 1, 1))
    error_b[kept_b < (1 - MAX_LOST_REPLICATES) * len(sums_rb)] = np.nan
    low_b, high_b = np.quantile(value_rb, (0.025, 0.975), axis=0, method="inverted_cdf")
    scale, longer = few_walkers(sample.statistics)
    if walkers is not None:
        middle_b = np.median(np.where(finite_rb, value_rb, mean_b), axis=0)
        error_b = scale * error_b
        low_b, high_b = middle_b + longer * (low_b - middle_b), middle_b + longer * (high_b - middle_b)
    return tuple(_spread_out(x, occupied, free_energy_b.size) for x in (error_b, low_b, high_b))  # type: ignore[return-value]


def _total(w_bb: Any, columns: Any) -> np.ndarray:
    totals = np.asarray(w_bb.sum(axis=0)).ravel()
    picked: np.ndarray = totals[columns]
    return picked


def _spread_out(values: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    result = np.full(size, np.nan)
    result[places] = values
    return result


def _chosen(
    asymptotic_b: np.ndarray, bootstrap_b: np.ndarray, effective_b: np.ndarray, n_b: np.ndarray, more: str
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """The asymptotic error where both agree, else the larger; findings on bins that are poorly known."""
    high, low = np.fmax(asymptotic_b, bootstrap_b), np.fmin(asymptotic_b, bootstrap_b)
    disagree = high > ERRORS_DISAGREE * low
    occupied, poor = int((n_b > 0).sum()), int(((n_b > 0) & (effective_b < TOO_FEW_EFFECTIVE)).sum())
    noted = []
    if poor:
        noted.append(
            (
                "caution",
                f"{poor} of {occupied} occupied bins rest on fewer than {TOO_FEW_EFFECTIVE:.0f} effective "
                f"samples; {WIDER_BINS}",
            )
        )
    rich = int((disagree & (effective_b >= TOO_FEW_EFFECTIVE)).sum())
    if rich:
        why = f"the two error estimates disagree in {rich} bins, and the larger is taken"
        noted.append(("caution", f"{why}; {more}"))
    return np.where(disagree, high, asymptotic_b), noted


def _values(values: ArrayLike, sample: WeightedSample) -> np.ndarray:
    x_nd = np.asarray(values, dtype=np.float64)
    x_nd = x_nd[:, None] if x_nd.ndim == 1 else x_nd
    if x_nd.ndim != 2 or x_nd.shape[0] != sample.n or x_nd.shape[1] not in (1, 2):
        raise InputError(
            f"values of shape {np.shape(values)} for {sample.n} weights; expected (N,), (N, 1) or (N, 2)."
        )
    bad = np.flatnonzero(np.isnan(x_nd).any(axis=1) & np.isfinite(sample.log_w_n))
    if bad.size:
        raise InputError(f"the variable of sample {bad[0]} is NaN, and the sample carries weight.")
    return x_nd


def _edges(edges: Any, dimension: int) -> list[np.ndarray]:
    given = [edges] if dimension == 1 and np.ndim(edges[0]) == 0 else list(edges)
    grid = [np.asarray(edge, dtype=np.float64) for edge in given]
    if len(grid) != dimension:
        raise InputError(f"{len(grid)} sets of bin edges for {dimension} variables.")
    for edge in grid:
        if edge.ndim != 1 or edge.size < 2 or not np.isfinite(edge).all() or not (np.diff(edge) > 0).all():
            raise InputError("bin edges must be at least two finite numbers, increasing.")
    bins = math.prod(edge.size - 1 for edge in grid)
    if bins > MAX_BINS:
        raise InputError(f"{bins} bins are more than {MAX_BINS}; take fewer.")
    return grid


def _bins(x_nd: np.ndarray, grid: Sequence[np.ndarray], around: Sequence[bool]) -> np.ndarray:
    """Flat bin index (N,) of each sample, -1 where it lies in none."""
    flat, inside = np.zeros(len(x_nd), dtype=np.int64), np.ones(len(x_nd), dtype=bool)
    for x_n, edge, turn in zip(x_nd.T, grid, around):
        if turn:
            x_n = edge[0] + np.remainder(x_n - edge[0], edge[-1] - edge[0])
        place = np.searchsorted(edge, x_n, side="right") - 1
        inside &= np.isfinite(x_n) & (place >= 0) & (place < edge.size - 1)
        flat = flat * (edge.size - 1) + place
    return np.where(inside, flat, -1)


def _volumes(grid: Sequence[np.ndarray]) -> np.ndarray:
    widths = [np.diff(edge) for edge in grid]
    volume: np.ndarray = widths[0] if len(widths) == 1 else np.outer(*widths).ravel()
    return volume


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nested(values: np.ndarray) -> list[Any]:
    known: list[Any] = np.where(np.isfinite(values), values.astype(object), None).tolist()  # type: ignore[call-overload]
    return known
