"""Per-atom parameters of MMFF94's van der Waals and electrostatic terms, from what RDKit says of pairs.

RDKit states the minimum-energy separation ``R_ij`` and the well depth ``eps_ij`` of pairs. MMFF94's mixing
rules (T. A. Halgren, J. Comput. Chem. 17 (1996) 520, equations 8 to 16) are, with ``R_i = R_ii`` and
``a_i`` the polarizability over the effective number of electrons,

    R_ij   = (R_i + R_j)/2 [1 + 0.2 (1 - exp(-12 ((R_i - R_j)/(R_i + R_j))^2))]   (mean if either is a donor)
    eps_ij = C g_i g_j / ((sqrt(a_i) + sqrt(a_j)) R_ij^6)

and the second is the same as, with ``u = ln(a)/4``,

    eps_ij = sqrt(eps_ii eps_jj) (R_i R_j)^3 / (R_ij^6 cosh(u_i - u_j)),

so that atoms need no more than R, eps, u and whether they donate or accept a hydrogen bond (between a donor
and an acceptor R is scaled by 0.8 and eps by 0.5). Only differences of u enter, up to a common sign: they
are a line on which the pairs give the distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import BoltzgenError

if TYPE_CHECKING:
    from rdkit import Chem
    from rdkit.ForceField.rdForceField import MMFFMolProperties

#: MMFF type of a hydrogen on carbon or silicon; all other hydrogens donate hydrogen bonds.
_HYDROGEN_ON_CARBON = 5

#: Rounding makes the last digits, and with them a system's fingerprint, the same for any order of the bonds
#: (in which RDKit adds charges up) and any mathematical library. `_mixing` magnifies rounding errors to
#: 1e-8; well depths depend so weakly on the mixing places that six decimals are plenty.
_CHARGE_DECIMALS = 12
_PAIR_DECIMALS = 12
_MIXING_DECIMALS = 6

#: Relative error that the rebuilt pair parameters may have.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class NonbondedAtoms:
    """One value an atom, (N,) float: Angstrom, kcal/mol, elementary charge.

    separation: ``R_ii``. depth: ``eps_ii``. mixing: ``u``, smallest 0.
    donor, acceptor: 1 or 0.
    """

    charge: np.ndarray
    separation: np.ndarray
    depth: np.ndarray
    mixing: np.ndarray
    donor: np.ndarray
    acceptor: np.ndarray


def nonbonded_atoms(molecule: Chem.Mol, properties: MMFFMolProperties) -> NonbondedAtoms:
    """The parameters of the atoms of `molecule`.

    Raises
    ------
    BoltzgenError: the mixing rules do not give back RDKit's pair parameters (another RDKit than ours).
    """
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    types = [properties.GetMMFFAtomType(index) for index in range(len(numbers))]
    kinds = sorted(set(types))
    example = [types.index(kind) for kind in kinds]
    pairs = np.array([[properties.GetMMFFVdWParams(*sorted((i, j))) for j in example] for i in example])
    separation, depth = (np.round(np.diagonal(pairs[..., k]), _PAIR_DECIMALS) for k in (0, 1))
    donor = np.array(
        [
            float(numbers[i] == 1 and kind != _HYDROGEN_ON_CARBON)
            for i, kind in zip(example, kinds, strict=True)
        ]
    )
    scaled = ~np.isclose(pairs[..., 0], pairs[..., 2], rtol=1e-9)
    acceptor = (scaled & (donor[:, None] > 0)).any(axis=0) * (1.0 - donor)
    mixing = _mixing(pairs[..., 0], pairs[..., 1])
    _check(pairs, separation, depth, mixing, donor, acceptor)
    row = np.array([kinds.index(kind) for kind in types])
    summed = np.array([properties.GetMMFFPartialCharge(index) for index in range(len(numbers))])
    charge = np.round(summed, _CHARGE_DECIMALS) + 0.0
    return NonbondedAtoms(charge, separation[row], depth[row], mixing[row], donor[row], acceptor[row])


def _mixing(separation: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(K,) places on a line, from the (K, K) pair tables: one end is 0, the others are distances from it."""
    own = np.diagonal(depth) * np.diagonal(separation) ** 6
    ratio = depth * separation**6 / np.sqrt(own[:, None] * own[None, :])
    end = int(np.argmin(ratio.min(axis=1)))
    places = [math.acosh(max(1.0, 1.0 / value)) for value in ratio[end]]
    return np.round(np.array(places), _MIXING_DECIMALS)


def _check(pairs, separation, depth, mixing, donor, acceptor) -> None:  # type: ignore[no-untyped-def]
    """Raise unless the mixing rules rebuild RDKit's (K, K, 4) table of pairs."""
    gamma = (separation[:, None] - separation) / (separation[:, None] + separation)
    widened = 0.2 * (1.0 - np.exp(-12.0 * gamma**2)) * (1.0 - np.maximum(donor[:, None], donor))
    unscaled = 0.5 * (separation[:, None] + separation) * (1.0 + widened)
    bridge = donor[:, None] * acceptor + acceptor[:, None] * donor
    well = np.sqrt(depth[:, None] * depth) * (separation[:, None] * separation) ** 3 / unscaled**6
    well = well / np.cosh(mixing[:, None] - mixing) * (1.0 - 0.5 * bridge)
    found = np.stack([unscaled * (1.0 - 0.2 * bridge), well], axis=-1)
    if not np.allclose(found, pairs[..., 2:], rtol=_TOLERANCE, atol=0.0):
        raise BoltzgenError(
            "RDKit's van der Waals parameters do not follow MMFF94's mixing rules; install the version of "
            "rdkit that constraints.txt names."
        )
