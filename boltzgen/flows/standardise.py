"""From coordinates with exact supports to whitened ones: the base that the network departs from.

A linear coordinate goes through a link (identity, log or logit by its support) and is centred and whitened
with the bonded terms' own curvature, scaled by ``sqrt(kT)``. To second order the bonded part of the
molecule is then a standard normal at every temperature, before any training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.coordinates.support import link, unlink


class Standardiser:
    """The whitening of one molecule at the temperatures of its rows.

    `linear` and `circular` are the indices of its coordinates of either sort.
    """

    def __init__(self, molecule: MoleculeFeatures, temperature: Tensor) -> None:
        self.linear = torch.nonzero(~molecule.circular)[:, 0]
        self.circular = torch.nonzero(molecule.circular)[:, 0]
        self.dimension = molecule.dimension
        self.lower, self.upper = molecule.lower[self.linear], molecule.upper[self.linear]
        self.centre, self.factor = molecule.centre, molecule.whitening
        self.scale = torch.sqrt(temperature * molecule.thermal_energy_unit)[:, None]
        size = len(self.linear)
        identity = torch.eye(size, dtype=self.factor.dtype, device=self.factor.device)
        self.inverse_factor = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        self.log_volume = self.factor.diagonal().log().sum() + size * torch.log(self.scale[:, 0])

    def whiten(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D) -> whitened linear (B, L), circular (B, C) in [-pi, pi), log slopes of the links (B, L)."""
        linked, slope = link(coordinates[:, self.linear], self.lower, self.upper)
        whitened = (linked - self.centre) @ self.inverse_factor.T / self.scale
        circular = torch.remainder(coordinates[:, self.circular] + math.pi, 2 * math.pi) - math.pi
        return whitened, circular, slope

    def link_slopes(self, coordinates: Tensor, columns: Tensor) -> Tensor:
        """(D, B) -> log slopes of the links of some `columns` (l,) of the linear ones, (l, B)."""
        if not len(columns):
            return coordinates[:0]
        bounds = self.lower[columns, None], self.upper[columns, None]
        return link(coordinates.index_select(0, self.linear[columns]), *bounds)[1]

    def encode(self, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D) -> whitened linear (B, L), circular (B, C) in [-pi, pi), log_det (B,).

        A row that is not finite or outside the support gets log_det NaN and zeros elsewhere: NaN in the
        networks would spoil the gradients of all rows, even of those that are left out of a loss.
        """
        whitened, circular, slope = self.whiten(coordinates)
        log_det = slope.sum(dim=1) - self.log_volume
        sound = torch.isfinite(whitened).all(dim=1) & torch.isfinite(circular).all(dim=1)
        sound = sound & torch.isfinite(log_det)
        whitened, circular = (torch.where(sound[:, None], x, 0.0) for x in (whitened, circular))
        return whitened, circular, torch.where(sound, log_det, torch.nan)

    def decode(self, whitened: Tensor, circular: Tensor) -> tuple[Tensor, Tensor]:
        """whitened (B, L) and circular (B, C) -> coordinates (B, D), log_det (B,)."""
        linked = self.centre + (whitened * self.scale) @ self.factor.T
        values, slope = unlink(linked, self.lower, self.upper)
        return self.join(values, circular), slope.sum(dim=1) + self.log_volume

    def join(self, linear: Tensor, circular: Tensor) -> Tensor:
        """Linear and circular columns back in the order of the coordinates, (B, D)."""
        order = torch.argsort(torch.cat([self.linear, self.circular]))
        return torch.cat([linear, circular], dim=1)[:, order]
