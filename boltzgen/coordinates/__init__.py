"""Internal coordinates chosen from the molecular graph, with analytic log-determinants."""

from boltzgen.coordinates.base import Coordinates, CoordinateTable, wrap_angle
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.coordinates.internal import InternalCoordinates

__all__ = ["CoordinateTable", "Coordinates", "IdentityCoordinates", "InternalCoordinates", "wrap_angle"]
