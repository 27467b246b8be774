"""Coordinates of the model systems: the positions themselves."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.base import Coordinates, CoordinateTable


class IdentityCoordinates(Coordinates):
    """Positions (batch, d) as they are, with the measure ``lebesgue(d)``.

    Parameters
    ----------
    dimension: d. reference: (d,) a typical position; default: the origin.
    """

    reasons = ("", "not finite")
    domain_label = "all"

    def __init__(self, dimension: int, reference: np.ndarray | None = None) -> None:
        self.measure = f"lebesgue({dimension})"
        self.table = CoordinateTable(
            kind=("free",) * dimension,
            atoms=np.full((dimension, 4), -1),
            lower=np.full(dimension, -np.inf),
            upper=np.full(dimension, np.inf),
            circular=np.zeros(dimension, dtype=bool),
            reference=np.zeros(dimension) if reference is None else np.array(reference, dtype=float),
        )

    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, d) -> the same, and log_det 0."""
        return positions, positions.new_zeros(positions.shape[0])

    def decode(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, d) -> the same, and log_det 0."""
        return coordinates, coordinates.new_zeros(coordinates.shape[0])

    def domain(self, positions: Tensor) -> Tensor:
        """1 for rows that are not finite, else 0. (batch,) long."""
        return (~torch.isfinite(positions).all(-1)).long()
