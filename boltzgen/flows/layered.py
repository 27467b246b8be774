"""What coupling flows share, whatever writes their splines: the fixed halves and the walk through the layers.

Inside the layers rows are the last dimension: whitened linear coordinates (L, b), angles (C, b).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from boltzgen.flows.grouped import Group, GroupedFlow
from boltzgen.flows.token_encoder import TokenEncoder
from boltzgen.flows.transforms import affine_spline, circular_spline


@dataclass(frozen=True)
class CouplingHalf:
    """Columns that one layer transforms and columns that drive it, among linear and circular ones."""

    linear: Tensor
    linear_driver: Tensor
    circular: Tensor
    circular_driver: Tensor


@dataclass(frozen=True)
class LayeredMolecule:
    """What every layer needs of one molecule, and the temperature input (b, 2) of its rows."""

    temperature: Tensor
    layers: tuple[Any, ...]


class CouplingLayer(nn.Module, ABC):
    """One coupling layer. A subclass says which splines the driving half gives the other."""

    @abstractmethod
    def spline_parameters(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: Any
    ) -> tuple[Tensor, Tensor]:
        """Parameters (per column, columns, b) of the linear and the circular columns to be transformed."""

    def forward(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: Any, *, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both sorts of coordinates after the layer, log_det (b,). `weights.half` is the layer's half."""
        half: CouplingHalf = weights.half
        for_linear, for_circular = self.spline_parameters(linear, circular, temperature, weights)
        log_det = torch.zeros(linear.shape[1], dtype=linear.dtype, device=linear.device)
        if len(half.linear):
            values, change = affine_spline(linear.index_select(0, half.linear), for_linear, inverse=inverse)
            linear = linear.index_copy(0, half.linear, values)
            log_det = log_det + change.sum(dim=0)
        if len(half.circular):
            angles = circular.index_select(0, half.circular)
            values, change = circular_spline(angles, for_circular, inverse=inverse)
            circular = circular.index_copy(0, half.circular, values)
            log_det = log_det + change.sum(dim=0)
        return linear, circular, log_det


class LayeredFlow(GroupedFlow):
    """A stack of coupling layers; ``embed_molecule`` of a subclass returns a `LayeredMolecule`."""

    def __init__(self, encoder: TokenEncoder, layers: Iterable[CouplingLayer]) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = nn.ModuleList(layers)

    def encode_group(self, coordinates: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        molecule: LayeredMolecule = group.weights
        linear, circular, log_det = group.standardiser.encode(coordinates)
        linear, circular = linear.T.contiguous(), circular.T.contiguous()
        for layer, weights in zip(self.layers, molecule.layers, strict=True):
            linear, circular, change = layer(linear, circular, molecule.temperature, weights, inverse=False)
            log_det = log_det + change
        return group.standardiser.join(linear.T, circular.T), log_det

    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        molecule: LayeredMolecule = group.weights
        standardiser = group.standardiser
        own = latents.T.contiguous()
        linear, circular = own[standardiser.linear], own[standardiser.circular]
        log_det = torch.zeros(len(latents), dtype=latents.dtype, device=latents.device)
        backwards = zip(reversed(cast("Any", self.layers)), reversed(molecule.layers), strict=True)
        for layer, weights in backwards:
            linear, circular, change = layer(linear, circular, molecule.temperature, weights, inverse=True)
            log_det = log_det + change
        values, change = standardiser.decode(linear.T, circular.T)
        return values, log_det + change


def halves(n_linear: int, n_circular: int, layer: int, seed: int) -> CouplingHalf:
    """The fixed halves of layer number `layer`: a random split, and its complement in the next layer."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + layer // 2)
    linear, circular = (torch.randperm(n, generator=generator) for n in (n_linear, n_circular))
    first_linear, second_linear = (
        linear[: (n_linear + 1) // 2].sort()[0],
        linear[(n_linear + 1) // 2 :].sort()[0],
    )
    cut = n_circular // 2
    first_circular, second_circular = circular[:cut].sort()[0], circular[cut:].sort()[0]
    if layer % 2:
        return CouplingHalf(second_linear, first_linear, second_circular, first_circular)
    return CouplingHalf(first_linear, second_linear, first_circular, second_circular)
