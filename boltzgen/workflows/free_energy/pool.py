"""All samples of several states and flows in one pool: every sample's energy in every state, for MBAR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from boltzgen.ensemble.diagnostics import COVERED, NO_COVERAGE, VERDICTS
from boltzgen.errors import InputError
from boltzgen.free_energy.multistate import MultistateResult, absolute_mbar, mixture
from boltzgen.free_energy.multistate import mbar as solve
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import Target
from boltzgen.progress import Progress
from boltzgen.trust.coverage import with_findings
from boltzgen.workflows.free_energy.ends import End
from boltzgen.workflows.free_energy.mbar_states import SampledState, found_of_frames, found_of_walkers

#: K; energies are kept as U/kT at this temperature, and scale to any other.
_UNIT_KELVIN = 300.0


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples (N), those of flows first, then those of each of K states.

    u_kn: (K, N) reduced energies, +inf outside the domain. N_k: (K,) samples of each state. log_q_mn: (M,
    N) log densities of the flows; n_flow: draws of each. record: of the folders of flows and walkers.
    covered: what the flows' folders say of their coverage; missing: cautions on frames, states of rings that
    none of them shows, findings of walkers.
    """

    states: list[SampledState]
    u_kn: np.ndarray
    N_k: list[int]
    log_q_mn: np.ndarray
    n_flow: list[int]
    record: list[dict[str, Any]]
    covered: dict[str, Any] | None
    missing: list[tuple[str, str]]

    def solved(self, statistics: Statistics) -> MultistateResult:
        """MBAR of the pool; absolute where there are flows."""
        common: dict[str, Any] = {
            "inefficiency_k": np.ones(len(self.states)),
            "names": [state.name for state in self.states],
        }
        if not self.n_flow:
            statistics = replace(statistics, coverage=with_findings(COVERED, self.missing))
            return solve(self.u_kn, self.N_k, statistics, **common)
        coverage = self.covered
        if self.missing:
            coverage = with_findings(
                coverage or {"verdict": "caution", "reasons": [NO_COVERAGE]}, self.missing
            )
        statistics = replace(statistics, coverage=coverage)
        return absolute_mbar(self.log_q_mn, self.n_flow, self.u_kn, self.N_k, statistics, **common)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """(K, N) and (K,) as `MultistateResult` has the states: that of the flows, if any, first."""
        if not self.n_flow:
            return self.u_kn, np.array(self.N_k)
        mixed = mixture(self.log_q_mn, self.n_flow, self.u_kn)
        return np.vstack([-mixed, self.u_kn]), np.array([sum(self.n_flow), *self.N_k])


def pooled(
    states: list[SampledState], ends: list[End], walked: list[End], samples: int, progress: Progress
) -> Pool:
    """The pool of the frames of `states` and of `samples` rows of each of `ends`, draws of their flows.

    Samples of those `walked` are among the frames of the states.
    """
    parts = [end.ensemble[:samples] for end in ends]
    accepted = [np.isfinite(part.log_w) for part in parts]
    flow = [np.array(p.positions[mask]) for p, mask in zip(parts, accepted, strict=True)]
    positions = np.concatenate([*flow, *(part for state in states for part in state.frames)])
    if not len(positions):
        raise InputError("none of the folders holds a sample inside the domain.")
    drawn = np.concatenate([*accepted, np.ones(len(positions) - sum(map(len, flow)), bool)])
    u_kn = np.full((len(states), len(drawn)), np.inf)
    log_q_mn = np.full((len(ends), len(drawn)), -np.inf)
    done, total = 0, len(states) + len(ends)
    energies: dict[int, np.ndarray] = {}
    for k, state in enumerate(states):
        key = id(state.system)
        if key not in energies:
            told = partial(progress, done, total, {"now": state.name})
            energies[key] = _energies(state.system.target, positions, told)
        u_kn[k, drawn] = energies[key] * (_UNIT_KELVIN / state.temperature)
        done += 1
    for m, end in enumerate(ends):
        assert end.system is not None
        x = torch.as_tensor(positions, dtype=torch.float64)
        densities = []
        for batch in x.split(end.system.batch_rows):
            progress(done, total, {"now": f"density of {end.name}"})
            densities.append(end.system.generator.log_prob(batch, end.temperature)[0].cpu().numpy())
        log_q_mn[m, drawn] = np.concatenate(densities)
        done += 1
    record = [
        {**end.record, "used": len(part), "rejected": int((~mask).sum())}
        for end, part, mask in zip(ends, parts, accepted, strict=True)
    ]
    return Pool(
        states,
        np.where(np.isfinite(u_kn), u_kn, np.inf),
        [state.n for state in states],
        log_q_mn,
        [len(part) for part in parts],
        [*record, *({**end.record, "walkers": True} for end in walked)],
        _worst_coverage(ends, states) if ends else None,
        [*found_of_frames(states), *found_of_walkers(walked)],
    )


@torch.no_grad()
def _energies(target: Target, positions: np.ndarray, before_batch: Callable[[], None]) -> np.ndarray:
    """U / kT (N,) at `_UNIT_KELVIN`, +inf outside the domain or where the energy is not finite."""
    parts = []
    for batch in torch.as_tensor(positions, dtype=torch.float64).split(target.batch_rows()):
        before_batch()
        x = batch.to(target.reference.device)
        u = target.reduced_energy(x, _UNIT_KELVIN)
        good = target.coordinates.inside(x) & torch.isfinite(u)
        parts.append(torch.where(good, u, torch.full_like(u, torch.inf)).cpu().numpy())
    return np.concatenate(parts)


def _worst_coverage(ends: list[End], states: list[SampledState]) -> dict[str, Any] | None:
    """The worst coverage record of the flows; where every state was simulated, that vouches for coverage."""
    if all(state.n for state in states):
        return {"verdict": "ok", "reasons": []}
    records = [end.ensemble.coverage or {"verdict": "caution", "reasons": [NO_COVERAGE]} for end in ends]
    worst = max(records, key=lambda record: VERDICTS.index(record["verdict"]))
    return None if worst["reasons"] == [NO_COVERAGE] else worst
