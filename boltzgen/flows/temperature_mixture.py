"""One flow asked at several temperatures, and its samples given the density of the mixture.

Where a flow is too narrow its samples are rare and their weights huge. The same flow asked at a higher
temperature is wider; a share of samples from there bounds the weights of all, ``p/q <= p/(share q_hot)``, for
the price of that share: a defensive mixture (Hesterberg, Technometrics 37, 185, 1995; all samples get the
density of the whole mixture: Veach & Guibas, SIGGRAPH 1995).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow


class TemperatureMixture(Flow):
    """`inner` at each of `temperatures` (K) in equal shares, whatever temperature the context asks for.

    A temperature that is named twice has two shares. The mixture has no latent space, so that it can be
    neither refined nor mapped.
    """

    def __init__(self, inner: Flow, temperatures: Sequence[float]) -> None:
        super().__init__()
        self.inner: Flow = inner
        counts = Counter(temperatures)
        self.temperatures: tuple[float, ...] = tuple(counts)
        self.shares = tuple(count / len(temperatures) for count in counts.values())

    def embed(self, context: Context) -> Context:
        """The context itself: which rows meet the flow at which temperature is known once they are drawn."""
        return context

    def use_compiler(self, enabled: bool = True) -> bool:
        return self.inner.use_compiler(enabled)

    def log_prob(self, coordinates: Tensor, embedding: Context) -> Tensor:
        return self._mixed(
            [
                self.inner.log_prob(coordinates, self.inner.embed(_at(embedding, kelvin)))
                for kelvin in self.temperatures
            ]
        )

    def sample(self, embedding: Context, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if len(self.temperatures) == 1:
            return self.inner.sample(
                self.inner.embed(_at(embedding, self.temperatures[0])), generator=generator
            )
        drawn_by = torch.multinomial(
            torch.tensor(self.shares), embedding.rows, replacement=True, generator=generator
        ).to(embedding.molecule.device)
        parts = [torch.nonzero(drawn_by == n)[:, 0] for n in range(len(self.temperatures))]
        order = torch.cat(parts).argsort()
        draws = [
            self.inner.sample(self.inner.embed(_at(embedding, kelvin, rows)), generator=generator)
            for kelvin, rows in zip(self.temperatures, parts, strict=True)
            if len(rows)
        ]
        coordinates, own = (torch.cat(found)[order] for found in zip(*draws, strict=True))
        densities = []
        for number, kelvin in enumerate(self.temperatures):
            density, others = own, torch.nonzero(drawn_by != number)[:, 0]
            if len(others):
                there = self.inner.embed(_at(embedding, kelvin, others))
                density = own.index_copy(0, others, self.inner.log_prob(coordinates[others], there))
            densities.append(density)
        return coordinates, self._mixed(densities)

    def _mixed(self, densities: list[Tensor]) -> Tensor:
        return torch.logsumexp(
            torch.stack([d + math.log(s) for d, s in zip(densities, self.shares, strict=True)]), dim=0
        )


def _at(context: Context, kelvin: float, rows: Tensor | None = None) -> Context:
    """`rows` (index; all when not given) of `context` at `kelvin`."""
    molecule = context.molecule if rows is None else context.molecule[rows]
    return replace(
        context, molecule=molecule, temperature=context.temperature.new_full(molecule.shape, kelvin)
    )


def asked_at(flow: Flow, temperatures: Sequence[float] | None) -> Flow:
    """`flow` as it draws when it is asked at `temperatures` (K); as it is when there are none."""
    return TemperatureMixture(flow, temperatures) if temperatures else flow
