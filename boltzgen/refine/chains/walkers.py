"""Walkers of a flow: where they are, and what was computed there.

In the latent space of the flow the target is ``n(z) w(z)``, ``w = exp(-u) / q`` (`boltzgen.refine.latent`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.chains.moves import draw_base, moves_of


@dataclass(frozen=True)
class Walkers:
    """B walkers and all that was computed where they are.

    Attributes
    ----------
    latents, coordinates: (B, D). positions: (B, N, 3) nm; model systems (B, D).
    u, log_q: (B,) reduced energy and log density of the flow.
    log_w: (B,) ``-u - log_q``; -inf outside the domain, and where a number is not finite.
    volume: (B,) log|det d(positions)/d(coordinates)|.
    kept: what the flow keeps of its pass, its own business.
    is_encoded: whether latents, log_q and log_w are those of these coordinates; after moves in the
        coordinates they are not, until `ChainTarget.encoded_anew`.
    """

    latents: Tensor
    coordinates: Tensor
    positions: Tensor
    u: Tensor
    log_q: Tensor
    log_w: Tensor
    volume: Tensor
    kept: Any
    is_encoded: bool = True

    def __len__(self) -> int:
        return len(self.u)


class ChainTarget:
    """One molecule as walkers at `temperatures` (rows,) K see it; counts the energies that it computes.

    evaluated: (rows,) energies of each row since `count` was last asked.

    UnsupportedError when the flow has no latent space.
    """

    def __init__(self, generator: BoltzmannGenerator, temperatures: Tensor) -> None:
        self.flow, self.target = generator.latent_flow, generator.target
        self.temperatures, self.rows = temperatures.to(self.device), len(temperatures)
        with torch.no_grad():
            self.embedding = self.flow.embed(Context.of(self.target.features, self.temperatures))
        self._circular: list[bool] = self.target.features.circular.tolist()
        self.evaluated = torch.zeros(self.rows, dtype=torch.long)
        self.energies_not_finite = 0

    def count(self) -> Tensor:
        """(rows,) energies of each row since this was last asked."""
        found, self.evaluated = self.evaluated, torch.zeros_like(self.evaluated)
        return found

    @property
    def device(self) -> torch.device:
        return self.target.reference.device

    @torch.no_grad()
    def whole(self, latents: Tensor) -> Walkers:
        """Everything about `latents` (B, D), by a whole pass."""
        coordinates, change, kept = self.flow.decode_kept(latents, self.embedding)
        return self._walkers(latents, coordinates, change, kept)

    @torch.no_grad()
    def at(self, coordinates: Tensor, known: Tensor | None = None) -> Walkers:
        """Everything about `coordinates` (B, D), by a pass that encodes: they stay what they are.

        known: (B,) their reduced energies; without, they are computed. A pass that decodes their latents is
        no substitute: where the flow gives a coordinate next to no density, its inverse is steep, and single
        precision decides where the walker comes out (ARIP in float32: ln w off by 0.3).
        """
        positions, volume = self.target.coordinates.decode(coordinates)
        if known is None:
            usable = self.target.coordinates.inside(positions) & torch.isfinite(volume)
            known = self._energies(positions, usable, volume)
        return self.encoded_anew(_unencoded(coordinates, positions, known.to(volume), volume, None))

    @torch.no_grad()
    def placed(self, coordinates: Tensor, u: Tensor) -> Walkers:
        """Walkers at `coordinates` (B, D) of reduced energies `u` (B,), not encoded: no pass, no energy."""
        positions, volume = self.target.coordinates.decode(coordinates)
        kept = self.flow.place_kept(coordinates, self.embedding)
        return _unencoded(coordinates, positions, u, volume, kept)

    @torch.no_grad()
    def changed(self, latents: Tensor, old: Walkers, first: int) -> Walkers:
        """As `whole` where no latent before row `first` differs from that of `old`."""
        if first == 0:
            return self.whole(latents)
        coordinates, change, kept = self.flow.decode_changed(latents, self.embedding, old.kept, first)
        return self._walkers(latents, coordinates, change, kept)

    @torch.no_grad()
    def placed_anew(
        self, old: Walkers, rows: Sequence[int], propose: Callable[[Tensor], Tensor]
    ) -> tuple[Walkers, Tensor]:
        """Walkers with coordinates `rows` anew and all others as in `old`, and (B,) ln of what accepts them.

        propose: from latents (B, D), of which those of `rows` are meant, to others, reversibly under their
        base distribution n. With q_rows the density of `rows` that the flow has given those before them, and
        p the target in the coordinates, the ratio of Metropolis and Hastings is ``p' q_rows / (p q_rows')``,
        of which the steps of the latents leave ``p' n |dz/dx| / (p n' |dz'/dx'|)``: for any flow exact.
        """
        latents, backward, begun = self.flow.encode_rows(self.embedding, old.kept, rows)
        new = propose(latents)
        coordinates, forward, kept = self.flow.decode_rows(new, self.embedding, begun, rows)
        positions, volume = self.target.coordinates.decode(coordinates)
        linear = [row for row in rows if not self._circular[row]]
        base = -0.5 * (latents[:, linear] ** 2 - new[:, linear] ** 2).sum(dim=1)
        ratio = base + backward + forward + volume - old.volume
        usable = self.target.coordinates.inside(positions) & torch.isfinite(ratio)
        u = self._energies(positions, usable, volume)
        ratio = torch.where(usable & torch.isfinite(u), ratio + old.u - u, torch.full_like(u, -torch.inf))
        found = replace(
            old,
            coordinates=coordinates,
            positions=positions,
            u=u,
            volume=volume,
            kept=kept,
            is_encoded=False,
        )
        return found, ratio

    @torch.no_grad()
    def encoded_anew(self, walkers: Walkers) -> Walkers:
        """`walkers` with the latents and densities of their coordinates; no energy is computed."""
        if walkers.is_encoded:
            return walkers
        latents, change, kept = self.flow.encode_kept(walkers.coordinates, self.embedding)
        log_q = self.flow.latent_log_prob(latents, self.embedding) + change - walkers.volume
        log_w = torch.where(
            torch.isfinite(log_q) & torch.isfinite(walkers.u),
            -walkers.u - log_q,
            torch.full_like(log_q, -torch.inf),
        )
        return replace(walkers, latents=latents, log_q=log_q, log_w=log_w, kept=kept, is_encoded=True)

    def chosen(self, accepted: Tensor, new: Walkers, old: Walkers) -> Walkers:
        """Each row of `new` where `accepted` (B,), of `old` elsewhere: a rejected move repeats the state."""

        def choose(one: Tensor, other: Tensor) -> Tensor:
            return torch.where(accepted.reshape(-1, *[1] * (one.dim() - 1)), one, other)

        return Walkers(
            choose(new.latents, old.latents),
            choose(new.coordinates, old.coordinates),
            choose(new.positions, old.positions),
            choose(new.u, old.u),
            choose(new.log_q, old.log_q),
            choose(new.log_w, old.log_w),
            choose(new.volume, old.volume),
            self.flow.keep(accepted, new.kept, old.kept),
            new.is_encoded and old.is_encoded,
        )

    def _walkers(self, latents: Tensor, coordinates: Tensor, change: Tensor, kept: Any) -> Walkers:
        """Walkers where the flow put them, and their energies."""
        positions, log_det = self.target.coordinates.decode(coordinates)
        log_q = self.flow.latent_log_prob(latents, self.embedding) - change - log_det
        usable = self.target.coordinates.inside(positions) & torch.isfinite(log_q)
        u = self._energies(positions, usable, log_q)
        usable = usable & torch.isfinite(u)
        log_w = torch.where(usable, -u - log_q, torch.full_like(log_q, -torch.inf))
        return Walkers(latents, coordinates, positions, u, log_q, log_w, log_det, kept)

    def _energies(self, positions: Tensor, usable: Tensor, like: Tensor) -> Tensor:
        """(B,) reduced energies of the `usable` rows, +inf elsewhere."""
        u = torch.full_like(like, torch.inf)
        count = int(usable.sum())
        if count == len(u):
            u = self.target.reduced_energy(positions, self.temperatures).to(like)
        elif count:
            u[usable] = self.target.reduced_energy(positions[usable], self.temperatures[usable]).to(like)
        self.evaluated += usable.cpu()
        self.energies_not_finite += count - int(torch.isfinite(u[usable]).sum())
        return u


def _unencoded(coordinates: Tensor, positions: Tensor, u: Tensor, volume: Tensor, kept: Any) -> Walkers:
    """Walkers whose latents and densities are not known, by the names of `Walkers`."""
    unknown, nowhere = torch.full_like(u, torch.nan), torch.zeros_like(coordinates)
    return Walkers(nowhere, coordinates, positions, u, unknown, unknown, volume, kept, is_encoded=False)


def cut_shares(log_w: Tensor) -> Tensor:
    """(n,) shares by which draws of ln weight `log_w` (n,) are chosen to begin from: their weights, cut.

    No weight exceeds the sum of all over the root of n, so that not all begin at one lucky draw (truncated
    importance sampling: Ionides, J. Comput. Graph. Stat. 17, 295 (2008)). At least one must be finite.
    """
    most = torch.logsumexp(log_w, dim=0) - 0.5 * math.log(len(log_w))
    return torch.softmax(torch.minimum(log_w, most), dim=0)


def pass_of_every_move(generator: BoltzmannGenerator, temperature: float) -> None:
    """A pass of every kind that the moves of chains at `temperature` (K) make, of two rows; no energy."""
    chains = ChainTarget(generator, torch.full((2,), temperature, dtype=torch.float64))
    flow, embedding, target = chains.flow, chains.embedding, generator.target
    with torch.no_grad():
        latents = draw_base(2, target.features.circular, generator=torch.Generator().manual_seed(0))
        kept = flow.decode_kept(latents, embedding)[2]
        moves = moves_of(target, can_redraw=partial(flow.can_redraw, embedding))
        for rows in dict.fromkeys(move.in_place for move in moves if move.in_place):
            old, _, begun = flow.encode_rows(embedding, kept, rows)
            flow.decode_rows(old, embedding, begun, rows)
