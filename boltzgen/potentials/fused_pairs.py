"""The pair kernel of the fast path: Lennard-Jones, Coulomb and generalized Born on one distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.fused import Kernel, column, dot, incidence, scatter
from boltzgen.potentials.parameters import ForceFieldParameters
from boltzgen.potentials.terms import (
    COULOMB_CONSTANT,
    DIELECTRIC_OFFSET,
    OBC_ALPHA,
    OBC_BETA,
    OBC_GAMMA,
    PROBE_RADIUS,
    solvent_prefactor,
)


class PairKernel(Kernel):
    """Lennard-Jones, Coulomb and generalized Born with one distance for all three."""

    def __init__(self, p: ForceFieldParameters) -> None:
        self.solvent = p.has_solvent
        pairs = p.pairs() if p.has_solvent else p.pairs().interacting()
        first, second = pairs.atoms.T
        self.rows = len(first) * (2 if p.has_solvent else 1)
        self.count = len(first)
        repulsion = 4 * pairs.epsilon * pairs.sigma**12
        dispersion = 4 * pairs.epsilon * pairs.sigma**6
        coulomb = COULOMB_CONSTANT * pairs.charge_product
        arrays = {
            "first": first,
            "second": second,
            "twice_repulsion": column(2 * repulsion),
            "dispersion": column(dispersion),
            "half_dispersion": -0.5 * dispersion,
            "halves": np.full(len(first), 0.5),
            "coulomb": column(coulomb),
            "coulomb_row": coulomb,
            "incidence": incidence(p.n_atoms, first, second),
        }
        super().__init__(**arrays, **(self._solvent_arrays(p, first, second) if p.has_solvent else {}))

    @staticmethod
    def _solvent_arrays(
        p: ForceFieldParameters, first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        offset = p.born_radius - DIELECTRIC_OFFSET
        descreened, other = np.concatenate([first, second]), np.concatenate([second, first])
        scaled = (p.born_scale * offset)[other]
        prefactor = solvent_prefactor(p)
        polar = prefactor * p.solvent_charge[first] * p.solvent_charge[second]
        tension = 4 * np.pi * p.surface_area_energy
        psi = 0.5 * offset[:, None] * incidence(p.n_atoms, descreened)
        swallowable = np.flatnonzero(scaled > offset[descreened])
        return {
            "descreened": descreened,
            "scaled": scaled.reshape(2, -1, 1),
            "own": offset[descreened].reshape(2, -1, 1),
            "half_scaled_squared": (scaled**2 / 2).reshape(2, -1, 1),
            "psi": psi,
            "swallowable": swallowable,
            "swallowable_own": column(offset[descreened][swallowable]),
            "swallowed_psi": -2 * psi[:, swallowable],
            "both_ends": incidence(p.n_atoms, first) + incidence(p.n_atoms, second),
            "psi_by_slope": column(-0.125 * offset),
            "inverse_offset": column(1 / offset),
            "inverse_radius": column(1 / p.born_radius),
            "polar": column(polar),
            "polar_row": polar,
            "self_row": 0.5 * prefactor * p.solvent_charge**2,
            "self_energy": column(0.5 * prefactor * p.solvent_charge**2),
            "surface_row": tension * (p.born_radius + PROBE_RADIUS) ** 2 * p.born_radius**6,
            "surface": column(6 * tension * (p.born_radius + PROBE_RADIUS) ** 2 * p.born_radius**6),
        }

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        d = (c["incidence"].T @ x.view(len(x), -1)).view(self.count, 3, -1)
        squared = dot(d, d)
        inverse = squared.rsqrt()
        inverse_squared = inverse * inverse
        sixth = (inverse_squared * inverse_squared).mul_(inverse_squared)
        # 2 A r^-12 - B r^-6: half of it, less half of B r^-6, is the energy; six times it, the slope
        virial = (sixth * c["twice_repulsion"]).sub_(c["dispersion"]).mul_(sixth)
        energy += c["halves"] @ virial
        energy += c["half_dispersion"] @ sixth
        energy += c["coulomb_row"] @ inverse
        slope = None
        if gradient is not None:
            slope = virial.mul_(-6).addcmul_(inverse, c["coulomb"], value=-1).mul_(inverse)  # dE/dr
        if self.solvent:
            self._solvent(c, squared, inverse, inverse_squared, energy, slope)
        if gradient is not None and slope is not None:
            d *= slope.mul_(inverse)[:, None]
            scatter(gradient, c["incidence"], d)

    def _solvent(
        self,
        c: dict[str, Tensor],
        squared: Tensor,
        inverse: Tensor,
        inverse_squared: Tensor,
        energy: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add the solvent's energy, and to `slope` (P, b) its dE/dr."""
        r = squared * inverse
        psi, descreening = self._descreening(c, r, inverse, inverse_squared)
        radii, radii_slope = _born_radii(c, psi)
        product = radii.index_select(0, c["first"]).mul_(radii.index_select(0, c["second"]))
        damping = (squared / product).mul_(-0.25).exp_()
        effective = torch.addcmul(squared, product, damping).rsqrt_()
        inverse_radii = radii.reciprocal()
        sixth = inverse_radii.pow(6)
        energy += c["polar_row"] @ effective
        energy += c["self_row"] @ inverse_radii
        energy += c["surface_row"] @ sixth
        if slope is None:
            return
        # with cubed = -2 dE/d(f^2): dE/dr = -r cubed (1 - damping/4) at fixed radii, and
        # dE/dln(B_i B_j) = -cubed damping (B_i B_j + r^2/4) / 2
        cubed = (effective * effective).mul_(effective).mul_(c["polar"])
        damped = damping.mul_(cubed)
        by_product = product.add_(squared, alpha=0.25).mul_(damped)
        cubed.sub_(damped, alpha=0.25).mul_(r)
        slope -= cubed
        by_radius = (c["both_ends"] @ by_product).mul_(-0.5)  # dE/dln B
        by_radius.addcmul_(inverse_radii, c["self_energy"], value=-1).addcmul_(sixth, c["surface"], value=-1)
        by_radius.mul_(inverse_radii).mul_(radii_slope).mul_(c["psi_by_slope"])
        descreening *= by_radius.index_select(0, c["descreened"]).view_as(descreening)
        slope += descreening[0]
        slope += descreening[1]

    def _descreening(
        self, c: dict[str, Tensor], r: Tensor, inverse: Tensor, inverse_squared: Tensor
    ) -> tuple[Tensor, Tensor]:
        """OBC's psi (N, b), and -4 d(pair integral)/dr (2, P, b); the slopes of the two bounds cancel."""
        gap = r - c["scaled"]
        inside = gap.view(2 * self.count, -1).index_select(0, c["swallowable"])
        lower = torch.maximum(gap.abs_(), c["own"]).reciprocal_()
        upper = torch.maximum(r + c["scaled"], c["own"]).reciprocal_()
        logarithm = (upper / lower).log_()
        difference = lower - upper
        squares = upper.add_(lower).mul_(difference)
        weight = logarithm.addcmul_(squares, c["half_scaled_squared"])
        integral = difference.addcmul_(weight, inverse, value=0.5).addcmul_(squares, r, value=-0.25)
        psi = c["psi"] @ integral.view(2 * self.count, -1)
        # where the other sphere holds this atom's sphere: 1/own - 1/(scaled - r), elsewhere exactly 0
        own = c["swallowable_own"]
        psi.addmm_(c["swallowed_psi"], torch.maximum(inside.neg_(), own).reciprocal_().sub_(own.reciprocal()))
        return psi, squares.addcmul_(weight, inverse_squared, value=2)


def _born_radii(c: dict[str, Tensor], psi: Tensor) -> tuple[Tensor, Tensor]:
    """Born radii (N, b) and their derivative by psi."""
    bent = psi * OBC_GAMMA
    bent = bent.sub_(OBC_BETA).mul_(psi).add_(OBC_ALPHA).mul_(psi).tanh_()
    radii = torch.addcmul(c["inverse_offset"], bent, c["inverse_radius"], value=-1).reciprocal_()
    slope = (psi * (3 * OBC_GAMMA)).sub_(2 * OBC_BETA).mul_(psi).add_(OBC_ALPHA)
    slope.mul_((bent * bent).neg_().add_(1)).mul_(c["inverse_radius"]).mul_(radii).mul_(radii)
    return radii, slope
