"""Any map of vectors as a flow of one molecule: what a network that knows no molecules needs of ours.

The vector holds the whitened coordinates of the molecule (`boltzgen.flows.standardise`), and its torsions as
quantiles of a normal: all of R^D, one standard normal for the bonded terms at every temperature. A map that
changes nothing is then the base of every flow here, whose density has the exact support. Such a flow does not
know that a torsion closes on itself: at plus and minus pi its density may jump, or rise without bound.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.errors import InputError
from boltzgen.flows.grouped import LOG_TWO_PI, Group, GroupedEmbedding, GroupedFlow
from boltzgen.flows.settings import FlowSettings

#: Smallest share of a turn, and of a normal, whose quantile is told from the end.
SMALLEST = 1e-15

#: Draws by which a new map is tried, as wide as draws of a few thousand are.
TRIED_ROWS, TRIED_WIDTH = 64, 2.0

#: Largest difference of a vector that went there and back.
ROUND_TRIP = 1e-3

_Map = Callable[[Tensor], tuple[Tensor, Tensor]]


class VectorSettings(FlowSettings):
    """A flow of vectors of one length; the molecule that is learned says which."""

    dimension: int | None = Field(default=None, ge=1, le=100_000)
    """Coordinates of the molecule; found when training begins, and stored with the model."""

    def for_molecules(self, molecules: Sequence[MoleculeFeatures]) -> Self:
        given = [] if self.dimension is None else [self.dimension]
        sizes = sorted({*given, *(molecule.dimension for molecule in molecules)})
        if len(sizes) > 1:
            raise InputError(
                f"A flow of kind {self.kind} has one number of coordinates, and here are {sizes}; learn one "
                "molecule, or use a flow of kind autoregressive or coupling."
            )
        return self.model_copy(update={"dimension": sizes[0]})

    def size(self) -> int:
        """The number of coordinates; InputError where nobody has said it."""
        if self.dimension is None:
            raise InputError(
                f"flow.dimension of kind {self.kind} is not known; give the number of coordinates."
            )
        return self.dimension


class VectorFlow(GroupedFlow):
    """A map of vectors (b, `dimension`) as a flow; a subclass says how they go to the latent space and back.

    It knows one molecule and no temperature but that of the base; contexts of another dimension are refused.
    Rows that the map raises `bad_rows` for, or that are not finite, get the density NaN and end no batch.
    """

    #: What the map raises when a row is not to its liking.
    bad_rows: tuple[type[Exception], ...] = (
        AssertionError,
        ArithmeticError,
        IndexError,
        RuntimeError,
        ValueError,
    )

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension

    @abstractmethod
    def to_latent(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """vectors (b, D) -> standard normal latents (b, D), log_det (b,)."""

    @abstractmethod
    def from_latent(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `to_latent`: latents (b, D) -> vectors (b, D), log_det (b,)."""

    def embed(self, context: Context) -> GroupedEmbedding:
        sizes = sorted({molecule.dimension for molecule in context.molecules})
        if sizes != [self.dimension]:
            raise InputError(
                f"This flow has {self.dimension} coordinates and knows one molecule; it is asked about "
                f"molecules of {', '.join(map(str, sizes))}."
            )
        return super().embed(context)

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> None:
        """Nothing: the map is the same for all."""

    def encode_group(self, coordinates: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        linear, angles, log_det = group.standardiser.encode(coordinates)
        quantiles, slope = _quantiles(angles)
        vectors = group.standardiser.join(linear, quantiles)
        latents, change = self._row_by_row(self.to_latent, vectors)
        turned, back = _angles(latents[:, group.standardiser.circular])
        latents = group.standardiser.join(latents[:, group.standardiser.linear], turned)
        return latents, log_det + slope + change + back

    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        standardiser = group.standardiser
        quantiles, slope = _quantiles(latents[:, standardiser.circular])
        normal = standardiser.join(latents[:, standardiser.linear], quantiles)
        vectors, change = self._row_by_row(self.from_latent, normal)
        angles, back = _angles(vectors[:, standardiser.circular])
        values, widening = standardiser.decode(vectors[:, standardiser.linear], angles)
        return values, slope + change + back + widening

    def _row_by_row(self, function: _Map, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`function` of `vectors` (b, D) float64; rows that it cannot treat are NaN."""
        sound = torch.isfinite(vectors).all(dim=1)
        tensors = [*self.parameters(), *self.buffers()]
        precision = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float64)
        values, log_det = self._in_parts(function, torch.where(sound[:, None], vectors, 0.0).to(precision))
        return torch.where(sound[:, None], values, torch.nan), torch.where(sound, log_det, torch.nan)

    def _in_parts(self, function: _Map, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """`function` of all rows at once; where it raises, of each half, so that the others go on."""
        try:
            values, log_det = function(vectors)
        except torch.OutOfMemoryError:
            raise
        except self.bad_rows:
            if len(vectors) == 1:
                nothing = torch.full_like(vectors, torch.nan)
                return nothing, nothing[:, 0]
            halves = [self._in_parts(function, half) for half in vectors.split((len(vectors) + 1) // 2)]
            values, log_det = (torch.cat(parts) for parts in zip(*halves, strict=True))
        return values.to(torch.float64), log_det.to(torch.float64)


@torch.no_grad()
def require_one_to_one(flow: VectorFlow, name: str) -> None:
    """InputError unless vectors near and far come back from the latent space, as a density needs."""
    generator = torch.Generator().manual_seed(0)
    shape = (TRIED_ROWS, flow.dimension)
    latents = TRIED_WIDTH * torch.randn(shape, generator=generator, dtype=torch.float64)
    there, log_det = flow._row_by_row(flow.from_latent, latents)
    back, change = flow._row_by_row(flow.to_latent, there)
    error = torch.maximum((back - latents).abs().amax(dim=1), (log_det + change).abs())
    lost = int((~(error < ROUND_TRIP)).sum())
    if lost:
        raise InputError(
            f"{name}: {lost} of {TRIED_ROWS} vectors of {flow.dimension} numbers do not come back from the "
            "latent space; the map must be one-to-one on all vectors, and differentiable."
        )


def _quantiles(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Angles (b, C) in [-pi, pi) as quantiles of a normal, and log|det| (b,)."""
    share = ((angles + math.pi) / (2 * math.pi)).clamp(SMALLEST, 1 - SMALLEST)
    quantiles = torch.special.ndtri(share)
    return quantiles, (0.5 * quantiles**2 - 0.5 * LOG_TWO_PI).sum(dim=1)


def _angles(quantiles: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of `_quantiles`."""
    share = torch.special.ndtr(quantiles).clamp(SMALLEST, 1 - SMALLEST)
    return (2 * share - 1) * math.pi, (0.5 * LOG_TWO_PI - 0.5 * quantiles**2).sum(dim=1)
