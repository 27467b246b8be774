"""Walkers that the flow moves while it learns from them, and their states of late.

A walker is a conformation. At its turn it is encoded by the flow as that is now, takes some Metropolis moves
in the latent space (`boltzgen.refine.chains.moves`), each exact for the target whatever the flow, and its
state is kept as one more sample of equal weight. So nothing rests on weights, which die with size; what the
walkers have lost cannot return by itself, though, and a constant share of them begins anew from draws at a
higher temperature.

Source: adaptive MCMC with flows: Gabrie, Rotskoff, Vanden-Eijnden, PNAS 119, e2109420119 (2022); learning
while moving there by whole draws, here by redraws of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.refine.chains.moves import Move, accepted, proposed
from boltzgen.refine.chains.walkers import ChainTarget, cut_shares
from boltzgen.training.losses.replay_buffer import ReplayBuffer, Samples, draw_samples
from boltzgen.training.pairs import Pairs

#: What is kept of a state: its density under the flow of that moment teaches nothing.
STATE = ("coordinates", "log_det", "energy")

#: Turns of a walker that began anew before its states are learned from.
SETTLING = 3

#: Width of drifts, in the latents' own units.
WIDTH = 0.25

#: A proposal whose weight is so many nats below that of its walker teaches nothing but that atoms clash.
HOPELESS = 15.0

#: Share of the former mean acceptance in the next.
MEMORY = 0.98


@dataclass(frozen=True, eq=False)
class Moved(Samples):
    """Walkers after their turn, as `Samples`; ``log_q`` is NaN, for moves in place leave it unknown.

    Attributes
    ----------
    walker: (B,) long, their numbers. anew: (B,) bool, those that began anew.
    acceptance: mean over the moves of this turn; NaN without any.
    proposed: what was proposed on the way, accepted or not, and is no hopeless clash; None without moves.
    """

    walker: Tensor
    anew: Tensor
    acceptance: float
    proposed: Samples | None = None


class WalkerBuffer(ReplayBuffer):
    """The last `capacity` states of `walkers` walkers of one molecule at one temperature."""

    def __init__(self, capacity: int, walkers: int) -> None:
        super().__init__(capacity, STATE)
        self.walkers = walkers
        self.now: dict[str, Tensor] = {}
        self.proposed = ReplayBuffer(capacity, STATE)
        self.turns, self.last = torch.zeros(2, walkers, dtype=torch.long)
        self.acceptance = float("nan")

    def add(self, samples: Samples) -> None:
        """Put `samples` in the walkers' places, and the settled ones among their states of late."""
        if not isinstance(samples, Moved):
            raise TypeError("a buffer of walkers takes walkers alone")
        if not self.now:
            self.now = {
                name: getattr(samples, name).new_zeros(self.walkers, *getattr(samples, name).shape[1:])
                for name in STATE
            }
        place = samples.walker.cpu()
        for name in STATE:
            self.now[name] = self.now[name].index_copy(0, samples.walker, getattr(samples, name))
        self.turns[place] = torch.where(samples.anew.cpu(), 0, self.turns[place] + 1)
        self.last[place] = int(self.last.max()) + 1
        settled = (self.turns[place] >= SETTLING).to(samples.energy.device)
        super().add(
            Samples(
                samples.coordinates[settled],
                samples.log_det[settled],
                samples.log_q[settled],
                samples.energy[settled],
                samples.evaluations,
            )
        )
        if samples.proposed is not None:
            self.proposed.add(samples.proposed)
        if samples.acceptance == samples.acceptance:
            former = self.acceptance if self.acceptance == self.acceptance else samples.acceptance
            self.acceptance = MEMORY * former + (1 - MEMORY) * samples.acceptance

    def waiting_longest(self, count: int, *, generator: torch.Generator) -> Tensor:
        """The `count` walkers whose last turn is longest ago; those of one turn in an order drawn anew."""
        order = torch.randperm(self.walkers, generator=generator)
        return order[self.last[order].argsort(stable=True)][:count]

    def pairs(
        self, target: Target, temperature: float, states: int, proposals: int, *, generator: torch.Generator
    ) -> Pairs:
        """First so many `states` of late, then `proposals`, accepted or not: their energies are paid for.

        Each is as likely as any other of its sort, and drawn with replacement.
        """
        kept = []
        for buffer, rows in ((self.kept, states), (self.proposed.kept, proposals)):
            if rows:
                chosen = torch.randint(len(buffer["energy"]), (rows,), generator=generator)
                kept.append({name: buffer[name][chosen.to(buffer[name].device)] for name in STATE})
        found = {name: torch.cat([part[name] for part in kept]) for name in STATE}
        return Pairs(
            found["coordinates"],
            Context.of(target.features, temperature, states + proposals),
            found["energy"] / temperature - found["log_det"],
        )

    def tensors(self) -> dict[str, Tensor]:
        walkers = {f"walker_{name}": value for name, value in self.now.items()}
        counts = {
            "turns": self.turns,
            "last": self.last,
            "acceptance": torch.tensor(self.acceptance, dtype=torch.float64),
        }
        proposed = {f"proposed_{name}": value for name, value in self.proposed.kept.items()}
        return {**self.kept, **walkers, **proposed, **counts} if self.now else {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        if tensors:
            self.kept = {name: tensors[name] for name in STATE if name in tensors}
            self.now = {name: tensors[f"walker_{name}"] for name in STATE}
            proposed = {name: tensors[f"proposed_{name}"] for name in STATE if f"proposed_{name}" in tensors}
            self.proposed.restore(proposed)
            self.turns, self.last = tensors["turns"].cpu(), tensors["last"].cpu()
            self.acceptance = float(tensors["acceptance"])


@torch.no_grad()
def first_walkers(
    flow: Flow, target: Target, temperature: float, walkers: int, draws: int, generator: torch.Generator
) -> Moved:
    """`walkers` of `draws` draws of `flow` at `temperature` (K), by their weights cut at the root of `draws`.

    Where fewer draws than walkers have a weight they stand several times, and part by their moves.
    """
    found = draw_samples(flow, target, temperature, draws, generator)
    log_w = found.log_det - found.log_q - found.energy / temperature
    log_w = torch.where(torch.isfinite(log_w), log_w, -torch.inf)
    share = cut_shares(log_w if bool(torch.isfinite(log_w).any()) else torch.zeros_like(log_w)).cpu()
    chosen = torch.multinomial(share, walkers, replacement=True, generator=generator).to(log_w.device)
    return Moved(
        found.coordinates[chosen],
        found.log_det[chosen],
        found.log_q[chosen],
        found.energy[chosen],
        evaluations=draws,
        walker=torch.arange(walkers, device=log_w.device),
        anew=torch.ones(walkers, dtype=torch.bool, device=log_w.device),
        acceptance=float("nan"),
    )


@torch.no_grad()
def moved_walkers(
    flow: Flow,
    target: Target,
    temperature: float,
    buffer: WalkerBuffer,
    walker: Tensor,
    moves: list[Move],
    *,
    anew: int,
    tries: int,
    hotter: float,
    generator: torch.Generator,
) -> Moved:
    """The walkers number `walker` (B,) after `moves`, the first `anew` of them begun anew before.

    tries: draws at `hotter` (K) for each that begins anew, of which one is chosen by weight. The moves cost
    B energies each. Those in place come last, and without others nothing is encoded. Walkers that the flow
    cannot encode stay.
    """
    generators = BoltzmannGenerator(flow, target)
    chains = ChainTarget(generators, torch.full((len(walker),), temperature, dtype=torch.float64))
    coordinates, energy = buffer.now["coordinates"][walker], buffer.now["energy"][walker]
    spent = 0
    if anew:
        fresh = draw_samples(flow, target, hotter, anew * tries, generator)
        log_w = (fresh.log_det - fresh.log_q - fresh.energy / temperature).nan_to_num(nan=-torch.inf)
        score = log_w - torch.log(-torch.log(_uniform(len(log_w), generator, log_w)))
        best = score.reshape(anew, tries).argmax(dim=1) + tries * torch.arange(anew, device=log_w.device)
        sound = torch.isfinite(fresh.energy[best])
        coordinates[:anew] = torch.where(sound[:, None], fresh.coordinates[best], coordinates[:anew])
        energy[:anew] = torch.where(sound, fresh.energy[best], energy[:anew])
        spent += len(log_w)
    at = chains.placed(coordinates, energy / temperature)
    rates, parts = [], []
    for move in sorted(moves, key=lambda move: bool(move.in_place)):
        propose = partial(
            proposed, move=move, width=WIDTH, circular=target.features.circular, generator=generator
        )
        if move.in_place:
            new, log_ratio = chains.placed_anew(at, move.in_place, propose)
        else:
            at = chains.encoded_anew(at)
            new = chains.changed(propose(at.latents), at, move.first)
            log_ratio = new.log_w - at.log_w
        yes, hopeful = accepted(log_ratio, generator=generator), log_ratio > -HOPELESS
        parts.append([one[hopeful] for one in (new.coordinates, new.volume, temperature * new.u)])
        at = chains.chosen(yes, new, at)
        rates.append(float(yes.double().mean()))
    after = _samples(at.coordinates, at.volume, temperature * at.u)
    return Moved(
        after.coordinates,
        after.log_det,
        after.log_q,
        after.energy,
        evaluations=spent + len(moves) * len(walker),
        walker=walker,
        anew=torch.arange(len(walker), device=walker.device) < anew,
        acceptance=sum(rates) / len(rates) if rates else float("nan"),
        proposed=_samples(*map(torch.cat, zip(*parts, strict=True))) if parts else None,
    )


def _samples(coordinates: Tensor, log_det: Tensor, energy: Tensor) -> Samples:
    """Samples whose density is not known."""
    return Samples(coordinates, log_det, torch.full_like(log_det, torch.nan), energy, evaluations=0)


def _uniform(count: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64).clamp_min(1e-300).to(like)
