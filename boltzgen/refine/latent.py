"""The target as the latent space of a flow sees it.

A latent z, standard normal in the linear coordinates and uniform in the circular ones (density ``n(z)``),
becomes a conformation x(z) of density q(x). Seen from z, a density proportional to ``q(x) w(x)^beta`` with
``w = exp(-u) / q`` is

    n(z) w(x(z))^beta,

since ``q(x) |det dx/dz| = n(z)``. beta = 0 is the flow, 1 the target p, 2 the density p^2/q; a good flow has
nearly constant w, so that all of them are nearly the base distribution, whatever the molecule.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from boltzgen.flows.base import Embedding
from boltzgen.generator import BoltzmannGenerator


@dataclass(frozen=True)
class LatentState:
    """B points of the latent space and all that was computed there.

    Attributes
    ----------
    latents, coordinates: (B, D). positions: (B, N, 3) nm; model systems (B, D).
    log_base: (B,) ln n(z). log_q: (B,) log density of the flow at x. u: (B,) reduced energy.
    log_w: (B,) ``-u - log_q``; -inf outside the domain, and where a number is not finite.
    gradient: (B, D) of `log_w` with respect to the latents; zero where `log_w` is -inf.
    outside: (B,) long, index into the reasons of the coordinates; 0 inside the domain.
    """

    latents: Tensor
    coordinates: Tensor
    positions: Tensor
    log_base: Tensor
    log_q: Tensor
    u: Tensor
    log_w: Tensor
    gradient: Tensor
    outside: Tensor

    def __len__(self) -> int:
        return len(self.log_w)

    def __getitem__(self, rows: Tensor) -> LatentState:
        """The rows that an index or a mask selects."""
        return LatentState(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_rows(self, rows: Tensor, other: LatentState) -> LatentState:
        """A copy in which `rows` (index, in order) are those of `other`."""
        names = [field.name for field in fields(self)]
        return LatentState(*(getattr(self, n).index_copy(0, rows, getattr(other, n)) for n in names))

    @staticmethod
    def concatenate(parts: list[LatentState]) -> LatentState:
        return LatentState(
            *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(LatentState))
        )


class LatentTarget:
    """One molecule at one temperature behind an invertible flow; counts the energies that it computes.

    Parameters
    ----------
    generator: flow and molecule. temperature: K. rows: latents treated at once; default: what fits.

    UnsupportedError when the flow has no latent space.
    """

    def __init__(self, generator: BoltzmannGenerator, temperature: float, *, rows: int | None = None) -> None:
        self.generator, self.flow = generator, generator.latent_flow
        self.target, self.temperature = generator.target, temperature
        self.rows = rows or generator.target.batch_rows()
        self.circular = generator.target.features.circular
        self.energy_evaluations = 0
        self._embeddings: dict[int, Embedding] = {}

    def draw(self, number: int, *, generator: torch.Generator) -> LatentState:
        """`number` draws of the flow."""
        with torch.no_grad():
            latents, _ = self.flow.draw_latents(self._embedding(number), generator=generator)
        return self.evaluate(latents)

    def evaluate(self, latents: Tensor) -> LatentState:
        """Everything about `latents` (B, D), B energies with their gradients."""
        return LatentState.concatenate([self._evaluate(part) for part in latents.split(self.rows)])

    def _evaluate(self, latents: Tensor) -> LatentState:
        embedding = self._embedding(len(latents))
        with torch.enable_grad():
            z = latents.detach().requires_grad_()
            coordinates, positions, flow_change, change = self.generator.decode_in_steps(z, embedding)
            log_base = self.flow.latent_log_prob(z, embedding)
            log_q = log_base - flow_change - change
            u = self.target.reduced_energy(positions, self.temperature)
            log_w = -u - log_q
            (gradient,) = torch.autograd.grad(log_w.sum(), z)
        self.energy_evaluations += len(latents)
        outside = self.target.coordinates.domain(positions)
        usable = (outside == 0) & torch.isfinite(log_w)
        log_w = torch.where(usable, log_w, torch.full_like(log_w, -torch.inf))
        # a finite energy may lack a slope (atoms that coincide): such a row moves as if there were none
        sloped = usable & torch.isfinite(gradient).all(dim=1)
        gradient = torch.where(sloped[:, None], gradient, torch.zeros_like(gradient))
        found = (z, coordinates, positions, log_base, log_q, u, log_w, gradient, outside)
        return LatentState(*(tensor.detach() for tensor in found))

    def _embedding(self, rows: int) -> Embedding:
        """What depends on the molecule alone, for a batch of `rows`; only the sizes in use are kept."""
        if rows not in self._embeddings:
            if len(self._embeddings) > 8:
                self._embeddings.clear()
            with torch.no_grad():
                self._embeddings[rows] = self.generator.embed(self.temperature, rows)
        return self._embeddings[rows]
