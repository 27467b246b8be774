"""A coupling flow whose weights are written by the molecule.

Each layer splits the coordinates into two halves. One half, read through weights that the molecule's
tokens generate, drives a small network; its output, through weights that the other half's tokens generate,
gives a shift, a scale and a rational-quadratic spline for each coordinate of that other half (circular for
torsions). Generating weights costs once a molecule and step, not once a sample, so a conditioned flow runs
at the price of one written for a single molecule, in one pass each way.

Sources: Dinh et al., Real NVP (arXiv 1605.08803); Durkan et al. (arXiv 1906.04032); Ha et al.,
HyperNetworks (arXiv 1609.09106).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.flows.layered import CouplingHalf, CouplingLayer, LayeredFlow, LayeredMolecule, halves
from boltzgen.flows.splines import n_parameters
from boltzgen.flows.token_encoder import TokenEncoder
from boltzgen.flows.transforms import HARMONICS, WeightGenerator, temperature_input


@dataclass(frozen=True)
class _LayerWeights:
    """Weights that one molecule generated for one layer."""

    half: CouplingHalf
    enter: Tensor
    offset: Tensor
    leave: Tensor
    leave_offset: Tensor


class CouplingFlow(LayeredFlow):
    """Coupling layers of rational-quadratic splines with generated weights.

    Parameters
    ----------
    n_features: length of a token's feature vector.
    layers, hidden, depth, bins: coupling layers, width and depth of each layer's network, spline bins.
    embedding, encoder_blocks: width of the token embeddings and attention blocks that make them.
    mask_seed: seed of the fixed halves; part of the model, not of the run.
    """

    def __init__(
        self, n_features: int, *, layers: int = 8, hidden: int = 128, depth: int = 2, bins: int = 8,
        embedding: int = 64, encoder_blocks: int = 2, mask_seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            TokenEncoder(n_features, embedding, encoder_blocks),
            (_GeneratedLayer(embedding, hidden, depth, bins) for _ in range(layers)),
        )
        self.mask_seed = mask_seed

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> LayeredMolecule:
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        linear, circular = tokens[~molecule.circular], tokens[molecule.circular]
        weights = tuple(
            layer.generate(linear, circular, halves(len(linear), len(circular), number, self.mask_seed))
            for number, layer in enumerate(cast("Iterable[_GeneratedLayer]", self.layers))
        )
        return LayeredMolecule(temperature_input(temperature).to(tokens.dtype), weights)


class _GeneratedLayer(CouplingLayer):
    """Generators of the outer weights of one layer, and the shared inner network."""

    CIRCULAR_INPUTS = 2 * len(HARMONICS)

    def __init__(self, embedding: int, hidden: int, depth: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.per_linear = 2 + n_parameters(bins, circular=False)
        self.per_circular = 1 + n_parameters(bins, circular=True)
        self.enter_linear = WeightGenerator(embedding, (hidden,), std=1.0)
        self.enter_circular = WeightGenerator(embedding, (self.CIRCULAR_INPUTS, hidden), std=1.0)
        self.enter_molecule = WeightGenerator(embedding, (hidden,), std=0.1)
        self.temperature = nn.Linear(2, hidden)
        self.inner = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth - 1)])
        self.leave_linear = WeightGenerator(embedding, (hidden + 1, self.per_linear), std=1e-3)
        self.leave_circular = WeightGenerator(embedding, (hidden + 1, self.per_circular), std=1e-3)

    def generate(self, linear: Tensor, circular: Tensor, half: CouplingHalf) -> _LayerWeights:
        """Weights of this layer from the token embeddings (L, E) and (C, E) of a molecule."""
        drivers = max(1, len(half.linear_driver) + self.CIRCULAR_INPUTS * len(half.circular_driver))
        enter = torch.cat(
            [
                self.enter_linear(linear[half.linear_driver]),
                self.enter_circular(circular[half.circular_driver]).flatten(0, 1),
            ]
        ).T / math.sqrt(drivers)
        offset = self.enter_molecule(torch.cat([linear, circular]).mean(dim=0))
        leave_linear = self.leave_linear(linear[half.linear])
        leave_circular = self.leave_circular(circular[half.circular])
        leave = torch.cat([_flatten(leave_linear[:, :-1]), _flatten(leave_circular[:, :-1])])
        leave_offset = torch.cat([leave_linear[:, -1].T.reshape(-1), leave_circular[:, -1].T.reshape(-1)])
        return _LayerWeights(half, enter, offset, leave, leave_offset)

    def spline_parameters(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: _LayerWeights
    ) -> tuple[Tensor, Tensor]:
        half, dtype, rows = weights.half, weights.enter.dtype, linear.shape[1]
        angles = circular.index_select(0, half.circular_driver)
        waves = torch.stack([wave(n * angles) for n in HARMONICS for wave in (torch.cos, torch.sin)], dim=1)
        inputs = torch.cat([linear.index_select(0, half.linear_driver), waves.reshape(-1, rows)]).to(dtype)
        warmth = self.temperature.weight @ temperature.T
        offset = (weights.offset + self.temperature.bias)[:, None]
        hidden = functional.silu(torch.addmm(warmth + offset, weights.enter, inputs))
        for module in self.inner:
            inner = cast("nn.Linear", module)
            hidden = hidden + functional.silu(torch.addmm(inner.bias[:, None], inner.weight, hidden))
        outputs = torch.addmm(weights.leave_offset[:, None], weights.leave, hidden)
        n_linear, n_circular = len(half.linear), len(half.circular)
        for_linear, for_circular = outputs.split([n_linear * self.per_linear, n_circular * self.per_circular])
        return (
            for_linear.view(self.per_linear, n_linear, rows),
            for_circular.view(self.per_circular, n_circular, rows),
        )


def _flatten(weights: Tensor) -> Tensor:
    """(columns, hidden, per column) -> (per column * columns, hidden)."""
    return weights.permute(2, 0, 1).reshape(-1, weights.shape[1])
