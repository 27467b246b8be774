"""What flows with one set of weights a molecule share: rows in groups of one molecule, and the latents."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.flows.base import InvertibleFlow
from boltzgen.flows.standardise import Standardiser

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Group:
    """The rows of one molecule in a batch; `weights` is the flow's own business."""

    rows: Tensor
    standardiser: Standardiser
    weights: Any


@dataclass(frozen=True)
class GroupedEmbedding:
    """The groups of rows and the shape of the batch."""

    groups: tuple[Group, ...]
    n_rows: int
    dimension: int
    device: torch.device


class GroupedFlow(InvertibleFlow):
    """An invertible flow that treats the rows of each molecule together, whitened by its `Standardiser`.

    A subclass says what a molecule's weights are and how its rows are mapped.
    """

    @abstractmethod
    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> Any:
        """The weights for rows of `molecule` at `temperature` (b,) K."""

    @abstractmethod
    def encode_group(self, coordinates: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        """coordinates (b, d) float64 of one molecule -> latents (b, d), log_det (b,)."""

    @abstractmethod
    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        """latents (b, d) float64 of one molecule -> coordinates (b, d), log_det (b,)."""

    def embed(self, context: Context) -> GroupedEmbedding:
        groups = []
        for index, molecule in enumerate(context.molecules):
            rows = torch.nonzero(context.molecule == index)[:, 0]
            if len(rows):
                temperature = context.temperature[rows]
                weights = self.embed_molecule(molecule, temperature)
                groups.append(Group(rows, Standardiser(molecule, temperature), weights))
        return GroupedEmbedding(tuple(groups), context.rows, context.dimension, context.molecule.device)

    def encode(self, coordinates: Tensor, embedding: GroupedEmbedding) -> tuple[Tensor, Tensor]:
        return self._map(coordinates, embedding, self.encode_group)

    def decode(self, latents: Tensor, embedding: GroupedEmbedding) -> tuple[Tensor, Tensor]:
        return self._map(latents, embedding, self.decode_group)

    def _map(self, values: Tensor, embedding: GroupedEmbedding, function: Any) -> tuple[Tensor, Tensor]:
        values = values.to(torch.float64)
        results = [
            function(values[group.rows, : group.standardiser.dimension], group) for group in embedding.groups
        ]
        return tuple(gather(embedding, list(parts)) for parts in zip(*results, strict=True))  # type: ignore[return-value]

    def draw_latents(
        self, embedding: GroupedEmbedding, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        shape = (embedding.n_rows, embedding.dimension)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
        normal, uniform = normal.to(embedding.device), ((2 * uniform - 1) * math.pi).to(embedding.device)
        latents = torch.zeros(shape, dtype=torch.float64, device=embedding.device)
        for group in embedding.groups:
            for columns, source in (
                (group.standardiser.linear, normal),
                (group.standardiser.circular, uniform),
            ):
                index = (group.rows[:, None], columns[None, :])
                latents[index] = source[index]
        return latents, self.latent_log_prob(latents, embedding)

    def latent_log_prob(self, latents: Tensor, embedding: GroupedEmbedding) -> Tensor:
        values = []
        for group in embedding.groups:
            linear = latents[group.rows[:, None], group.standardiser.linear[None, :]].to(torch.float64)
            n_linear, n_circular = linear.shape[1], len(group.standardiser.circular)
            values.append(-0.5 * (linear**2).sum(dim=1) - (0.5 * n_linear + n_circular) * LOG_TWO_PI)
        return gather(embedding, values)


def gather(embedding: GroupedEmbedding, parts: list[Tensor]) -> Tensor:
    """The results of all groups in the order of the batch, padded with zeros on the right."""
    first = parts[0]
    shape = (embedding.n_rows,) if first.dim() == 1 else (embedding.n_rows, embedding.dimension)
    result = torch.zeros(shape, dtype=first.dtype, device=first.device)
    for group, part in zip(embedding.groups, parts, strict=True):
        if first.dim() == 2:
            part = functional.pad(part, (0, embedding.dimension - part.shape[1]))
        result = result.index_copy(0, group.rows, part)
    return result
