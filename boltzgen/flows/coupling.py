"""A coupling flow whose weights are written by the molecule.

Each layer splits the coordinates into two halves. One half, read through weights that the molecule's
tokens generate, drives a small network; its output, through weights that the other half's tokens generate,
gives a shift, a scale and a rational-quadratic spline for each coordinate of that other half (circular for
torsions). Generating weights costs once a molecule and step, not once a sample, so a conditioned flow runs
at the price of one written for a single molecule, in one pass each way. Inside the layers rows are the last
dimension: whitened linear coordinates (L, b), angles (C, b).

Sources: Dinh et al., Real NVP (arXiv 1605.08803); Durkan et al. (arXiv 1906.04032); Ha et al.,
HyperNetworks (arXiv 1609.09106).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import N_FEATURES
from boltzgen.flows.grouped import Group, GroupedFlow
from boltzgen.flows.settings import NetworkSettings
from boltzgen.flows.splines import n_parameters
from boltzgen.flows.token_encoder import TokenEncoder
from boltzgen.flows.transforms import (
    HARMONICS,
    WeightGenerator,
    affine_spline,
    circular_spline,
    temperature_input,
)


class CouplingSettings(NetworkSettings):
    """A flow of coupling layers."""

    kind: Literal["coupling"] = "coupling"
    """Which flow; see docs/flows.md."""
    layers: int = Field(default=8, ge=1, le=256)
    """Coupling layers."""
    mask_seed: int = Field(default=0, ge=0, lt=2**32)
    """Which coordinates each coupling layer transforms; part of the model, not of the run."""

    def build(self) -> CouplingFlow:
        return CouplingFlow(N_FEATURES, **self.model_dump(exclude={"kind"}))


@dataclass(frozen=True)
class _Half:
    """Columns that one layer transforms and columns that drive it, among linear and circular ones."""

    linear: Tensor
    linear_driver: Tensor
    circular: Tensor
    circular_driver: Tensor


@dataclass(frozen=True)
class _LayerWeights:
    """Weights that one molecule generated for one layer."""

    half: _Half
    input: Tensor
    offset: Tensor
    output: Tensor
    output_offset: Tensor


@dataclass(frozen=True)
class CoupledMolecule:
    """What every layer needs of one molecule, and the temperature input (b, 2) of its rows."""

    temperature: Tensor
    layers: tuple[_LayerWeights, ...]


class CouplingFlow(GroupedFlow):
    """Coupling layers of rational-quadratic splines with generated weights.

    Parameters
    ----------
    n_features: length of a token's feature vector.
    layers, hidden, depth, bins: coupling layers, width and depth of each layer's network, spline bins.
    embedding, encoder_blocks: width of the token embeddings and attention blocks that make them.
    mask_seed: seed of the fixed halves; part of the model, not of the run.
    """

    def __init__(
        self,
        n_features: int,
        *,
        layers: int = 8,
        hidden: int = 128,
        depth: int = 2,
        bins: int = 8,
        embedding: int = 64,
        encoder_blocks: int = 2,
        mask_seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = TokenEncoder(n_features, embedding, encoder_blocks)
        self.layers = nn.ModuleList([_Layer(embedding, hidden, depth, bins) for _ in range(layers)])
        self.mask_seed = mask_seed

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> CoupledMolecule:
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        linear, circular = tokens[~molecule.circular], tokens[molecule.circular]
        weights = tuple(
            layer.generate(linear, circular, _halves(len(linear), len(circular), number, self.mask_seed))
            for number, layer in enumerate(cast("Iterable[_Layer]", self.layers))
        )
        return CoupledMolecule(temperature_input(temperature).to(tokens.dtype), weights)

    def encode_group(self, coordinates: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        molecule: CoupledMolecule = group.weights
        linear, circular, log_det = group.standardiser.encode(coordinates)
        linear, circular = linear.T.contiguous(), circular.T.contiguous()
        for layer, weights in zip(self.layers, molecule.layers, strict=True):
            linear, circular, change = layer(linear, circular, molecule.temperature, weights, inverse=False)
            log_det = log_det + change
        return group.standardiser.join(linear.T, circular.T), log_det

    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        molecule: CoupledMolecule = group.weights
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


class _Layer(nn.Module):
    """Generators of the outer weights of one layer, and the shared inner network."""

    CIRCULAR_INPUTS = 2 * len(HARMONICS)

    def __init__(self, embedding: int, hidden: int, depth: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.per_linear = 2 + n_parameters(bins, circular=False)
        self.per_circular = 1 + n_parameters(bins, circular=True)
        self.input_linear = WeightGenerator(embedding, (hidden,), std=1.0)
        self.input_circular = WeightGenerator(embedding, (self.CIRCULAR_INPUTS, hidden), std=1.0)
        self.input_molecule = WeightGenerator(embedding, (hidden,), std=0.1)
        self.temperature = nn.Linear(2, hidden)
        self.inner = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth - 1)])
        self.output_linear = WeightGenerator(embedding, (hidden + 1, self.per_linear), std=1e-3)
        self.output_circular = WeightGenerator(embedding, (hidden + 1, self.per_circular), std=1e-3)

    def generate(self, linear: Tensor, circular: Tensor, half: _Half) -> _LayerWeights:
        """Weights of this layer from the token embeddings (L, E) and (C, E) of a molecule."""
        drivers = max(1, len(half.linear_driver) + self.CIRCULAR_INPUTS * len(half.circular_driver))
        inputs = torch.cat(
            [
                self.input_linear(linear[half.linear_driver]),
                self.input_circular(circular[half.circular_driver]).flatten(0, 1),
            ]
        ).T / math.sqrt(drivers)
        offset = self.input_molecule(torch.cat([linear, circular]).mean(dim=0))
        output_linear = self.output_linear(linear[half.linear])
        output_circular = self.output_circular(circular[half.circular])
        outputs = torch.cat([_flatten(output_linear[:, :-1]), _flatten(output_circular[:, :-1])])
        output_offset = torch.cat([output_linear[:, -1].T.reshape(-1), output_circular[:, -1].T.reshape(-1)])
        return _LayerWeights(half, inputs, offset, outputs, output_offset)

    def forward(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: _LayerWeights, *, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both sorts of coordinates after the layer, log_det (b,). `weights.half` is the layer's half."""
        half = weights.half
        for_linear, for_circular = self._spline_parameters(linear, circular, temperature, weights)
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

    def _spline_parameters(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: _LayerWeights
    ) -> tuple[Tensor, Tensor]:
        """Parameters (per column, columns, b) of the linear and the circular columns to be transformed."""
        half, dtype, rows = weights.half, weights.input.dtype, linear.shape[1]
        angles = circular.index_select(0, half.circular_driver)
        waves = torch.stack([wave(n * angles) for n in HARMONICS for wave in (torch.cos, torch.sin)], dim=1)
        inputs = torch.cat([linear.index_select(0, half.linear_driver), waves.reshape(-1, rows)]).to(dtype)
        warmth = self.temperature.weight @ temperature.T
        offset = (weights.offset + self.temperature.bias)[:, None]
        hidden = functional.silu(torch.addmm(warmth + offset, weights.input, inputs))
        for module in self.inner:
            inner = cast("nn.Linear", module)
            hidden = hidden + functional.silu(torch.addmm(inner.bias[:, None], inner.weight, hidden))
        outputs = torch.addmm(weights.output_offset[:, None], weights.output, hidden)
        n_linear, n_circular = len(half.linear), len(half.circular)
        for_linear, for_circular = outputs.split([n_linear * self.per_linear, n_circular * self.per_circular])
        return (
            for_linear.view(self.per_linear, n_linear, rows),
            for_circular.view(self.per_circular, n_circular, rows),
        )


def _halves(n_linear: int, n_circular: int, layer: int, seed: int) -> _Half:
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
        return _Half(second_linear, first_linear, second_circular, first_circular)
    return _Half(first_linear, second_linear, first_circular, second_circular)


def _flatten(weights: Tensor) -> Tensor:
    """(columns, hidden, per column) -> (per column * columns, hidden)."""
    return weights.permute(2, 0, 1).reshape(-1, weights.shape[1])
