"""From the physics of a molecule to one vector a coordinate: run once a molecule, not once a sample."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor, nn

#: Graph distances beyond this one share a bias.
MAX_GRAPH_DISTANCE = 8


class TokenEncoder(nn.Module):
    """Attention over the coordinates of a molecule, biased by graph distance.

    Maps token features (D, F) and graph distances (D, D) to embeddings (D, width), each row normalised
    to unit variance. The order of the tokens matters only through their features.

    Parameters
    ----------
    n_features: features that are read, the first ones; but not those in `unread`.
    reach: bonds that each block of attention looks across; None: the whole molecule.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        blocks: int,
        heads: int = 4,
        *,
        unread: Container[int] = (),
        reach: int | None = None,
    ) -> None:
        super().__init__()
        self.read, self.reach = [n for n in range(n_features) if n not in unread], reach
        self.input_network = nn.Sequential(
            nn.Linear(len(self.read), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(blocks)])
        self.output_norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, tokens: Tensor, graph_distance: Tensor) -> Tensor:
        precision = next(self.input_network.parameters()).dtype
        hidden = self.input_network(tokens[:, self.read].to(precision))
        near = graph_distance.clamp(max=MAX_GRAPH_DISTANCE)
        hidden_from = None if self.reach is None else graph_distance > self.reach
        for block in self.blocks:
            hidden = block(hidden, near, hidden_from)
        return self.output_norm(hidden)


class _Block(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron, each with a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.distance_bias = nn.Embedding(MAX_GRAPH_DISTANCE + 1, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, hidden: Tensor, near: Tensor, hidden_from: Tensor | None) -> Tensor:
        size, width = hidden.shape
        projected = self.query_key_value(self.attention_norm(hidden)).view(size, 3, self.heads, -1)
        query, key, value = projected.permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) / (width // self.heads) ** 0.5
        scores = scores + self.distance_bias(near).permute(2, 0, 1)
        if hidden_from is not None:
            scores = scores.masked_fill(hidden_from, -torch.inf)
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(0, 1).reshape(size, width)
        hidden = hidden + self.merge(mixed)
        return hidden + self.perceptron(self.perceptron_norm(hidden))
