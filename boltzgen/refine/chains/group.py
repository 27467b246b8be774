"""One group of walkers: its pilot, its warm-up, its samples, and how it goes on after it was ended.

A group talks to nobody: its random numbers, starts, shares and widths are its own. At full passes all of its
state is a function of the latents, so that a group that is put back to one goes on to the same bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.errors import BoltzgenError
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.refine.chains.adaptation import Adaptation, Followed
from boltzgen.refine.chains.moves import accepted, draw_base, moves_of, proposed
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.walkers import ChainTarget, Walkers
from boltzgen.system.graph.torsions import Subset

#: Moves of a sweep for each followed variable.
MOVES_A_VARIABLE = 2

#: Largest difference of a cached and a full pass in ln w, of a network in float64 and in float32.
LARGEST_DRIFT = {torch.float64: 1e-6, torch.float32: 0.02}

#: Weights of the pilot's draws above this many times their mean, over the root of their number, count as it.
CLIPPED = 1.0

#: Energies are counted under these names.
STAGES = ("pilot", "warm_up", "sampling", "rungs")


@dataclass
class Taken:
    """What was sampled: one entry a kept step, of all walkers of the group, W of them.

    positions: (W, N, 3) float32. u, log_w: (W,). draws: ln w of fresh draws of the flow, a few at a time.
    """

    positions: list[np.ndarray] = field(default_factory=list)
    u: list[np.ndarray] = field(default_factory=list)
    log_w: list[np.ndarray] = field(default_factory=list)
    draws: list[np.ndarray] = field(default_factory=list)


class Group:
    """Group number `group` of chains at `temperature` (K); `begin` it, then `sweep` it until it is `done`.

    steps: kept states of each walker.
    """

    def __init__(
        self,
        generator: BoltzmannGenerator,
        temperature: float,
        settings: ChainSettings,
        *,
        seed: int,
        group: int,
        steps: int,
    ) -> None:
        self.settings, self.group, self.steps = settings, group, steps
        self.target = ChainTarget(generator, temperature, settings.walkers_a_group)
        self.circular = generator.target.features.circular
        self.followed = Followed(open_rows(generator.target), generator.target.features.dimension)
        self.moves = moves_of(generator.target)
        self.adaptation = Adaptation(self.moves, self.followed.variables)
        self.moves_a_sweep = MOVES_A_VARIABLE * self.followed.variables
        self.random = torch.Generator().manual_seed(stream_seed(seed, group))
        self.taken, self.sweeps, self.largest_drift = Taken(), 0, 0.0
        self.energies: Counter[str] = Counter()
        self.acceptance = {move.kind: np.zeros(2, dtype=np.int64) for move in self.moves}
        precision = next((one.dtype for one in self.target.flow.parameters()), torch.float64)
        self.most_drift = LARGEST_DRIFT.get(precision, LARGEST_DRIFT[torch.float32])
        self.walkers: Walkers

    @property
    def sweeps_in_all(self) -> int:
        return self.settings.warm_up + self.steps * self.settings.stride

    @property
    def warming(self) -> bool:
        return self.sweeps < self.settings.warm_up

    @property
    def done(self) -> bool:
        return self.sweeps >= self.sweeps_in_all

    def begin(self) -> None:
        """The pilot, and all walkers at one of its draws, by weight: nested R-hat compares such groups.

        Margossian et al., Bayesian Analysis (2024), section 3: chains of a group from one point, groups from
        different ones, so that what the start still decides shows as a difference of groups. BoltzgenError
        when no draw can be started from.
        """
        parts, latents = [], []
        for _ in range(-(-self.settings.pilot // self.target.rows)):
            latents.append(draw_base(self.target.rows, self.circular, generator=self.random))
            parts.append(self.target.whole(latents[-1]).log_w)
        log_w = torch.cat(parts)
        self.energies["pilot"] += int(self.target.count().sum())
        self.taken.draws.append(log_w.cpu().numpy())
        if not bool(torch.isfinite(log_w).any()):
            raise BoltzgenError(self._no_start(len(log_w)))
        most = torch.logsumexp(log_w, dim=0) - 0.5 * np.log(len(log_w)) + np.log(CLIPPED)
        share = torch.softmax(torch.minimum(log_w, most), dim=0).cpu()
        start = int(torch.multinomial(share, 1, generator=self.random))
        self.walkers = self.target.whole(torch.cat(latents)[start].repeat(self.target.rows, 1))
        self._count("warm_up")

    def sweep(self) -> None:
        """One sweep of all walkers; BoltzgenError when what was kept has drifted from the truth."""
        values = self._values()
        for _ in range(self.moves_a_sweep):
            values = self._move(values)
        if self.warming:
            self.adaptation.end_sweep(self.followed.variance(values))
        self._count("warm_up" if self.warming else "sampling")
        self.sweeps += 1
        if self.sweeps % self.settings.full_pass_every == 0:
            self._pass_in_full()
        beyond = self.sweeps - self.settings.warm_up
        if beyond > 0 and beyond % self.settings.stride == 0:
            self._take()

    def _move(self, values: Tensor) -> Tensor:
        """One move of all walkers, and the followed variables after it."""
        often = torch.as_tensor(self.adaptation.probabilities)
        index = int(torch.multinomial(often, 1, generator=self.random))
        move, width = self.moves[index], float(self.adaptation.widths[index])
        latents = proposed(self.walkers.latents, move, width, self.circular, generator=self.random)
        new = self.target.changed(latents, self.walkers, move.first)
        yes = accepted(new.log_w - self.walkers.log_w, generator=self.random)
        if move.kind == "global":
            self.taken.draws.append(new.log_w.cpu().numpy())
        self.walkers = self.target.chosen(yes, new, self.walkers)
        after = self._values()
        if self.warming:
            self.adaptation.record(index, Followed.change(values, after), float(yes.double().mean()))
        else:
            self.acceptance[move.kind] += np.array([int(yes.sum()), len(yes)])
        return after

    def _values(self) -> Tensor:
        return self.followed.of(self.walkers.coordinates, self.walkers.u)

    def _take(self) -> None:
        self.taken.positions.append(self.walkers.positions.cpu().numpy().astype(np.float32))
        self.taken.u.append(self.walkers.u.cpu().numpy())
        self.taken.log_w.append(self.walkers.log_w.cpu().numpy())

    def _pass_in_full(self) -> None:
        fresh = self.target.whole(self.walkers.latents)
        drift = float((fresh.log_w - self.walkers.log_w).abs().max())
        self._count("warm_up" if self.warming else "sampling")
        if not drift <= self.most_drift:
            raise BoltzgenError(
                f"Group {self.group}: after {self.sweeps} sweeps ln w as it was kept differs by {drift:.3g} from "
                f"that of a full pass, where {self.most_drift:g} is allowed; the flow's partial passes are "
                "wrong, or its network is not steady here: use float64."
            )
        self.largest_drift = max(self.largest_drift, drift)
        self.walkers = fresh

    def _count(self, stage: str) -> None:
        self.energies[stage] += int(self.target.count().sum())

    def _no_start(self, number: int) -> str:
        lost = self.target.energies_not_finite
        why = f"{lost} of them have no finite energy" if lost else "all lie outside the domain"
        return (
            f"Group {self.group}: none of {number} draws of the flow can be started from ({why}); give a larger "
            "`pilot`, or a flow that was trained on this molecule."
        )


def open_rows(target: Target) -> list[int]:
    """The circular coordinates that turn an open torsion of a molecule; without any, all circular ones."""
    circular = np.flatnonzero(target.features.circular.cpu().numpy()).tolist()
    if not isinstance(target.coordinates, InternalCoordinates):
        return circular
    turned = target.coordinates.graph.torsions(Subset(frozenset({"open"})))
    ends = {frozenset((one.atoms[1], one.atoms[2])) for one in turned}
    axes = target.coordinates.table.atoms[:, 1:3].tolist()
    return [row for row in circular if frozenset(axes[row]) in ends] or circular


def stream_seed(seed: int, group: int) -> int:
    """The seed of the random numbers of one group."""
    return int(np.random.SeedSequence([seed, group]).generate_state(1, np.uint64)[0] >> 1)
