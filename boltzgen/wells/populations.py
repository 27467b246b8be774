"""What wells hold: populations, free energies and entropies with errors, from weighted samples.

With weights ``w_n``, reduced energies ``u_n`` and indicators ``h_in`` of the wells:

    p_i = sum_n w_n h_in / sum_n w_n,    F_i - F_0 = -ln(p_i / p_0)
    <u>_i = sum_n w_n h_in u_n / sum_n w_n h_in
    S_i = <u>_i + ln Z_i,   Z_i = p_i Z          (in k; of the measure, lengths in nm, labelled atoms)
    mixing entropy   -sum_i p_i ln p_i,          mean well entropy   sum_i p_i S_i

Their sum is the entropy of all, ``<u> + ln Z``. Without an ln Z well entropies are those over that of the
well of the largest population, F_0. All are functions of one set of sums, so that errors know what numbers
share: the delta method, and the bootstrap over samples, blocks or walkers (`boltzgen.free_energy`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from boltzgen.ensemble.diagnostics import findings, no_error_bar
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import WeightedSample, shifted, weighted_values
from boltzgen.free_energy.partition import knows_log_z, with_scale
from boltzgen.free_energy.populations import Population, populations
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import Errors, more_of, smooth_functions

#: Judges a state: its name and rows (n,) bool -> findings, such as that walkers never left it.
Judge = Callable[[str, np.ndarray], list[tuple[str, str]]]

#: Wells that get figures of their own, those of the largest population; the others count in the entropies.
MOST_WELLS = 100

#: What the estimates of all wells together are called.
MIXING, APART, MEAN, TOTAL = (
    "mixing entropy",
    "mixing entropy, mirror images apart",
    "mean well entropy",
    "configurational entropy",
)


@dataclass(frozen=True, eq=False)
class WellFigures:
    """One well with weight: its place among the wells, population, and three estimates.

    free_energy: over the well of the largest population (kT). energy: <u> (kT). entropy: k, absolute or over
    that well's.
    """

    well: int
    population: Population
    free_energy: Estimate
    energy: Estimate
    entropy: Estimate


@dataclass(frozen=True, eq=False)
class Figures:
    """wells: by falling population. entropies: of all together. absolute: whether ln Z was known.

    others, rest: how many wells have no figures of their own, and their population.
    """

    wells: tuple[WellFigures, ...]
    entropies: tuple[Estimate, ...]
    absolute: bool
    others: int = 0
    rest: float = 0.0


def figures(
    log_w: np.ndarray,
    u: np.ndarray,
    codes: np.ndarray,
    degeneracies: np.ndarray,
    statistics: Statistics,
    *,
    judge: Judge,
    absolute: bool = True,
    k_hat: float | None = None,
) -> Figures:
    """The figures of the wells ``0, 1, ...`` that `codes` (n,) names; -1 is none of them, and has no share.

    log_w, u: (n,) log-weights and reduced energies. degeneracies: (wells,) 1 or 2. absolute: whether the
    weights are on the scale of ln Z (not those of frames of a simulation). k_hat: of all weights, where these
    are some of them, chosen by weight.

    InputError where no row of a well carries weight.
    """
    inside = np.where(codes >= 0, log_w, -np.inf)
    sample = WeightedSample.of(inside, statistics)
    sample = sample if k_hat is None else replace(sample, k_hat=k_hat)
    u_n = weighted_values(sample, np.where(np.isfinite(inside), u, 0.0), "reduced energy")
    known = absolute and knows_log_z(statistics)
    shares = np.bincount(codes[codes >= 0], sample.w_n[codes >= 0], minlength=len(degeneracies))
    falling = [int(k) for k in np.argsort(-shares, kind="stable") if shares[k] > 0]
    order, others = falling[:MOST_WELLS], falling[MOST_WELLS:]
    masks = np.array([codes == k for k in order])
    names = [f"well {place}" for place in range(1, len(order) + 1)]
    held = populations(
        inside,
        dict(zip(names, masks, strict=True)),
        inefficiency=statistics.inefficiency,
        walkers=statistics.walkers,
    )
    errors, scale = _errors(sample, u_n, masks, degeneracies[order], known)
    count, found = len(order), []
    if others:
        errors[3 * count :] = _of_many(sample, u_n - scale.energy, codes, shares, degeneracies, known)
    for place, (name, mask, share) in enumerate(zip(names, masks, held, strict=True)):
        free, energy, entropy = (errors[part * count + place] for part in range(3))
        told = [] if len(falling) == 1 else judge(name, mask)
        reference = f"{name} over {names[0]}"

        def of(
            one: Errors, what: str, quantity: str, unit: str, mask=mask, told=told, share=share
        ) -> Estimate:
            return _estimate(sample, one, what, quantity, unit, mask, told, share)

        found.append(
            WellFigures(
                order[place],
                share,
                of(free, f"free energy of {reference}", "free energy difference", "kT"),
                of(shifted(energy, scale.energy), f"energy of {name}", "mean energy", "kT"),
                of(
                    shifted(entropy, scale.entropy),
                    f"entropy of {name if known else reference}",
                    "well entropy",
                    "k",
                ),
            )
        )
    whole = np.isfinite(inside)
    mixing, apart, mean, total = errors[3 * count :]
    shift = scale.entropy
    entropies = (
        _estimate(sample, mixing, MIXING, "entropy", "k", whole, [], None),
        _estimate(sample, apart, APART, "entropy", "k", whole, [], None),
        _estimate(sample, shifted(mean, shift), MEAN, "entropy", "k", whole, [], None),
        _estimate(sample, shifted(total, shift), TOTAL, "entropy", "k", whole, [], None),
    )
    return Figures(tuple(found), entropies, known, len(others), float(shares[others].sum()))


@dataclass(frozen=True)
class _Scale:
    """Constants left out of the sums: of energies, and of entropies."""

    energy: float
    entropy: float


def _errors(
    sample: WeightedSample, u_n: np.ndarray, masks: np.ndarray, degeneracies: np.ndarray, known: bool
) -> tuple[list[Errors], _Scale]:
    """F_i, <u>_i, S_i of the wells in turn, then the four entropies of all; what is to be added."""
    count = len(masks)
    centre = float(sample.w_n @ u_n)
    weighted = sample.w_n * (u_n - centre)  # energies of thousands of kT would lose the digits of differences
    whole = np.stack([np.full(sample.n, 1.0 / sample.n), sample.w_n])
    rows = np.concatenate([whole, masks * sample.w_n, masks * weighted])
    doubled = np.log(degeneracies.astype(float))

    def functions(sums: np.ndarray) -> np.ndarray:
        number, weight = sums[..., :1], sums[..., 1:2]
        held, energies = sums[..., 2 : count + 2], sums[..., count + 2 :]
        share = held / weight
        log_share = np.log(held) - np.log(weight)
        mean = energies / held
        log_z = np.log(weight) - np.log(number) if known else 0.0 * weight
        entropy = mean + log_share + log_z
        mixing = -_total(share * log_share)
        inner = _total(share * entropy)
        if not known:
            entropy, inner = entropy - entropy[..., :1], inner - entropy[..., :1]
        apart = mixing + _total(share * doubled)
        free = log_share[..., :1] - log_share
        return np.concatenate([free, mean, entropy, mixing, apart, inner, mixing + inner], axis=-1)

    found = smooth_functions(rows, functions, sample.statistics)
    if not known:
        return found, _Scale(centre, 0.0)
    scaled = [with_scale(one, sample.statistics) for one in found]
    chosen = [
        scaled[k] if 2 * count <= k < 3 * count or k >= 3 * count + 2 else one for k, one in enumerate(found)
    ]
    return chosen, _Scale(centre, centre + sample.shift - float(np.log(sample.n)))


def _of_many(
    sample: WeightedSample,
    u_n: np.ndarray,
    codes: np.ndarray,
    shares: np.ndarray,
    degeneracies: np.ndarray,
    known: bool,
) -> list[Errors]:
    """The four entropies of more wells than have figures; but for the scale. u_n: (n,) over the mean.

    By means of ``-ln p`` of each sample's well, which to first order has the error of ``-sum p ln p``: the
    logarithms move by ``dp / p``, and the sum of all dp is zero.
    """
    inside, first = codes >= 0, int(shares.argmax())
    log_share, doubled = np.zeros(sample.n), np.zeros(sample.n)
    log_share[inside] = np.log(np.maximum(shares, 1e-300))[codes[inside]]
    doubled[inside] = np.log(degeneracies.astype(float))[codes[inside]]
    values = np.stack([-log_share, doubled - log_share, u_n + log_share, u_n])
    held = sample.w_n * (codes == first)
    rows = np.stack([np.full(sample.n, 1.0 / sample.n), sample.w_n, held, held * u_n, *(sample.w_n * values)])

    def functions(sums: np.ndarray) -> np.ndarray:
        number, weight, own, energy = (sums[..., k : k + 1] for k in range(4))
        mean = sums[..., 4:] / weight
        scale = np.log(weight) - np.log(number)
        if not known:
            scale = np.log(weight) - np.log(own) - energy / own
        return np.concatenate([mean[..., :2], mean[..., 2:] + scale], axis=-1)

    found = smooth_functions(rows, functions, sample.statistics)
    return [*found[:2], *(with_scale(one, sample.statistics) if known else one for one in found[2:])]


def _total(terms: np.ndarray) -> np.ndarray:
    """The sum over the last axis; a well that a replicate has lost (0 times infinity) adds nothing."""
    return np.asarray(np.where(np.isnan(terms.real), 0.0, terms).sum(axis=-1, keepdims=True))


def _estimate(
    sample: WeightedSample,
    errors: Errors,
    name: str,
    quantity: str,
    unit: str,
    mask: np.ndarray,
    told: list[tuple[str, str]],
    share: Population | None,
) -> Estimate:
    """The estimate of one number of the rows `mask` (n,); `share` is what they hold, None for all rows."""
    values = None if share is None or mask.all() else mask
    if share is not None:
        counted = findings(
            sample.log_w_n,
            k_hat=sample.k_hat,
            coverage=sample.statistics.coverage,
            n_effective={share.name: share.n_effective},
        )
        known = sample.findings(values)
        told = [*told, *(one for one in counted if one not in known)]
    found = sample.estimate(errors, name=name, quantity=quantity, unit=unit, found=tuple(told), values=values)
    return found if share is None else without_error(found, share.n_effective)


def without_error(found: Estimate, n_effective: float) -> Estimate:
    """`found`, which rests on so many effective samples; without an error bar where these are too few."""
    why = no_error_bar(n_effective)
    if why is None or found.value is None:
        return found
    return replace(
        found,
        standard_error=None,
        interval95=(None, None),
        standard_error_asymptotic=None,
        standard_error_bootstrap=None,
        n_effective=n_effective,
        unknown={**found.unknown, "standard_error": why, "interval95": why},
    )


def near_pose(
    log_w: np.ndarray, near: np.ndarray, statistics: Statistics, *, judge: Judge
) -> tuple[Population, Estimate]:
    """The population of the rows `near` (n,) a pose, and the free energy ``-ln p`` (kT) of staying there."""
    sample = WeightedSample.of(log_w, statistics)
    name = "near the pose"
    (held,) = populations(
        log_w, {name: near}, inefficiency=statistics.inefficiency, walkers=statistics.walkers
    )
    if not held.population > 0:
        nothing = Errors(None, None, None, (None, None))
        why = f"none of {sample.n} samples with weight lies there; {more_of(statistics.coverage)}"
        return held, sample.estimate(
            nothing,
            name=f"free energy of staying {name}",
            quantity="free energy difference",
            unit="kT",
            found=(("unreliable", why),),
            why="no sample near the pose carries weight",
        )
    rows = np.stack([sample.w_n, sample.w_n * near])
    (errors,) = smooth_functions(
        rows, lambda sums: np.log(sums[..., :1]) - np.log(sums[..., 1:]), sample.statistics
    )
    told = [] if near[np.isfinite(log_w)].all() else judge(name, near)
    estimate = _estimate(
        sample,
        errors,
        f"free energy of staying {name}",
        "free energy difference",
        "kT",
        near,
        told,
        held,
    )
    return held, estimate
