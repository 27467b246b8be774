"""The pair kernel of the fast path: Lennard-Jones, Coulomb and generalized Born on one distance."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from boltzgen.potentials.fast.fused import Kernel, column, dot
from boltzgen.potentials.fast.fused_born import BornModel
from boltzgen.potentials.fast.pair_sums import PairSums
from boltzgen.potentials.records.parameters import ForceFieldParameters, NonbondedCutoff, PairTable
from boltzgen.potentials.terms.native import COULOMB_CONSTANT


class PairKernel(Kernel):
    """Lennard-Jones, Coulomb and generalized Born with one distance for all three."""

    def __init__(self, p: ForceFieldParameters) -> None:
        self.cutoff = p.cutoff
        pairs = p.pairs() if p.solvent else p.pairs().interacting()
        first, second = pairs.atoms.T
        self.count = len(first)
        self.rows = self.count * (2 if p.solvent else 1)
        self.sums = PairSums(p.n_atoms, first, second)
        self.born = BornModel(p.solvent, self.sums) if p.solvent else None
        arrays = _nonbonded_arrays(pairs)
        if p.cutoff is not None:
            arrays |= _cutoff_arrays(pairs, p.cutoff)
        if self.born is not None:
            arrays |= self.born.arrays
        super().__init__(**self.sums.arrays, **arrays)

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        d = self.sums.differences(c, x)
        squared = dot(d, d)
        inverse = squared.rsqrt()
        inverse_squared = inverse * inverse
        sixth = (inverse_squared * inverse_squared).mul_(inverse_squared)
        # 2 A r^-12 - B r^-6: half of it, less half of B r^-6, is the energy; six times it, the slope
        virial = (sixth * c["twice_repulsion"]).sub_(c["dispersion"]).mul_(sixth)
        slope = None
        if self.cutoff is not None:
            slope = self._until_cutoff(c, squared, inverse, sixth, virial, energy)
        else:
            energy += c["halves"] @ virial
            energy += c["half_dispersion"] @ sixth
            energy += c["coulomb_row"] @ inverse
            if gradient is not None:
                slope = virial.mul_(-6).addcmul_(inverse, c["coulomb"], value=-1).mul_(inverse)  # dE/dr
        if gradient is None:
            slope = None
        if self.born is not None:
            self.born.evaluate(c, squared, inverse, inverse_squared, energy, slope)
        if gradient is not None and slope is not None:
            d *= slope.mul_(inverse)[:, None]
            self.sums.add_differences(c, gradient, d)

    def _until_cutoff(
        self,
        c: dict[str, Tensor],
        squared: Tensor,
        inverse: Tensor,
        sixth: Tensor,
        virial: Tensor,
        energy: Tensor,
    ) -> Tensor:
        """Add the energy of pairs with a cutoff; returns their dE/dr (P, b)."""
        r = squared * inverse
        inside = (squared <= c["limit_squared"]).to(squared.dtype)
        coulomb = inverse * c["coulomb"]
        slope = virial * inverse * -6
        attraction = (virial - sixth * c["dispersion"]) * 0.5
        if self.cutoff is not None and self.cutoff.switching_distance is not None:
            t = ((r - self.cutoff.switching_distance) * c["per_width"]).clamp_(0, 1)
            switch = 1 + t**3 * (t * (15 - 6 * t) - 10)
            slope = slope * switch + attraction * (t * t * (t * (60 - 30 * t) - 30)) * c["per_width"]
            attraction = attraction * switch
        slope = slope - coulomb * inverse + 2 * c["field"] * r
        value = (attraction + coulomb + c["field"] * squared - c["constant"]) * inside
        energy += value.sum(0)
        return slope * inside


def _nonbonded_arrays(pairs: PairTable) -> dict[str, np.ndarray]:
    repulsion = 4 * pairs.epsilon * pairs.sigma**12
    dispersion = 4 * pairs.epsilon * pairs.sigma**6
    coulomb = COULOMB_CONSTANT * pairs.charge_product
    return {
        "twice_repulsion": column(2 * repulsion),
        "dispersion": column(dispersion),
        "half_dispersion": -0.5 * dispersion,
        "halves": np.full(len(coulomb), 0.5),
        "coulomb": column(coulomb),
        "coulomb_row": coulomb,
    }


def _cutoff_arrays(pairs: PairTable, cutoff: NonbondedCutoff) -> dict[str, np.ndarray]:
    """Reaction field and limits by pair; those of an exception leave it as it is."""
    coulomb = np.where(pairs.ordinary, COULOMB_CONSTANT * pairs.charge_product, 0.0)
    quadratic, constant = cutoff.reaction_field
    width = cutoff.distance - (cutoff.switching_distance or 0.0)
    return {
        "limit_squared": column(np.where(pairs.ordinary, cutoff.distance**2, np.inf)),
        "field": column(coulomb * quadratic),
        "constant": column(coulomb * constant),
        "per_width": column(np.where(pairs.ordinary, 1 / width, 0.0)),
    }
