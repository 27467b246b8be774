"""Learning from walkers that the flow moves: likelihood and log-dispersion of their states.

Where a flow is good in parts and bad as a whole, its weights say which few of its draws were lucky, and
learning from them loses states. Its moves of parts are accepted all the same, walkers go everywhere, and what
they see is what the flow learns; then it moves them better (`boltzgen.training.losses.walker_buffer`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.errors import InputError
from boltzgen.flows.base import InvertibleFlow
from boltzgen.generator import Target
from boltzgen.refine.chains.moves import SUFFIX, Move, moves_of
from boltzgen.training.losses.buffered import BufferedObjective
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Draw, Given, LossSettings, Shown, Turn
from boltzgen.training.losses.replay_buffer import Samples
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.losses.walker_buffer import SETTLING, WalkerBuffer, first_walkers, moved_walkers
from boltzgen.training.schedule import Ladder, Schedule, schedule_value

#: How often a kind of move is made, in shares; kinds that a molecule lacks leave theirs to the others.
SHARES = {
    "torsion": 2.0,
    "torsion pair": 2.0,
    "torsion run": 1.0,
    "fragment": 1.0,
    "side chain": 1.0,
    "residue": 1.0,
    "end": 0.5,
    "crank-nicolson": 1.0,
    "turn": 0.5,
    "global": 0.25,
}


class ChainsSettings(LossSettings):
    """Learning from walkers that the flow itself moves, exactly, whatever its weights are."""

    weight: Schedule = 1.0
    """Weight of this loss over the run."""
    batch_size: int = Field(default=256, ge=2, le=2**20)
    """States and proposals learned from a step, as many of each, all at one temperature."""
    walkers: int = Field(default=256, ge=2, le=2**20)
    """Walkers of each molecule at each temperature."""
    fresh: int = Field(default=32, ge=1, le=2**20)
    """Walkers moved at once, in turn."""
    every: int = Field(default=1, ge=1, le=10**6)
    """Steps from one such turn to the next: one of 256 walkers costs less than eight of 32."""
    moves: int = Field(default=4, ge=1, le=10_000)
    """Moves of each of them; each an energy evaluation."""
    first: int = Field(default=2048, ge=2, le=2**24)
    """Draws of which the first walkers are chosen by weight; as many evaluations."""
    anew: float = Field(default=0.03, ge=0, le=1)
    """Share of the walkers moved that begin anew from draws at a higher temperature, so that a lost state
    can return."""
    tries: int = Field(default=8, ge=1, le=10_000)
    """Draws for each of these, of which one is chosen by weight."""
    heating: float = Field(default=1.5, ge=1, le=100)
    """How many times as hot those draws are."""
    buffer: int = Field(default=8192, ge=2, le=2**24)
    """States kept at each temperature; the oldest give way."""
    temperatures: Ladder = [300.0]
    """Temperatures (K), one for each step."""
    dispersion: Schedule = 1.0
    """Log-dispersion of the same states: weight relative to the likelihood's."""
    knee: float = Field(default=3.0, gt=0, le=1e12)
    """Deviation (nats) from which the log-dispersion grows linearly."""

    def objective(self, name: str, given: Given) -> Chains:
        return Chains(name, self, given)

    def statistics(self, name: str) -> tuple[str, ...]:
        return (name, f"{name}_dispersion", f"{name}_acceptance")

    def shown(self, name: str) -> Shown:
        return Shown(f"{name.replace('_', ' ')} -log q", "nats/dof", change=True, a_degree=True)

    @property
    def evaluations_a_step(self) -> float:
        return (self.fresh * self.moves + self.turns_anew * self.begun_anew * self.tries) / self.every

    @property
    def passes_a_step(self) -> float:
        """Where walkers are, and each of their moves."""
        return (self.moves + 1) / self.every

    @property
    def begun_anew(self) -> int:
        """Walkers that begin anew in a turn in which any do."""
        return max(1, round(self.anew * self.fresh)) if self.anew > 0 else 0

    @property
    def turns_anew(self) -> float:
        """Share of the turns in which any do."""
        return min(1.0, self.anew * self.fresh)

    @property
    def evaluations_at_first(self) -> int:
        return (self.first + SETTLING * self.walkers * self.moves) * len(self.temperatures)

    def without_start(self) -> Self:
        return self.model_copy(update={"first": 2})

    @property
    def learned_temperatures(self) -> list[float]:
        return self.temperatures


