"""One flow asked at several temperatures, and its samples given the density of the mixture.

Where a flow is too narrow its samples are rare and their weights huge. The same flow asked at a higher
temperature is wider; a share of samples from there bounds the weights of all, ``p/q <= p/(share q_hot)``, for
the price of that share: a defensive mixture (Hesterberg, Technometrics 37, 185, 1995; all samples get the
density of the whole mixture: Veach & Guibas, SIGGRAPH 1995).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Embedding, Flow


class TemperatureMixture(Flow):
    """`inner` at each of `temperatures` (K) in equal shares, whatever temperature the context asks for.

    A temperature that is named twice has two shares. Each row draws its temperature, and all go
    through the flow together, each at its own. The mixture has no latent space, so that it can be neither
    refined nor mapped.
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
        first = torch.zeros_like(embedding.molecule)
        densities = [
            self.inner.log_prob(coordinates, self._at(embedding, first + number))
            for number in range(len(self.temperatures))
        ]
        return self._mixed(densities, first)

    def sample(self, embedding: Context, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        first = torch.zeros_like(embedding.molecule)
        if len(self.temperatures) > 1:
            drawn = torch.multinomial(
                torch.tensor(self.shares), embedding.rows, replacement=True, generator=generator
            )
            first = drawn.to(first.device)
        coordinates, density = self.inner.sample(self._at(embedding, first), generator=generator)
        others = [
            self.inner.log_prob(coordinates, self._at(embedding, first + step))
            for step in range(1, len(self.temperatures))
        ]
        return coordinates, self._mixed([density, *others], first)

    def _at(self, context: Context, numbers: Tensor) -> Embedding:
        """What the flow makes of `context`, each row at the temperature of its number (in a circle)."""
        kelvin = context.temperature.new_tensor(self.temperatures)
        return self.inner.embed(replace(context, temperature=kelvin[numbers % len(kelvin)]))

    def _mixed(self, densities: list[Tensor], first: Tensor) -> Tensor:
        """The log density of the mixture (B,) of those at the temperatures number `first`, the next, ..."""
        shares = densities[0].new_tensor(self.shares).log()
        parts = [own + shares[(first + step) % len(shares)] for step, own in enumerate(densities)]
        return torch.logsumexp(torch.stack(parts), dim=0)


def asked_at(flow: Flow, temperatures: Sequence[float] | None) -> Flow:
    """`flow` as it draws when it is asked at `temperatures` (K); as it is when there are none."""
    return TemperatureMixture(flow, temperatures) if temperatures else flow
