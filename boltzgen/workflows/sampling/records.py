"""What the verbs of weighted samples return: summaries, coverage, and what reweighting did."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boltzgen.notebook import with_error
from boltzgen.shares import wilson_interval
from boltzgen.workflows.records import Record, number, whole_number

#: Keys of a summary that say nothing of independent samples, and of those of walkers.
_OF_CHAINS = ("ess_bulk", "ess_tail", "r_hat", "autocorrelation", "walkers", "steps")
_OF_WEIGHTS = ("ess", "ess_clipped_1e-4", "ess_dropped_0.2%", "forward_ess", "forward_ess_frames")


class Summary(Record):
    """``OUT/summary.json``: how many samples were drawn, and what they are worth.

    Fractions are of the samples drawn; a number that is not known is None, with a sentence in `reasons`.
    Independent samples have weights (`ess`, `k_hat`), those of walkers have `ess_bulk` and what follows it.
    """

    @property
    def requested(self) -> int:
        """Samples that were asked for."""
        return int(self._content["requested"])

    @property
    def kept(self) -> int:
        """Samples with a weight."""
        return int(self._content["kept"])

    @property
    def rejected(self) -> dict[str, int]:
        """How many have none, by reason."""
        return dict(self._content["rejected"])

    @property
    def ess(self) -> float | None:
        """Kish's effective sample size, a fraction."""
        return number(self._content["ess"])

    @property
    def ess_clipped(self) -> float | None:
        """The same with the largest 1e-4 of the weights clipped; for comparison with publications only."""
        return number(self._content["ess_clipped_1e-4"])

    @property
    def ess_dropped(self) -> float | None:
        """The same without the largest 0.2 % of the weights; for comparison with publications only."""
        return number(self._content["ess_dropped_0.2%"])

    @property
    def forward_ess(self) -> float | None:
        """Effective sample size seen from samples of the target, a fraction."""
        return number(self._content["forward_ess"])

    @property
    def forward_ess_frames(self) -> float | None:
        """Independent frames of the target that `forward_ess` rests on, at least 30."""
        return number(self._content.get("forward_ess_frames"))

    @property
    def k_hat(self) -> float | None:
        """Pareto shape of the largest weights."""
        return number(self._content["k_hat"])

    @property
    def largest_weight_share(self) -> float | None:
        """Of the sum of all weights."""
        return number(self._content["largest_weight_share"])

    @property
    def log_z(self) -> float | None:
        """Natural logarithm of the partition function over the measure of the samples (lengths in nm)."""
        return number(self._content["log_z"])

    @property
    def log_z_standard_error(self) -> float | None:
        return number(self._content["log_z_standard_error"])

    @property
    def energy_evaluations(self) -> int | None:
        """How many energies it took."""
        return whole_number(self._content["energy_evaluations"])

    @property
    def ess_bulk(self) -> float | None:
        """Bulk samples of the slowest variable: how many independent ones the rows of walkers are."""
        return number(self._content.get("ess_bulk"))

    @property
    def ess_tail(self) -> float | None:
        """The same in the tails, the 5 % and 95 % quantiles."""
        return number(self._content.get("ess_tail"))

    @property
    def r_hat(self) -> float | None:
        """Nested R-hat over the groups of walkers, the largest of all variables."""
        return number(self._content.get("r_hat"))

    @property
    def autocorrelation(self) -> float | None:
        """Sweeps for an independent sample of the slowest variable: rows over bulk samples, times stride."""
        return number(self._content.get("autocorrelation"))

    @property
    def walkers(self) -> int | None:
        """Walkers that made the samples; None where these are independent."""
        return whole_number(self._content.get("walkers"))

    @property
    def steps(self) -> int | None:
        """Sweeps of each walker after the warm-up."""
        return whole_number(self._content.get("steps"))

    @property
    def acceptance(self) -> dict[str, float]:
        """Share of moves that were accepted, by kind; empty without walkers."""
        found = self._content.get("acceptance") or {}
        return {kind: one["accepted"] / one["tried"] for kind, one in found.items() if one["tried"]}

    @property
    def energy_evaluations_by_part(self) -> dict[str, int]:
        """What pilot, warm-up, sampling and rungs took; empty without walkers."""
        return dict(self._content.get("energy_evaluations_by_part") or {})

    @property
    def unfamiliarity(self) -> float | None:
        """Of a molecule that the model was not trained on (0: nothing new); None for one that it was."""
        return number(self._content.get("unfamiliarity"))

    @property
    def refined(self) -> tuple[Mapping[str, Any], ...]:
        """What the moves of ``refine`` did, one record for each draw; empty without."""
        return tuple(copy.deepcopy(dict(one)) for one in self._content.get("refined", ()))

    @property
    def verdict(self) -> str:
        """``ok``, ``caution`` or ``unreliable``."""
        return str(self._content["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not better, worst first, and what is not known."""
        return tuple(self._content["reasons"])

    def rows(self) -> dict[str, Any]:
        nested = ("schema", "rejected", "reasons", "refined", "acceptance", "energy_evaluations_by_part")
        others = _OF_CHAINS if self.walkers is None else _OF_WEIGHTS
        rows = {name: value for name, value in self._content.items() if name not in (*nested, *others)}
        if self.walkers is not None:  # numbers of weights, where all are equal
            rows = {name: value for name, value in rows.items() if value is not None}
        rows |= {f"rejected: {reason}": count for reason, count in self.rejected.items()}
        rows |= {f"accepted: {kind}": f"{100 * share:.2g} %" for kind, share in self.acceptance.items()}
        return rows | {f"energies: {part}": count for part, count in self.energy_evaluations_by_part.items()}

    def __repr__(self) -> str:
        worth = "" if self.ess is None else f"ESS {100 * self.ess:.3g} %"
        worth += "" if self.k_hat is None else f", k-hat {self.k_hat:.2f}"
        if self.walkers is not None:
            known = [f"{name} {value:.4g}" for name, value in self._told().items() if value is not None]
            worth = ", ".join([f"{self.walkers} walkers", *known])
        return (
            f"<Summary: {self.requested} samples, {self.kept} with weight; {worth}, "
            f"ln Z {with_error(self.log_z, self.log_z_standard_error)}; verdict {self.verdict}>"
        )

    def _told(self) -> dict[str, float | None]:
        return {"bulk samples": self.ess_bulk, "tail samples": self.ess_tail, "R-hat": self.r_hat}


class Coverage(Record):
    """``coverage`` in ``OUT/manifest.json``: what the flow may have missed."""

    @property
    def source(self) -> str:
        """Where the target samples come from: a trajectory, ``probe``, or ``the samples alone``."""
        return str(self._content["source"])

    @property
    def n_target(self) -> int | None:
        """Target samples; None where nothing was compared."""
        return whole_number(self._content.get("n_target"))

    @property
    def n_independent(self) -> float | None:
        """How many of them count as independent."""
        return number(self._content.get("n_independent"))

    @property
    def forward_ess(self) -> float | None:
        """Effective sample size seen from them, a fraction."""
        return number(self._content["forward_ess"])

    @property
    def missed(self) -> float | None:
        """Share of them that lies where the flow draws (almost) nothing."""
        return number(self._content.get("missed"))

    @property
    def states(self) -> tuple[Population, ...]:
        """Populations of torsional states, here and in the target samples."""
        return tuple(
            Population(
                str(state["name"]),
                number(state["reweighted"]),
                number(state["reweighted_error"]),
                number(state["target"]),
                number(state["target_error"]),
            )
            for state in self._content.get("states", ())
        )

    @property
    def verdict(self) -> str:
        """``ok``, ``caution`` or ``unreliable``."""
        return str(self._content["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not better, worst first."""
        return tuple(self._content["reasons"])

    def rows(self) -> dict[str, Any]:
        names = ("source", "n_target", "n_independent", "forward_ess", "missed", "verdict")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        many = "" if self.n_independent is None else f", {self.n_independent:.0f} independent target samples"
        seen = "" if self.forward_ess is None else f", forward ESS {100 * self.forward_ess:.3g} %"
        return f"<Coverage by {self.source}{many}{seen}; verdict {self.verdict}>"


@dataclass(frozen=True)
class Population:
    """Share of one state with its standard error: of the weighted samples, and of the target samples."""

    name: str
    reweighted: float | None
    reweighted_error: float | None
    target: float | None
    target_error: float | None

    @property
    def reweighted_interval95(self) -> tuple[float | None, float | None]:
        """Wilson's interval of `reweighted`."""
        return wilson_interval(self.reweighted, self.reweighted_error)

    @property
    def target_interval95(self) -> tuple[float | None, float | None]:
        """Wilson's interval of `target`."""
        return wilson_interval(self.target, self.target_error)


@dataclass(frozen=True, repr=False)
class Reweighting(Record):
    """``reweight.json`` of the new OUT folder, and its ``summary.json``."""

    summary: Summary

    @property
    def ended(self) -> str:
        """Why the run ended."""
        return str(self._content["ended"])

    @property
    def evaluated(self) -> int:
        """Samples that have the new energy, of those that it could give weight (`candidates`)."""
        return int(self._content["evaluated"])

    @property
    def candidates(self) -> int:
        return int(self._content["candidates"])

    @property
    def energy_evaluations(self) -> int:
        """What the new energy cost, all runs together."""
        return int(self._content["energy_evaluations"])

    @property
    def seconds(self) -> float:
        """The same in time."""
        return float(self._content["seconds"])

    @property
    def second_stage(self) -> SecondStage | None:
        """How the new energy differs from the old; None where only the temperature changed."""
        found = self._content["second_stage"]
        return None if found is None else SecondStage(**found)

    @property
    def before(self) -> Figures:
        """What the samples were worth for the old target."""
        return Figures(**self._content["before"])

    @property
    def after(self) -> Figures:
        """What they are worth for the new one."""
        return Figures(**self._content["after"])

    def rows(self) -> dict[str, Any]:
        rows = {
            "samples": self._content["rows"],
            "energies computed": self.energy_evaluations,
            "seconds": self.seconds,
            "ended": self.ended,
        }
        if self.second_stage is not None:
            rows["effective share kept by the step"] = self.second_stage.ess
            rows["mean of u' - u (kT)"] = self.second_stage.mean_difference
            rows["standard deviation (kT)"] = self.second_stage.sd_difference
        return rows

    def __repr__(self) -> str:
        return (
            f"<Reweighting: {self.evaluated} of {self.candidates} energies computed; effective samples "
            f"{self.before.n_effective:.0f} before, {self.after.n_effective:.0f} after, "
            f"ln Z {with_error(self.after.log_z, self.after.log_z_standard_error)}; "
            f"verdict {self.summary.verdict}>"
        )


@dataclass(frozen=True)
class Figures:
    """What weighted samples are worth for one target: effective number, tail, ln Z (lengths in nm)."""

    n_effective: float
    k_hat: float | None
    log_z: float | None
    log_z_standard_error: float | None
    verdict: str


@dataclass(frozen=True)
class SecondStage:
    """Effective samples after a change of energy over those before, and ``u' - u`` (kT); None: not known."""

    ess: float | None
    mean_difference: float | None
    sd_difference: float | None
