"""Generalized Born on the fast path: Born radii by pairwise descreening, and the energy's gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.fast.fused import column, incidence
from boltzgen.potentials.fast.pair_sums import PairSums
from boltzgen.potentials.records.solvents import GeneralizedBornParameters


class BornModel:
    """The solvent's part of the pair kernel, whose distances it shares.

    Pairs are rows (P, b). Descreening is not symmetric: its tensors are (2, P, b), the first atom
    descreened by the second, then the second by the first. Equations in `GeneralizedBornParameters`.
    """

    def __init__(self, p: GeneralizedBornParameters, sums: PairSums) -> None:
        self.p, self.sums, self.count = p, sums, sums.count
        first, second = sums.arrays["first"], sums.arrays["second"]
        descreened, other = np.concatenate([first, second]), np.concatenate([second, first])
        self.negative = bool((p.scaled_radius < 0).any())
        self.arrays = _descreening_arrays(p, descreened, other) | _energy_arrays(p, first, second)
        if p.neck is not None:
            reach = p.offset_radius[descreened] + p.offset_radius[other] + p.neck.reach
            self.arrays |= {
                "neck_distance": p.neck.distance[descreened, other].reshape(2, -1, 1),
                "neck_height": 2 * p.neck.height[descreened, other].reshape(2, -1, 1),
                "neck_reach": reach.reshape(2, -1, 1),
            }

    def evaluate(
        self,
        c: dict[str, Tensor],
        squared: Tensor,
        inverse: Tensor,
        inverse_squared: Tensor,
        energy: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add the solvent's energy to `energy` (b,), and to `slope` (P, b) its dE/dr."""
        r = squared * inverse
        inside = None if self.p.cutoff is None else (squared <= self.p.cutoff**2).to(squared.dtype)
        psi, descreening = self._descreening(c, r, inverse, inverse_squared, inside)
        radii, radii_slope = self._born_radii(c, psi)
        product = radii.index_select(0, c["first"]).mul_(radii.index_select(0, c["second"]))
        damping = (squared / product).mul_(-0.25).exp_()
        effective = torch.addcmul(squared, product, damping).rsqrt_()
        inverse_radii = radii.reciprocal()
        sixth = inverse_radii.pow(6)
        energy += c["polar_row"] @ (effective if inside is None else (effective - self.p.shift) * inside)
        energy += c["self_row"] @ inverse_radii
        energy += c["surface_row"] @ sixth
        if slope is None:
            return
        # with cubed = -2 dE/d(f^2): dE/dr = -r cubed (1 - damping/4) at fixed radii, and
        # dE/dln(B_i B_j) = -cubed damping (B_i B_j + r^2/4) / 2
        cubed = (effective * effective).mul_(effective).mul_(c["polar"])
        if inside is not None:
            cubed *= inside
        damped = damping.mul_(cubed)
        by_product = product.add_(squared, alpha=0.25).mul_(damped)
        cubed.sub_(damped, alpha=0.25).mul_(r)
        slope -= cubed
        by_radius = self.sums.at_both(c, by_product).mul_(-0.5)  # dE/dln B
        by_radius.addcmul_(inverse_radii, c["self_energy"], value=-1).addcmul_(sixth, c["surface"], value=-1)
        by_radius.mul_(inverse_radii).mul_(radii_slope).mul_(c["psi_by_slope"])
        descreening *= by_radius.index_select(0, c["descreened"]).view_as(descreening)
        slope += descreening[0]
        slope += descreening[1]

    def _descreening(
        self, c: dict[str, Tensor], r: Tensor, inverse: Tensor, inverse_squared: Tensor, inside: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """psi (N, b), and -8 d(pair integral)/dr (2, P, b); the slopes of the two bounds cancel."""
        gap, far = r - c["scaled"], r + c["scaled"]
        held = gap.view(2 * self.count, -1).index_select(0, c["swallowable"]).neg_()
        lower = torch.maximum(gap.abs_(), c["own"])
        if self.negative:  # else maximum() alone makes the two bounds equal there
            lower = torch.where(far < c["own"], c["own"], lower)
        lower, upper = lower.reciprocal_(), torch.maximum(far, c["own"]).reciprocal_()
        logarithm = (upper / lower).log_()
        difference = lower - upper
        squares = upper.add_(lower).mul_(difference)
        weight = logarithm.addcmul_(squares, c["half_scaled_squared"])
        integral = difference.addcmul_(weight, inverse, value=0.5).addcmul_(squares, r, value=-0.25)
        slopes = squares.addcmul_(weight, inverse_squared, value=2)
        if self.p.neck is not None:
            self._add_neck(c, r, integral, slopes)
        if not self.p.swallowed:
            # without the term below, the slope of the lower bound stays: d(-2/(scaled - r))/dr
            bound = torch.maximum(held, c["swallowable_own"]).reciprocal_().square_()
            bound *= held > c["swallowable_own"]
            slopes.view(2 * self.count, -1).index_add_(0, c["swallowable"], bound, alpha=-8)
        if inside is not None:
            integral, slopes = integral.mul_(inside), slopes.mul_(inside)
        psi = self.sums.at_each(c, integral).mul_(c["half_offset"])
        if self.p.swallowed:
            # where the other sphere holds this atom's: 1/own - 1/(scaled - r), elsewhere exactly 0
            own = c["swallowable_own"]
            bonus = torch.maximum(held, own).reciprocal_().sub_(own.reciprocal())
            if inside is not None:
                bonus *= inside.repeat(2, 1).index_select(0, c["swallowable"])
            psi.addmm_(c["swallowed_psi"], bonus)
        return psi, slopes

    def _add_neck(self, c: dict[str, Tensor], r: Tensor, integral: Tensor, slopes: Tensor) -> None:
        """Add twice the neck to `integral` (psi halves it), and its slope, likewise, to `slopes`."""
        assert self.p.neck is not None
        quadratic, sextic = self.p.neck.quadratic, self.p.neck.sextic
        d = r - c["neck_distance"]
        squared = d * d
        fourth = squared * squared
        bump = (squared * quadratic).addcmul_(fourth, squared, value=sextic).add_(1).reciprocal_()
        height = c["neck_height"] * (r <= c["neck_reach"])
        slopes += fourth.mul_(24 * sextic).add_(8 * quadratic).mul_(d).mul_(bump).mul_(bump).mul_(height)
        integral += bump.mul_(height)

    def _born_radii(self, c: dict[str, Tensor], psi: Tensor) -> tuple[Tensor, Tensor]:
        """Born radii (N, b) and their derivative by psi."""
        if self.p.model == "hct":
            radii = psi.neg_().add_(1).mul_(c["inverse_offset"]).reciprocal_()
            return radii, (radii * radii).mul_(c["inverse_offset"])
        bent = (psi * c["gamma"]).sub_(c["beta"]).mul_(psi).add_(c["alpha"]).mul_(psi).tanh_()
        radii = torch.addcmul(c["inverse_offset"], bent, c["inverse_radius"], value=-1).reciprocal_()
        slope = (psi * c["gamma_3"]).sub_(c["beta_2"]).mul_(psi).add_(c["alpha"])
        slope.mul_((bent * bent).neg_().add_(1)).mul_(c["inverse_radius"]).mul_(radii).mul_(radii)
        return radii, slope


def _descreening_arrays(
    p: GeneralizedBornParameters, descreened: np.ndarray, other: np.ndarray
) -> dict[str, np.ndarray]:
    own, scaled = p.offset_radius[descreened], p.scaled_radius[other]
    swallowable = np.flatnonzero(scaled > own)
    swallowed = incidence(len(p.charge), descreened[swallowable])
    return {
        "descreened": descreened,
        "scaled": scaled.reshape(2, -1, 1),
        "own": own.reshape(2, -1, 1),
        "half_scaled_squared": (scaled**2 / 2).reshape(2, -1, 1),
        "half_offset": column(0.5 * p.offset_radius),
        "swallowable": swallowable,
        "swallowable_own": column(own[swallowable]),
        "swallowed_psi": -p.offset_radius[:, None] * swallowed,
    }


def _energy_arrays(
    p: GeneralizedBornParameters, first: np.ndarray, second: np.ndarray
) -> dict[str, np.ndarray]:
    polar = p.pair_prefactor * p.charge[first] * p.charge[second]
    alone = p.self_prefactor * p.charge**2
    return {
        "psi_by_slope": column(-0.125 * p.offset_radius),
        "inverse_offset": column(1 / p.offset_radius),
        "inverse_radius": column(1 / p.radius),
        "alpha": column(p.alpha),
        "beta": column(p.beta),
        "gamma": column(p.gamma),
        "beta_2": column(2 * p.beta),
        "gamma_3": column(3 * p.gamma),
        "polar": column(polar),
        "polar_row": polar,
        "self_row": alone,
        "self_energy": column(alone),
        "surface_row": p.surface,
        "surface": column(6 * p.surface),
    }
