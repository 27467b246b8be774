"""A coupling flow whose layers read the molecule by attention: one token a coordinate and sample.

Each layer splits the coordinates into two halves, as `boltzgen.flows.layered` says. The coordinates that
stay are tokens made of their embedding, their value and the temperature; those that are transformed query
them, and each receives the shift, scale and rational-quadratic spline of its own. No weight belongs to a
place in the molecule, and every sample pays for its own attention.

Sources: Vaswani et al. (arXiv 1706.03762), attention; Xiong et al. (arXiv 2002.04745), the normalisation
before each block; Durkan et al. (arXiv 1906.04032), splines in coupling layers.
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
from boltzgen.flows.token_encoder import MAX_GRAPH_DISTANCE, TokenEncoder
from boltzgen.flows.transforms import HARMONICS, temperature_input

HEADS = 4


@dataclass(frozen=True)
class _LayerTokens:
    """What one layer needs of a molecule: K tokens that drive, M that ask, W the width.

    offset: (K, W) a driving token without its value. linear_slope: (k, W), circular_slope: (K - k, waves, W)
    what its value adds. queries: (M, W). distance: (M, K) long, graph distances.
    """

    half: CouplingHalf
    offset: Tensor
    linear_slope: Tensor
    circular_slope: Tensor
    queries: Tensor
    distance: Tensor


class AttentionCouplingFlow(LayeredFlow):
    """Coupling layers of rational-quadratic splines, conditioned by attention.

    Parameters
    ----------
    n_features: length of a token's feature vector.
    layers, width, blocks, bins: coupling layers; width (a multiple of 4) and attention blocks of each; bins
        of each spline.
    embedding, encoder_blocks: width of the token embeddings and attention blocks that make them.
    mask_seed: seed of the fixed halves; part of the model, not of the run.
    """

    def __init__(
        self, n_features: int, *, layers: int = 8, width: int = 32, blocks: int = 1, bins: int = 8,
        embedding: int = 32, encoder_blocks: int = 2, mask_seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            TokenEncoder(n_features, embedding, encoder_blocks),
            (_AttentionLayer(embedding, width, blocks, bins) for _ in range(layers)),
        )
        self.mask_seed = mask_seed

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> LayeredMolecule:
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        linear, circular = (torch.nonzero(kind)[:, 0] for kind in (~molecule.circular, molecule.circular))
        near = molecule.graph_distance.clamp(max=MAX_GRAPH_DISTANCE)
        layers = []
        for number, layer in enumerate(cast("Iterable[_AttentionLayer]", self.layers)):
            half = halves(len(linear), len(circular), number, self.mask_seed)
            drivers = linear[half.linear_driver], circular[half.circular_driver]
            asking = torch.cat([linear[half.linear], circular[half.circular]])
            distance = near[asking][:, torch.cat(drivers)]
            layers.append(
                layer.tokens(half, tokens[drivers[0]], tokens[drivers[1]], tokens[asking], distance)
            )
        return LayeredMolecule(temperature_input(temperature).to(tokens.dtype), tuple(layers))


class _AttentionLayer(CouplingLayer):
    """One coupling layer: tokens of the half that stays, attention blocks of the other, its splines."""

    def __init__(self, embedding: int, width: int, blocks: int, bins: int) -> None:
        super().__init__()
        self.width = width
        self.per_linear = 2 + n_parameters(bins, circular=False)
        self.per_circular = 1 + n_parameters(bins, circular=True)
        self.offset, self.query = nn.Linear(embedding, width), nn.Linear(embedding, width)
        self.linear_slope = nn.Linear(embedding, width)
        self.circular_slope = nn.Linear(embedding, 2 * len(HARMONICS) * width)
        self.driver_temperature = nn.Linear(2, width, bias=False)
        self.query_temperature = nn.Linear(2, width, bias=False)
        self.keys_values = nn.Linear(width, blocks * 2 * width)
        self.blocks = nn.ModuleList([_CrossBlock(width) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.leave_linear, self.leave_circular = (
            nn.Linear(width, size) for size in (self.per_linear, self.per_circular)
        )
        for leave in (self.leave_linear, self.leave_circular):  # training starts near the identity
            nn.init.normal_(leave.weight, std=0.1 / width)
            nn.init.zeros_(leave.bias)

    def tokens(
        self, half: CouplingHalf, linear_driver: Tensor, circular_driver: Tensor, asking: Tensor,
        distance: Tensor,
    ) -> _LayerTokens:  # fmt: skip
        """The tokens of a molecule from the embeddings (k, E), (K - k, E) and (M, E) of its halves."""
        return _LayerTokens(
            half,
            self.offset(torch.cat([linear_driver, circular_driver])),
            self.linear_slope(linear_driver),
            self.circular_slope(circular_driver).unflatten(1, (-1, self.width)),
            self.query(asking),
            distance,
        )

    def spline_parameters(
        self, linear: Tensor, circular: Tensor, temperature: Tensor, weights: _LayerTokens
    ) -> tuple[Tensor, Tensor]:
        half = weights.half
        answers = self._attend(self._drivers(linear, circular, temperature, weights), temperature, weights)
        for_linear, for_circular = answers.split([len(half.linear), len(half.circular)], dim=1)
        return _rows_last(self.leave_linear, for_linear), _rows_last(self.leave_circular, for_circular)

    def _drivers(self, linear: Tensor, circular: Tensor, temperature: Tensor, tokens: _LayerTokens) -> Tensor:
        """(B, K, W): the coordinates that stay, with their values."""
        half, dtype = tokens.half, tokens.offset.dtype
        values = linear[half.linear_driver].T.to(dtype)
        angles = circular[half.circular_driver].T
        waves = torch.stack([wave(n * angles) for n in HARMONICS for wave in (torch.cos, torch.sin)], dim=2)
        added = torch.cat(
            [
                values[:, :, None] * tokens.linear_slope,
                torch.einsum("bkf,kfw->bkw", waves.to(dtype), tokens.circular_slope),
            ],
            dim=1,
        )
        return functional.silu(added + tokens.offset + self.driver_temperature(temperature)[:, None, :])

    def _attend(self, drivers: Tensor, temperature: Tensor, tokens: _LayerTokens) -> Tensor:
        """(B, M, W): what each coordinate to be transformed has learned of the others."""
        asking = tokens.queries + self.query_temperature(temperature)[:, None, :]
        known = self.keys_values(drivers).chunk(2 * len(self.blocks), dim=2)
        for number, block in enumerate(self.blocks):
            asking = block(asking, known[2 * number], known[2 * number + 1], tokens.distance)
        return self.norm(asking)


class _CrossBlock(nn.Module):
    """Pre-norm attention to the driving tokens and a perceptron, each with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.merge = nn.Linear(width, width), nn.Linear(width, width)
        self.distance_bias = nn.Embedding(MAX_GRAPH_DISTANCE + 1, HEADS)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, asking: Tensor, keys: Tensor, values: Tensor, distance: Tensor) -> Tensor:
        """asking (B, M, W), keys and values (B, K, W), distance (M, K) -> (B, M, W)."""
        scale = math.sqrt(HEADS / asking.shape[2])
        query = _by_head(self.query(self.attention_norm(asking)) * scale)
        scores = query @ _by_head(keys).transpose(2, 3) + self.distance_bias(distance).permute(2, 0, 1)
        mixed = torch.softmax(scores, dim=3) @ _by_head(values)
        asking = asking + self.merge(mixed.transpose(1, 2).flatten(2))
        return asking + self.perceptron(self.perceptron_norm(asking))


def _rows_last(leave: nn.Linear, answers: Tensor) -> Tensor:
    """`leave` of (B, M, W) as (outputs, M, B), the layout of the splines."""
    rows, columns, _ = answers.shape
    transposed = answers.permute(2, 1, 0).flatten(1)
    return torch.addmm(leave.bias[:, None], leave.weight, transposed).view(leave.out_features, columns, rows)


def _by_head(tokens: Tensor) -> Tensor:
    """(B, N, W) -> (B, HEADS, N, W / HEADS)."""
    return tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)
