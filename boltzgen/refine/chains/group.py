"""One group of walkers: its pilot, its warm-up, its samples, and how it goes on after it was ended.

A group talks to nobody: its random numbers, starts, shares and widths are its own. At full passes all of its
state is a function of the coordinates, so that a group that is put back to one goes on to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.errors import BoltzgenError
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.chains.adaptation import Adaptation, Followed
from boltzgen.refine.chains.ladder import Ladder, first_exponents
from boltzgen.refine.chains.langevin import langevin_steps
from boltzgen.refine.chains.moves import accepted, draw_base, moves_of, proposed
from boltzgen.refine.chains.ring_turns import RING, turned_over
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.taken import State, Taken
from boltzgen.refine.chains.trial import PAYS_BEYOND, LadderTrial, spread_of_draws
from boltzgen.refine.chains.walkers import ChainTarget, Walkers, cut_shares
from boltzgen.refine.latent import LatentTarget
from boltzgen.refine.moves import LARGEST_STEP
from boltzgen.streams import CHAINS, stream

#: Largest difference of a cached and a full pass in ln w, of a network in float64 and in float32.
LARGEST_DRIFT = {torch.float64: 1e-6, torch.float32: 0.02}

#: Sweeps of the warm-up between two spacings of the rungs.
RESPACED_EVERY = 5

#: Energies are counted under these names.
STAGES = ("pilot", "warm_up", "sampling", "rungs")


class Group:
    """Group number `group` of chains at `temperature` (K); `begin` it, then `sweep` it until it is `done`.

    steps: kept states of each walker. rings: those of the molecule, each walker tries one a sweep.
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
        rings: RingMoves | None = None,
    ) -> None:
        self.generator, self.temperature = generator, temperature
        self.settings, self.group, self.steps = settings, group, steps
        self.circular = generator.target.features.circular
        self.followed = Followed(generator.target)
        self.put_on(Ladder(settings.walkers_a_group, np.ones(1)))
        can_redraw = partial(self.target.flow.can_redraw, self.target.embedding)
        self.moves = moves_of(
            generator.target, langevin=settings.ladder != "temperatures", can_redraw=can_redraw
        )
        self.moves_a_sweep = self.followed.moves_a_sweep
        self.adaptation = Adaptation(self.moves, self.followed.variables, self.moves_a_sweep)
        self.rings = rings or None
        self.kinds = (*self.adaptation.kinds, *([] if self.rings is None else [RING]))
        self.trial = LadderTrial(settings.warm_up if settings.ladder == "auto" else 0)
        self.hot_random = stream(seed, CHAINS, group, 1)
        self.sloping = torch.tensor([move.kind == "langevin" for move in self.moves])
        self.whole_draw = next(number for number, move in enumerate(self.moves) if move.kind == "global")
        self.random = stream(seed, CHAINS, group)
        self.taken, self.sweeps, self.largest_drift = Taken(), 0, 0.0
        self.energies = dict.fromkeys(STAGES, 0)
        self.acceptance = {kind: np.zeros(2, dtype=np.int64) for kind in self.kinds}
        self.ever_accepted = 0
        precision = next((one.dtype for one in generator.flow.parameters()), torch.float64)
        self.most_drift = LARGEST_DRIFT.get(precision, LARGEST_DRIFT[torch.float32])
        self.walkers: Walkers
        self.adaptation.offer(self._offered())

    def put_on(self, ladder: Ladder) -> None:
        """Walkers for every rung of `ladder` from now on."""
        self.ladder = ladder
        self.target = ChainTarget(self.generator, self.temperature * ladder.heat_of_rows)
        self.sloped = LatentTarget(self.generator, self.temperature, rows=ladder.rows)

    def _offered(self) -> np.ndarray:
        """Which moves are made. In place of others where they can, but not on rungs of q^(1-b) p^b.

        There the density of the whole flow is needed after each move, which is a whole pass. Where energies
        are what costs, moves in place save nothing: both are made, and what each changes decides.
        """
        placed = {(move.rows, move.drifts) for move in self.moves if move.in_place}
        if self.ladder.kind == "tempered":
            return np.array([not move.in_place for move in self.moves])
        if self.generator.target.potential.slow:
            return np.ones(len(self.moves), dtype=bool)
        return np.array(
            [bool(move.in_place) or (move.rows, move.drifts) not in placed for move in self.moves]
        )

    @property
    def sweeps_in_all(self) -> int:
        return self.settings.sweeps_of(self.steps)

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
        self._count("pilot")
        self.taken.draws.append(log_w.cpu().numpy())
        if not bool(torch.isfinite(log_w).any()):
            raise BoltzgenError(self._no_start(len(log_w)))
        start = int(torch.multinomial(cut_shares(log_w).cpu(), 1, generator=self.random))
        self.start_at(torch.cat(latents)[start].repeat(self.target.rows, 1))
        self._count("warm_up")

    def start_at(self, latents: Tensor) -> None:
        """All walkers at `latents` (rows, D)."""
        self.walkers = self.target.whole(latents)

    def sweep(self) -> None:
        """One sweep of all walkers; BoltzgenError when nothing moves, or what was kept is not the truth.

        Moves in place come last, so that latents are found anew once a sweep, if they are needed.
        """
        if self.ladder.rungs > 1:
            self.move(self.whole_draw)
            self._exchange()
        often = torch.as_tensor(self.adaptation.probabilities)
        if self.ladder.by_temperature:  # a slope is known at the temperature of the target alone
            often = often.masked_fill(self.sloping, 0.0)
        chosen = torch.multinomial(often, self.moves_a_sweep, replacement=True, generator=self.random)
        for index in sorted(chosen.tolist(), key=lambda index: bool(self.moves[index].in_place)):
            self.move(index)
        if self.rings is not None:
            self._turn(self.rings)
        stage = "warm_up" if self.warming else "sampling"
        if self.warming:
            self._adapt()
        self._count(stage)
        self.sweeps += 1
        if self.sweeps % self.settings.full_pass_every == 0:
            self._pass_in_full()
            self._count(stage)
        if self.sweeps == self.settings.warm_up and not self.ever_accepted:
            raise BoltzgenError(self._nothing_moves())
        beyond = self.sweeps - self.settings.warm_up
        if beyond > 0 and beyond % self.settings.stride == 0:
            self._take()

    def move(self, index: int) -> None:
        """Move number `index` of all walkers."""
        move, width = self.moves[index], float(self.adaptation.widths[index])
        at_target = self.ladder.at_target.to(self.walkers.u.device)
        before = self._values()[at_target] if self.warming else None
        rate: float | None = None
        if move.in_place:
            propose = partial(proposed, move=move, width=width, circular=self.circular, generator=self.random)
            new, ratio = self.target.placed_anew(self.walkers, move.in_place, propose)
            yes = accepted(ratio, generator=self.random)
        elif move.kind == "langevin":
            new, rate = self._langevin(width)
            yes = (new.latents != self.walkers.latents).any(dim=1)
        else:
            self.encode()
            latents = proposed(self.walkers.latents, move, width, self.circular, generator=self.random)
            new = self.target.changed(latents, self.walkers, move.first)
            exponent = self.ladder.exponent.to(new.log_w)
            yes = accepted(exponent * (new.log_w - self.walkers.log_w), generator=self.random)
        if move.kind == "global":
            drawn = new.log_w[at_target] if self.ladder.by_temperature else new.log_w
            self.taken.draws.append(drawn.cpu().numpy())
        self.walkers = self.target.chosen(yes, new, self.walkers)
        self.ever_accepted += int(yes.sum())
        if before is not None:
            square = self.followed.square(before, self._values()[at_target])
            rate = float(yes[at_target].double().mean()) if rate is None else rate
            self.adaptation.record(index, np.asarray(square.cpu()), rate)
        else:
            self.acceptance[move.kind] += np.array([int(yes[at_target].sum()), len(at_target)])

    def _turn(self, rings: RingMoves) -> None:
        """A ring of each walker is turned over."""
        if self.ladder.kind == "tempered":
            self.encode()
        exponent = self.ladder.exponent.to(self.walkers.u)
        new, ratio = turned_over(self.target, self.walkers, rings, exponent, generator=self.random)
        yes = accepted(ratio, generator=self.random)
        self.walkers = self.target.chosen(yes, new, self.walkers)
        self.ever_accepted += int(yes.sum())
        if not self.warming:
            taken = yes[self.ladder.at_target.to(yes.device)]
            self.acceptance[RING] += np.array([int(taken.sum()), len(taken)])

    def _langevin(self, width: float) -> tuple[Walkers, float]:
        """Where steps of `width` lead, and the mean acceptance of a step."""
        self.encode()
        before, step = self.sloped.energy_evaluations, width * LARGEST_STEP
        exponent = self.ladder.exponent.to(self.walkers.log_w)
        latents, rate = langevin_steps(
            self.sloped, self.walkers.latents, exponent, step, generator=self.random
        )
        self.target.evaluated += (self.sloped.energy_evaluations - before) // len(latents)
        return self.target.whole(latents), rate

    def encode(self) -> None:
        """After moves in place: find the latents and densities of the walkers."""
        self.walkers = self.target.encoded_anew(self.walkers)

    def _exchange(self) -> None:
        """Neighbouring rungs exchange their walkers; temperatures exchange latents, and conformations."""
        self.encode()
        if not self.ladder.by_temperature:
            self.ladder.exchange(self.walkers.log_w, generator=self.random)
            return
        heat = self.ladder.heat_of_rows.to(self.walkers.u)
        for rows in self._partners():
            new = self.target.whole(self.walkers.latents[rows])
            self._offer(rows, new, new.log_w - self.walkers.log_w)
        for rows in self._partners():
            known = self.walkers.u[rows] * heat[rows] / heat
            new = self.target.at(self.walkers.coordinates[rows], known)
            gain = torch.where(torch.isfinite(new.log_w), self.walkers.u - new.u, -torch.inf)
            self._offer(rows, new, gain)

    def _partners(self) -> Iterator[Tensor]:
        """(rows,) long, whom each row may change with, itself where none: even and odd pairs of rungs."""
        for pairs in self.ladder.pairs(generator=self.random):
            partner = np.arange(self.ladder.rungs)
            for lower in pairs:
                partner[[lower, lower + 1]] = lower + 1, lower
            yield self.ladder.row_of()[:, partner].flatten().to(self.walkers.log_w.device)

    def _offer(self, rows: Tensor, new: Walkers, gain: Tensor) -> None:
        """Put each row at `new`, which its partner in `rows` gave: both or none, by the sum of `gain`."""
        own = torch.arange(len(rows), device=rows.device)
        yes = accepted(gain + gain[rows], generator=self.random)[torch.minimum(rows, own)]
        self.walkers = self.target.chosen(yes & (rows != own), new, self.walkers)

    def _values(self) -> Tensor:
        return self.followed.of(self.walkers)

    def _adapt(self) -> None:
        """After a sweep of the warm-up: shares of moves, and rungs where they pay."""
        at_target = self.ladder.at_target.to(self.walkers.u.device)
        self.adaptation.end_sweep(np.asarray(self._values()[at_target].cpu()))
        asked, done = self.settings.ladder, self.sweeps + 1
        if self.ladder.kind == "tempered" and self.sweeps % RESPACED_EVERY == 0:
            self.encode()
            self.ladder.respaced(self.walkers.log_w, np.concatenate(self.taken.draws))
        if asked in ("tempered", "temperatures") and done == self.settings.warm_up // 2:
            self._climb(asked)
        elif self.trial.due(done):
            values = np.asarray(self.followed.turning(self.walkers.coordinates[at_target]).cpu())
            chosen = self.trial.next(values, self.ladder.exponents, self._may_be_slow)
            if chosen is not None:
                self._climb(chosen)

    def _may_be_slow(self) -> bool:
        """Whether walkers without a ladder may be: see `boltzgen.refine.chains.trial`."""
        if self.adaptation.slowest() > PAYS_BEYOND:
            return True
        hot, number = self.settings.hottest * self.temperature, self.settings.pilot
        return self.trial.slow_by(
            spread_of_draws(self.generator, self.followed, hot, number, self.hot_random)
        )

    def _climb(self, kind: str) -> None:
        """Put walkers on the rungs of a ladder of this kind, all of a slot where its walker is."""
        self.encode()
        coordinates = self.walkers.coordinates[self.ladder.at_target.to(self.walkers.u.device)]
        self._count("warm_up")
        self.put_on(self.ladder_of(kind))
        self.adaptation.offer(self._offered())
        self.walkers = self.target.at(coordinates.repeat_interleave(self.ladder.rungs, dim=0))

    def ladder_of(self, kind: str) -> Ladder:
        """A ladder of this kind for the walkers as they are; a tempered one that was tried as it was then."""
        slots = self.settings.walkers_a_group
        if kind == "temperatures":
            return Ladder.of_temperatures(slots, self.settings.hottest, self.settings.rungs)
        if kind == "none":
            return Ladder(slots, np.ones(1))
        if len(self.trial.exponents):
            return Ladder(slots, self.trial.exponents)
        top = self.ladder.at_target.to(self.walkers.log_w.device)
        return Ladder(
            slots, first_exponents(np.concatenate(self.taken.draws), self.walkers.log_w[top].cpu().numpy())
        )

    def _take(self) -> None:
        rows = self.ladder.row_of().to(self.walkers.u.device)
        top = rows[:, -1]
        self.taken.positions.append(self.walkers.positions[top].cpu().numpy().astype(np.float32))
        self.taken.u.append(self.walkers.u[top].cpu().numpy())
        full = self.sweeps % self.settings.full_pass_every == 0
        if self.walkers.is_encoded or self.ladder.rungs > 1 or full or self.done:
            self.encode()
            self.taken.log_w.append(self.walkers.log_w[rows].cpu().numpy())

    def _pass_in_full(self) -> None:
        self.encode()
        fresh = self.target.at(self.walkers.coordinates)
        # where both passes say -inf they agree
        apart = (fresh.log_w - self.walkers.log_w).abs()
        drift = float(apart.masked_fill(fresh.log_w == self.walkers.log_w, 0.0).max())
        if not drift <= self.most_drift:
            raise BoltzgenError(
                f"Group {self.group}: after {self.sweeps} sweeps ln w as it was kept differs by {drift:.3g} "
                f"from that of a full pass, where {self.most_drift:g} is allowed; the flow's partial passes "
                "are wrong, or its network is not steady here: use float64."
            )
        self.largest_drift = max(self.largest_drift, drift)
        self.walkers = fresh

    def _count(self, stage: str) -> None:
        found, top = self.target.count(), self.ladder.at_target
        self.energies[stage] += int(found[top].sum())
        self.energies["rungs"] += int(found.sum() - found[top].sum())

    def _no_start(self, number: int) -> str:
        lost = self.target.energies_not_finite
        why = f"{lost} have no finite energy" if lost else "all lie outside the domain"
        return (
            f"Group {self.group}: none of {number} draws of the flow can be started from ({why}); use a flow "
            "that was trained on this molecule."
        )

    def _nothing_moves(self) -> str:
        lost = self.target.energies_not_finite
        why = f"; {lost} of the proposed states have no finite energy" if lost else ""
        return (
            f"Group {self.group}: no walker accepted a move in {self.sweeps} sweeps{why}; use a flow that "
            "was trained on this molecule, or is nearer to it in temperature."
        )

    def state(self) -> State:
        """Everything that `restore` needs, right after a full pass or the last sweep."""
        self.encode()
        taken = self.taken
        return {
            "sweeps": np.array(self.sweeps),
            "coordinates": self.walkers.coordinates.cpu().numpy(),
            "exponents": self.ladder.exponents,
            "heat": self.ladder.heat,
            "rung": self.ladder.rung.numpy().copy(),
            "random": self.random.get_state().numpy().copy(),
            "energies": np.array([self.energies[stage] for stage in STAGES]),
            "acceptance": np.stack([self.acceptance[kind] for kind in self.kinds]),
            "counts": np.array([self.ever_accepted, self.target.energies_not_finite]),
            "largest_drift": np.array(self.largest_drift),
            "positions": list(taken.positions),
            "u": list(taken.u),
            "log_w": list(taken.log_w),
            "draws": list(taken.draws),
            **{f"adaptation_{name}": values for name, values in self.adaptation.arrays().items()},
            **{f"trial_{name}": values for name, values in self.trial.arrays().items()},
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """The group as it was when `state` gave `arrays`."""
        self.put_on(Ladder(self.settings.walkers_a_group, arrays["exponents"], arrays["heat"]))
        self.adaptation.offer(self._offered())
        self.ladder.rung = torch.as_tensor(arrays["rung"].copy())
        self.walkers = self.target.at(torch.as_tensor(arrays["coordinates"]).to(self.target.device))
        self.target.count()
        self.random.set_state(torch.as_tensor(arrays["random"].copy()))
        self.sweeps, self.largest_drift = int(arrays["sweeps"]), float(arrays["largest_drift"])
        self.energies = dict(zip(STAGES, arrays["energies"].tolist(), strict=True))
        self.acceptance = dict(zip(self.kinds, arrays["acceptance"].copy(), strict=True))
        self.ever_accepted, self.target.energies_not_finite = arrays["counts"].tolist()
        self.taken = Taken(
            list(arrays["positions"]), list(arrays["u"]), list(arrays["log_w"]), [arrays["draws"]]
        )
        for part, name in ((self.adaptation, "adaptation_"), (self.trial, "trial_")):
            part.restore({key.removeprefix(name): arrays[key] for key in arrays if key.startswith(name)})
