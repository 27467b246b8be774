"""The contract of every coordinate system, and the table that describes its coordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: What a coordinate is. ``distance`` is the second distance of an atom that closes a ring,
#: ``bend`` one of the two components that stand in for a near-linear angle and its torsion,
#: ``free`` a Cartesian coordinate of a model system.
KINDS = ("bond", "angle", "torsion", "offset", "distance", "bend", "free")


@dataclass(frozen=True)
class CoordinateTable:
    """One row a coordinate; what conditioning and flows may know of the coordinates.

    Attributes
    ----------
    kind: tuple of str, length ``dimension``, each of `KINDS`.
    atoms: (dimension, 4) int array; atom placed first, then its references, padded with -1.
    lower, upper: (dimension,) float arrays, the exact support, ``-inf``/``inf`` where unbounded.
        A circular coordinate has support [-pi, pi).
    circular: (dimension,) bool array; True for coordinates that live on the whole circle.
    reference: (dimension,) float array, the coordinates of the reference positions.
    """

    kind: tuple[str, ...]
    atoms: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    circular: np.ndarray
    reference: np.ndarray

    @property
    def dimension(self) -> int:
        return len(self.kind)


class Coordinates(ABC):
    """An invertible map between positions and a flat vector of coordinates.

    Obligations of a subclass:

    * ``encode`` and ``decode`` return ``(value, log_det)`` with ``log_det = log|det d(out)/d(in)|``,
      shape ``(batch,)``, where the Cartesian side is measured by the shape measure of the design
      (model systems: Lebesgue measure).
    * Neither raises on a bad row. ``encode`` of positions outside the domain still returns
      finite-shaped rows; ``domain`` tells which rows are outside and why.
    * The domain lies inside the support of ``table``: positions inside the domain have coordinates
      inside the support. ``decode`` of coordinates inside the support returns finite positions inside
      the domain, except for rings that cannot close and for centres, or isomer bonds in large
      rings, so distorted that the domain excludes them; ``domain`` reports those.
    """

    #: ``"shape"`` or ``"lebesgue(d)"``.
    measure: str
    table: CoordinateTable
    #: Reasons that ``domain`` can report; index 0 is ``""`` (inside).
    reasons: tuple[str, ...]

    #: Tells domains of one molecule apart; ensembles with different labels must not be mixed.
    domain_label: str

    @property
    def dimension(self) -> int:
        return self.table.dimension

    @abstractmethod
    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, atoms, 3) nm -> coordinates (batch, dimension) and log_det (batch,)."""

    @abstractmethod
    def decode(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """coordinates (batch, dimension) -> positions (batch, atoms, 3) nm and log_det (batch,)."""

    @abstractmethod
    def domain(self, positions: Tensor) -> Tensor:
        """Index into ``reasons`` for each row: 0 inside the domain, otherwise why not. (batch,) long."""

    def inside(self, positions: Tensor) -> Tensor:
        """True for rows inside the domain. (batch,) bool."""
        return self.domain(positions) == 0


def wrap_angle(angle: Tensor) -> Tensor:
    """`angle` in rad brought to [-pi, pi)."""
    return torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
