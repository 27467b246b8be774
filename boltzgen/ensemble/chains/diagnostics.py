"""What samples of walkers are worth, and the verdict on them: the rules of chains.

Weights say nothing here, for all are equal. What counts: how many independent samples the rows are (bulk and
tail sample sizes), whether groups that never talked agree (nested R-hat), whether every torsion turned, and
whether walkers entered and left each state. The smallest number over all variables counts: the energy, cosine
and sine of every torsion that the record of the chains names, and each coordinate of a model system.

The autocorrelation is that of the variable with the fewest bulk samples: rows over bulk samples, times the
sweeps from one row of a walker to its next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from boltzgen import remedies
from boltzgen.ensemble.chains.figures import ChainFigures, State, Variable
from boltzgen.ensemble.chains.r_hat import nested_r_hat
from boltzgen.ensemble.chains.samples import FEWEST_STEPS, bulk_samples, moved, tail_samples
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.diagnostics import (
    ENOUGH_EFFECTIVE,
    NO_COVERAGE,
    Diagnostics,
    findings,
    kish_ess,
    largest_weight_share,
    pareto_k,
    rounded_up,
    weights_are_constant,
    worst,
)
from boltzgen.system.graph.geometry import dihedral_angles

#: Nested R-hat below which groups agree (Vehtari et al. 2021 ask 1.01 of four chains), and from which nothing
#: can be relied on.
R_HAT_GOOD, R_HAT_BAD = 1.02, 1.1

#: Bulk and tail samples of each variable that are enough, and below which they are far too few.
ENOUGH_SAMPLES, TOO_FEW_SAMPLES = 200.0, 50.0

#: Walkers below which the scatter among them, on which every error bar rests, is poorly known.
FEWEST_WALKERS = 20

#: Times that walkers enter, and leave, a state before its population means anything, as for the probe.
ENOUGH_CROSSINGS = 8

#: Share of the samples from which a third of a torsion's circle is a state that the verdict asks about.
REPORTED = 0.01

#: Angles (rad) that differ by less are one: what is kept is computed anew from rounded positions.
TURNED = 1e-3

#: Thirds of the circle, in degrees, as in `boltzgen.trust.judgement`.
THIRDS = ("0 and 120", "120 and -120", "-120 and 0")

NOT_INDEPENDENT = "samples of walkers depend on one another and have equal weights"


def diagnose_chains(
    walkers: Walkers,
    log_w: np.ndarray,
    log_q: np.ndarray,
    positions: np.ndarray,
    *,
    record: Mapping[str, Any],
    coverage: Mapping[str, Any] | None,
) -> Diagnostics:
    """All diagnostics of n rows of `walkers`, with the verdict of the rules of chains.

    log_w, log_q: (n,); without reweighting all weights are equal and ``-log_q`` is the energy but for a
    constant. positions: (n, N, 3) nm, (n, d) of a model system. record: of the chains (``torsions``: name and
    four atoms each). After reweighting the samples are those of the chains times Kish's fraction.
    """
    figures = chain_figures(walkers, log_w, log_q, positions, record.get("torsions", ()))
    constant = weights_are_constant(log_w)
    k_hat = None if constant else pareto_k(log_w)
    verdict, reasons = worst(_findings(figures, log_w, k_hat, coverage))
    unknown = dict.fromkeys(("ess", "ess_clipped_1e-4", "ess_dropped_0.2%"), NOT_INDEPENDENT)
    unknown["forward_ess"] = unknown["forward_ess_frames"] = (
        "it compares frames with draws of the flow, and walkers are none"
    )
    if constant:
        unknown["k_hat"] = unknown["largest_weight_share"] = "all weights are equal, and have no tail"
    elif k_hat is None:
        unknown["k_hat"] = "too few samples with weight"
    error = walkers.log_z_standard_error
    value = walkers.log_z
    if value is not None and not constant:
        value, error = _reweighted_log_z(walkers, log_w)
    if value is None:
        unknown["log_z"] = unknown["log_z_standard_error"] = "walkers alone do not tell it"
    elif error is None:
        unknown["log_z_standard_error"] = "the error of the chains' ln Z is not known"
    for name in ("ess_bulk", "ess_tail", "r_hat", "autocorrelation"):
        if getattr(figures, name) is None:
            unknown[name] = _why_not(figures, name, walkers)
    return Diagnostics(
        n=len(walkers),
        n_valid=int(np.isfinite(log_w).sum()),
        ess=None,
        ess_clipped=None,
        ess_dropped=None,
        forward_ess=None,
        forward_ess_frames=None,
        k_hat=k_hat,
        largest_weight_share=None if constant else largest_weight_share(log_w),
        log_z=value,
        log_z_standard_error=error,
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=unknown,
        chains=figures,
    )


def chain_figures(
    walkers: Walkers,
    log_w: np.ndarray,
    log_q: np.ndarray,
    positions: np.ndarray,
    torsions: Any,
) -> ChainFigures:
    """The figures of `walkers`; arguments as in `diagnose_chains`."""
    share = 1.0 if weights_are_constant(log_w) else kish_ess(log_w)
    variables, states = [], []
    for name, columns, least in _variables(log_w, log_q, positions, torsions):
        variables.append(_variable(name, columns, least, walkers, share))
    for torsion in torsions:
        angle = dihedral_angles(positions, np.array([torsion["atoms"]]))[:, 0]
        states += _states(str(torsion["name"]), angle, walkers) if torsion.get("states", True) else []
    bulk, tail = (_smallest([getattr(v, name) for v in variables]) for name in ("ess_bulk", "ess_tail"))
    known = [v.r_hat for v in variables if v.r_hat is not None]
    return ChainFigures(
        ess_bulk=bulk,
        ess_tail=tail,
        r_hat=max(known, default=None),
        autocorrelation=None if not bulk else share * len(walkers) / bulk * walkers.stride,
        walkers=walkers.number,
        groups=walkers.groups,
        steps=round(walkers.steps * walkers.stride),
        variables=tuple(variables),
        states=tuple(states),
    )


def _variables(
    log_w: np.ndarray, log_q: np.ndarray, positions: np.ndarray, torsions: Any
) -> Iterator[tuple[str, list[np.ndarray], float]]:
    """Name, columns (n,) and the least change that counts, of each variable."""
    if np.isfinite(log_w).all():  # rows whose new energy was not computed keep another density
        yield "energy", [-log_q], 0.0
    for torsion in torsions:
        angle = dihedral_angles(positions, np.array([torsion["atoms"]]))[:, 0]
        yield f"torsion {torsion['name']}", [np.cos(angle), np.sin(angle)], TURNED
    if positions.ndim == 2:
        for number, column in enumerate(positions.T):
            yield f"x{number}", [np.asarray(column, dtype=np.float64)], 0.0


def _variable(name: str, columns: list[np.ndarray], least: float, walkers: Walkers, share: float) -> Variable:
    series = [walkers.series(column) for column in columns]
    turned = any(moved(one, least) for one in series)
    bulk, tail = (
        _smallest([None if (n := found(one)) is None else share * n for one in series]) if turned else None
        for found in (bulk_samples, tail_samples)
    )
    hats = [nested_r_hat(one, walkers.group_of_walker) for one in series]
    r_hat = max((hat for hat in hats if hat is not None), default=None)
    return Variable(name, bulk, tail, r_hat, turned)


def _states(name: str, angle: np.ndarray, walkers: Walkers) -> list[State]:
    """The thirds of the circle of a torsion that hold at least `REPORTED` of the rows."""
    third = np.minimum(np.floor(np.mod(angle, 2 * np.pi) / (2 * np.pi / 3)), 2)
    found = []
    for number, words in enumerate(THIRDS):
        inside = third == number
        if REPORTED <= inside.mean() < 1.0:
            entered, left = walkers.crossings(inside)
            found.append(
                State(f"torsion {name} between {words} degrees", float(inside.mean()), entered, left)
            )
    return found


def _findings(
    figures: ChainFigures, log_w: np.ndarray, k_hat: float | None, coverage: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """What speaks against the verdict ``ok``."""
    found = judge_walkers(figures, len(log_w))
    for state in figures.states:
        found += judge_crossings(f"the {state.name}", state.entered, state.left)
    if weights_are_constant(log_w):
        if coverage is None:
            return [*found, ("caution", NO_COVERAGE)]
        return [(coverage["verdict"], reason) for reason in coverage["reasons"]] + found
    enough = {"": ENOUGH_EFFECTIVE}  # their number was judged above
    return [*found, *findings(log_w, k_hat=k_hat, coverage=coverage, n_effective=enough)]


def judge_walkers(figures: ChainFigures, n: int) -> list[tuple[str, str]]:
    """Findings on n rows of walkers, whatever is asked of them: on sample sizes and on their groups."""
    found = _judge_samples(figures, n)
    if figures.walkers < FEWEST_WALKERS:
        found.append(
            (
                "caution",
                f"error bars rest on {figures.walkers} walkers, and {FEWEST_WALKERS} are needed; "
                f"{remedies.MORE_WALKERS}",
            )
        )
    if figures.r_hat is None and figures.groups < 2:
        found.append(
            ("caution", f"one group of walkers has nothing to be compared with; {remedies.MORE_WALKERS}")
        )
    elif figures.r_hat is not None and figures.r_hat >= R_HAT_GOOD:
        worst_one = max(figures.variables, key=lambda one: one.r_hat or 0.0)
        verdict = "unreliable" if figures.r_hat >= R_HAT_BAD else "caution"
        found.append(
            (
                verdict,
                f"groups of walkers disagree: R-hat {figures.r_hat:.3f} of the {worst_one.name} is not below "
                f"{R_HAT_GOOD}; {remedies.LONGER_CHAINS}",
            )
        )
    return found


def _judge_samples(figures: ChainFigures, n: int) -> list[tuple[str, str]]:
    """Findings on what never moved, and on sample sizes."""
    stuck = [one.name for one in figures.variables if not one.moved]
    found = []
    if stuck:
        names = ", ".join(stuck[:3]) + (f" and {len(stuck) - 3} more" if len(stuck) > 3 else "")
        found.append(("unreliable", f"no walker ever changed the {names}; {remedies.ADAPT}"))
    for kind, number in (("bulk", figures.ess_bulk), ("tail", figures.ess_tail)):
        if number is None and not stuck:
            why = f"{kind} samples are not known: each walker has {figures.steps} sweeps"
            found.append(("caution", f"{why}; {remedies.LONGER_CHAINS}"))
        elif number is not None and number < ENOUGH_SAMPLES:
            slowest = min(figures.variables, key=lambda one: getattr(one, f"ess_{kind}") or 0.0, default=None)
            name = "" if slowest is None else f" of the {slowest.name}"
            verdict = "unreliable" if number < TOO_FEW_SAMPLES else "caution"
            found.append(
                (
                    verdict,
                    f"{number:.0f} {kind} samples{name}, and {ENOUGH_SAMPLES:.0f} are needed; "
                    f"{remedies.longer_chains(rounded_up(n * ENOUGH_SAMPLES / number))}",
                )
            )
    return found


def judge_crossings(name: str, entered: int, left: int) -> list[tuple[str, str]]:
    """The finding on a state that walkers seldom entered or left: its population is that of their starts."""
    if min(entered, left) >= ENOUGH_CROSSINGS:
        return []
    verdict = "unreliable" if min(entered, left) == 0 else "caution"
    return [
        (
            verdict,
            f"walkers entered {name} {entered} times and left it {left} times, and {ENOUGH_CROSSINGS} of "
            f"each are needed; {remedies.LONGER_CHAINS}",
        )
    ]


def _smallest(numbers: list[float | None]) -> float | None:
    """The smallest; None where one is not known, or there is none."""
    known = [number for number in numbers if number is not None]
    return min(known) if known and len(known) == len(numbers) else None


def _why_not(figures: ChainFigures, name: str, walkers: Walkers) -> str:
    if name == "r_hat":
        return "there is one group of walkers" if figures.groups < 2 else "nothing varies within a group"
    if walkers.steps < FEWEST_STEPS:
        return f"each walker has {walkers.steps} rows, and {FEWEST_STEPS} are needed"
    stuck = [one.name for one in figures.variables if not one.moved]
    return f"no walker ever changed the {stuck[0]}" if stuck else "nothing is known of any variable"


def _reweighted_log_z(walkers: Walkers, log_w: np.ndarray) -> tuple[float | None, float | None]:
    """ln Z of a target that walkers of another were reweighted to, with both errors added in squares."""
    if np.isneginf(log_w.max()) or walkers.log_z is None:
        return None, None
    total = float(np.logaddexp.reduce(log_w))
    value = total - float(np.log(len(log_w)))
    if walkers.log_z_standard_error is None or walkers.number < 2:
        return value, None
    shares = walkers.sums(np.exp(log_w - total)[None])[0]
    spread = shares - shares.mean()
    own = float(np.sqrt((spread**2).sum() * walkers.number / (walkers.number - 1)))
    return value, float(np.hypot(own, walkers.log_z_standard_error))
