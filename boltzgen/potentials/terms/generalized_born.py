"""The generalized-Born energy: the definition of record, in plain torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.records.solvents import GeneralizedBornParameters
from boltzgen.potentials.terms.native import Term


class GeneralizedBorn(Term):
    """A generalized-Born solvent with a surface term; models and equations in `GeneralizedBornParameters`.

    Born radii follow Hawkins, Cramer and Truhlar's pairwise descreening; the surface term is Schaefer and
    Karplus's ``tension (a + probe)^2 (a / B)^6``.
    """

    name = "solvent"

    def __init__(self, parameters: GeneralizedBornParameters) -> None:
        self.parameters_of_record = parameters
        n_atoms = len(parameters.charge)
        descreened, other = np.nonzero(~np.eye(n_atoms, dtype=bool))
        arrays = {
            "atoms": np.stack([descreened, other], axis=1),
            "pairs": np.stack(np.triu_indices(n_atoms, k=1), axis=1),
            "surface": parameters.surface,
            "other_scaled_radius": parameters.scaled_radius[other],
        }
        for name in ("charge", "radius", "offset_radius", "alpha", "beta", "gamma"):
            arrays[name] = getattr(parameters, name)
        if neck := parameters.neck:
            reach = parameters.offset_radius[descreened] + parameters.offset_radius[other] + neck.reach
            arrays["neck_reach"] = reach
            arrays["neck_distance"] = neck.distance[descreened, other]
            arrays["neck_height"] = neck.height[descreened, other]
        super().__init__(**arrays)

    def born_radii(self, positions: Tensor) -> Tensor:
        """Effective Born radii (batch, N) in nm."""
        c, p = self.constants.like(positions), self.parameters_of_record
        descreened, other = c["atoms"].T
        r = (positions[:, descreened] - positions[:, other]).norm(dim=-1)
        integral = self._integrals(c, r)
        if p.cutoff is not None:
            integral = torch.where(r > p.cutoff, torch.zeros_like(r), integral)
        total = torch.zeros_like(positions[..., 0]).index_add(1, descreened, integral)
        if p.model == "hct":
            return (1 / c["offset_radius"] - total).reciprocal()
        psi = c["offset_radius"] * total
        bent = torch.tanh(c["alpha"] * psi - c["beta"] * psi**2 + c["gamma"] * psi**3)
        return (1 / c["offset_radius"] - bent / c["radius"]).reciprocal()

    def _integrals(self, c: dict[str, Tensor], r: Tensor) -> Tensor:
        """What each other atom adds to the integral of a descreened one: (batch, N (N - 1)) in 1/nm."""
        scaled, own = c["other_scaled_radius"], c["offset_radius"][c["atoms"][:, 0]]
        apart = r + scaled >= own  # else the other sphere lies inside this one
        lower = torch.maximum((r - scaled).abs(), own).reciprocal()
        upper = torch.where(apart, r + scaled, own).reciprocal()
        zero = torch.zeros_like(r)
        integral = 0.5 * (
            (lower - upper)
            + 0.25 * (lower**2 - upper**2) * (scaled**2 / r - r)
            + 0.5 * torch.log(upper / lower) / r
        )
        integral = torch.where(apart, integral, zero)
        if self.parameters_of_record.swallowed:
            integral = integral + torch.where(scaled - r > own, 1 / own - lower, zero)
        if neck := self.parameters_of_record.neck:
            d = r - c["neck_distance"]
            bump = c["neck_height"] / (1 + neck.quadratic * d**2 + neck.sextic * d**6)
            integral = integral + torch.where(r > c["neck_reach"], zero, bump)
        return integral

    def energy(self, positions: Tensor) -> Tensor:
        c, p = self.constants.like(positions), self.parameters_of_record
        first, second = c["pairs"].T
        radii = self.born_radii(positions)
        squared = ((positions[:, first] - positions[:, second]) ** 2).sum(-1)
        product = radii[:, first] * radii[:, second]
        effective = (squared + product * torch.exp(-squared / (4 * product))).sqrt()
        charges = c["charge"]
        polar = charges[first] * charges[second] * (1 / effective - p.shift)
        if p.cutoff is not None:
            polar = torch.where(squared > p.cutoff**2, torch.zeros_like(polar), polar)
        alone = p.self_prefactor * charges**2 / radii + c["surface"] * radii**-6
        return p.pair_prefactor * polar.sum(-1) + alone.sum(-1)
