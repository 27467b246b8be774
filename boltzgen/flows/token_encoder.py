"""From the physics of a molecule to one vector a coordinate: run once a molecule, not once a sample."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor, nn

#: Graph distances beyond this one share a bias; and in blocks that look far, which see no further if any do.
MAX_GRAPH_DISTANCE, FAR_REACH = 8, 16


class TokenEncoder(nn.Module):
    """Attention over the coordinates of a molecule, biased by graph distance.

    Maps token features (D, F) and graph distances (D, D) to embeddings (D, width), each row normalised
    to unit variance. The order of the tokens matters only through their features.

    Parameters
    ----------
    n_features: features that are read, the first ones; but not those in `unread`.
    reach: bonds that each block of attention looks across; None: the whole molecule.
    far_blocks: further blocks, that look across `FAR_REACH` bonds, or with no `reach` the whole molecule.
        They begin as the identity, so that an encoder without them can be gone on with.
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
        far_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.read, self.reach = [n for n in range(n_features) if n not in unread], reach
        self.input_network = nn.Sequential(
            nn.Linear(len(self.read), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.blocks = nn.ModuleList([_Block(width, heads, MAX_GRAPH_DISTANCE) for _ in range(blocks)])
        self.far_blocks = nn.ModuleList(
            [_Block(width, heads, FAR_REACH, identity=True) for _ in range(far_blocks)]
        )
        self.output_norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, tokens: Tensor, graph_distance: Tensor) -> Tensor:
        precision = next(self.input_network.parameters()).dtype
        hidden = self.input_network(tokens[:, self.read].to(precision))
        for blocks, reach in ((self.blocks, self.reach or 0), (self.far_blocks, FAR_REACH)):
            hidden_from = None if self.reach is None else graph_distance > reach
            for block in blocks:
                hidden = block(hidden, graph_distance, hidden_from)
        return self.output_norm(hidden)


class _Block(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron, each with a residual connection.

    most: graph distance beyond which all share a bias.
    identity: whether it adds nothing to what comes in, until it has learned to.
    """

    def __init__(self, width: int, heads: int, most: int, *, identity: bool = False) -> None:
        super().__init__()
        self.heads, self.most = heads, most
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.distance_bias = nn.Embedding(most + 1, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        if identity:
            for weight in (*self.merge.parameters(), *self.perceptron[2].parameters()):
                nn.init.zeros_(weight)

    def forward(self, hidden: Tensor, graph_distance: Tensor, hidden_from: Tensor | None) -> Tensor:
        size, width = hidden.shape
        projected = self.query_key_value(self.attention_norm(hidden)).view(size, 3, self.heads, -1)
        query, key, value = projected.permute(1, 2, 0, 3)
        scores = query @ key.transpose(1, 2) / (width // self.heads) ** 0.5
        scores = scores + self.distance_bias(graph_distance.clamp(max=self.most)).permute(2, 0, 1)
        if hidden_from is not None:
            scores = scores.masked_fill(hidden_from, -torch.inf)
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(0, 1).reshape(size, width)
        hidden = hidden + self.merge(mixed)
        return hidden + self.perceptron(self.perceptron_norm(hidden))