class Chains(BufferedObjective[WalkerBuffer]):
    """Walkers of each target at each temperature (`buffers`, in this order)."""

    def __init__(self, name: str, settings: ChainsSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        if not isinstance(given.flow, InvertibleFlow):
            raise InputError(f"{name} needs a flow with a latent space; train on reweighted draws instead.")
        if settings.fresh > settings.walkers:
            raise InputError(
                f"{name}.fresh={settings.fresh} walkers a step are more than there are; lower it."
            )
        self.settings, self.stay = settings, settings.every
        self.buffers = [
            [WalkerBuffer(settings.buffer, settings.walkers) for _ in settings.temperatures]
            for _ in given.targets
        ]
        self.moves = [_by_share(self._moves_of(target)) for target in given.targets]

    @torch.no_grad()
    def _moves_of(self, target: Target) -> list[Move]:
        """Those of `SHARES`: in place where the flow can, which takes no whole pass."""
        flow = self.given.flow
        assert isinstance(flow, InvertibleFlow)
        embedding = flow.embed(Context.of(target.features, self.settings.temperatures[0], 1))
        found = moves_of(target, langevin=False, can_redraw=partial(flow.can_redraw, embedding))
        placed = {(move.rows, move.drifts) for move in found if move.in_place}
        return [move for move in found if move.in_place or (move.rows, move.drifts) not in placed]

    def draws(self, turn: Turn) -> list[Draw]:
        """All walkers move until they have settled; then `fresh` at once, in the first step of a stay."""
        settings, (place, rung) = self.settings, self.whose_turn(turn)
        buffer, kelvin = self.buffers[place][rung], settings.temperatures[rung]
        flow, target, random = self.given.flow, self.given.targets[place], turn.random(1)
        if not buffer.now:
            first = partial(first_walkers, flow, target, kelvin, settings.walkers, settings.first, random)
            return [Draw(buffer, first)]
        if not len(buffer):
            return [Draw(buffer, partial(self._moved, place, rung, settings.walkers, random))]
        if turn.step % settings.every:
            return []
        return [Draw(buffer, partial(self._moved, place, rung, settings.fresh, random))]

    def _moved(self, place: int, rung: int, count: int, random: torch.Generator) -> Samples:
        """The `count` walkers that have waited longest, moved; while they settle none of them begins anew."""
        settings, target = self.settings, self.given.targets[place]
        buffer, (moves, share) = self.buffers[place][rung], self.moves[place]
        kelvin = settings.temperatures[rung]
        walker = buffer.waiting_longest(count, generator=random)
        chosen = torch.multinomial(share, settings.moves, replacement=True, generator=random)
        begin = float(torch.rand(1, generator=random, dtype=torch.float64))
        settling = not len(buffer) and bool(torch.isfinite(buffer.now["energy"]).any())
        any_anew = not settling and begin < settings.turns_anew
        return moved_walkers(
            self.given.flow,
            target,
            kelvin,
            buffer,
            walker.to(target.reference.device),
            [moves[int(index)] for index in chosen],
            anew=settings.begun_anew if any_anew else 0,
            tries=settings.tries,
            hotter=settings.heating * kelvin,
            generator=random,
        )

    def loss(self, place: int, rung: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        """On `rows` states of the walkers of one target and temperature."""
        settings, buffer = self.settings, self.buffers[place][rung]
        target, kelvin = self.given.targets[place], settings.temperatures[rung]
        dispersion = schedule_value(settings.dispersion, progress)
        likely = rows if dispersion == 0 or not len(buffer.proposed) else -(-rows // 2)
        pairs = buffer.pairs(target, kelvin, likely, rows - likely, generator=generator)
        found = stored_pairs_loss(self.given.flow, pairs, self.name, dispersion, settings.knee, likely=likely)
        return replace(found, parts={**found.parts, f"{self.name}_acceptance": buffer.acceptance})


def _by_share(moves: list[Move]) -> tuple[list[Move], Tensor]:
    """The moves of `SHARES`, and how often each is made."""
    kinds = [move.kind.removesuffix(SUFFIX) for move in moves]
    kept = [(move, kind) for move, kind in zip(moves, kinds, strict=True) if kind in SHARES]
    count = Counter(kind for _, kind in kept)
    share = torch.tensor([SHARES[kind] / count[kind] for _, kind in kept], dtype=torch.float64)
    return [move for move, _ in kept], share
