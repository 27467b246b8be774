"""One flow asked at several temperatures, and its samples given the density of the mixture.

Where a flow is too narrow its samples are rare and their weights huge. The same flow asked at a higher
temperature is wider; a share of samples from there bounds the weights of all, ``p/q <= p/(share q_hot)``, for
the price of that share: a defensive mixture (Hesterberg, Technometrics 37, 185, 1995; all samples get the
density of the whole mixture: Veach & Guibas, SIGGRAPH 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Embedding, Flow


@dataclass(frozen=True)
class MixtureEmbedding:
    """The context, and what the flow made of it at each temperature."""

    context: Context
    parts: tuple[Embedding, ...]


class TemperatureMixture(Flow):
    """`inner` at each of `temperatures` (K) in equal shares, whatever temperature the context asks for.

    It has no latent space, so that it can be neither refined nor mapped.
    """

    def __init__(self, inner: Flow, temperatures: Sequence[float]) -> None:
        super().__init__()
        self.inner: Flow = inner
        self.temperatures: tuple[float, ...] = tuple(temperatures)

    def embed(self, context: Context) -> MixtureEmbedding:
        parts = tuple(self.inner.embed(_at(context, kelvin)) for kelvin in self.temperatures)
        return MixtureEmbedding(context, parts)

    def log_prob(self, coordinates: Tensor, embedding: MixtureEmbedding) -> Tensor:
        return self._mixed([self.inner.log_prob(coordinates, part) for part in embedding.parts])

    def sample(self, embedding: MixtureEmbedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if len(self.temperatures) == 1:
            return self.inner.sample(embedding.parts[0], generator=generator)
        context = embedding.context
        drawn_by = torch.randint(len(self.temperatures), (context.rows,), generator=generator)
        drawn_by = drawn_by.to(context.molecule.device)
        drawn: list[tuple[Tensor, Tensor, Tensor]] = []
        for number, kelvin in enumerate(self.temperatures):
            rows = torch.nonzero(drawn_by == number)[:, 0]
            own = replace(context, molecule=context.molecule[rows], temperature=context.temperature[rows])
            if len(rows):
                there = self.inner.embed(_at(own, kelvin))
                drawn.append((rows, *self.inner.sample(there, generator=generator)))
        order = torch.cat([rows for rows, _, _ in drawn]).argsort()
        coordinates = torch.cat([found for _, found, _ in drawn])[order]
        own_density = torch.cat([density for _, _, density in drawn])[order]
        densities = [self.inner.log_prob(coordinates, part) for part in embedding.parts]
        return coordinates, self._mixed([
            torch.where(drawn_by == number, own_density, density) for number, density in enumerate(densities)
        ])  # fmt: skip

    def _mixed(self, densities: list[Tensor]) -> Tensor:
        return torch.logsumexp(torch.stack(densities), dim=0) - math.log(len(densities))


def _at(context: Context, kelvin: float) -> Context:
    return replace(context, temperature=torch.full_like(context.temperature, kelvin))


def asked_at(flow: Flow, temperatures: Sequence[float] | None) -> Flow:
    """`flow` as it draws when it is asked at `temperatures` (K); as it is when there are none."""
    return TemperatureMixture(flow, temperatures) if temperatures else flow
