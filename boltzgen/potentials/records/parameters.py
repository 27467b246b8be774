"""The typed, frozen record of a force field's parameters: what a translated system holds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from boltzgen.potentials.records.custom_forces import CustomForce
from boltzgen.potentials.records.solvents import (
    DIELECTRIC_OFFSET,
    CustomBornParameters,
    GeneralizedBornParameters,
    SurfaceAreaParameters,
    frozen_arrays,
)


def _indices(columns: int) -> np.ndarray:
    return np.zeros((0, columns), dtype=np.int64)


def _floats() -> np.ndarray:
    return np.zeros(0, dtype=np.float64)


@dataclass(frozen=True)
class ForceFieldParameters:
    """Every parameter of a molecular-mechanics energy, as float64 and int64 arrays.

    Units are nm, rad, kJ/mol and elementary charges. Absent terms have empty arrays; atoms without
    a non-bonded force have charge, sigma and epsilon 0. One row a term, in OpenMM's order.

    Attributes
    ----------
    n_atoms: number of atoms N.
    bond_atoms: (B, 2); bond_length: (B,) nm; bond_stiffness: (B,) kJ/mol/nm2, energy ``k/2 (r - r0)^2``.
    angle_atoms: (A, 3), the apex in the middle; angle_equilibrium: (A,) rad;
        angle_stiffness: (A,) kJ/mol/rad2, energy ``k/2 (theta - theta0)^2``.
    torsion_atoms: (T, 4), proper and improper; torsion_periodicity: (T,) int; torsion_phase: (T,) rad;
        torsion_barrier: (T,) kJ/mol, energy ``k (1 + cos(n phi - phase))``.
    cmap: correction maps of pairs of torsions, one record a force.
    has_nonbonded: whether charges and Lennard-Jones parameters come from a non-bonded force.
    charge: (N,) e; sigma: (N,) nm; epsilon: (N,) kJ/mol. Combination: arithmetic sigma, geometric epsilon.
    exception_atoms: (X, 2) pairs that use their own parameters (zeros: excluded);
        exception_charge_product: (X,) e2; exception_sigma: (X,) nm; exception_epsilon: (X,) kJ/mol.
    cutoff: what happens to the non-bonded force at a distance; None: all pairs, as they are.
    solvent: the generalized-Born term in one of the known models, or None.
    custom_gb: generalized-Born terms of any other form, as the expressions of a CustomGBForce.
    surface_area: surface terms by overlaps of spheres (LCPO), one record a force.
    custom: terms by algebraic expressions. Without a non-bonded force, their parameters named charge (q),
        sigma and epsilon stand in `charge`, `sigma` and `epsilon`, as a description of the atoms.
    """

    n_atoms: int
    bond_atoms: np.ndarray = field(default_factory=lambda: _indices(2))
    bond_length: np.ndarray = field(default_factory=_floats)
    bond_stiffness: np.ndarray = field(default_factory=_floats)
    angle_atoms: np.ndarray = field(default_factory=lambda: _indices(3))
    angle_equilibrium: np.ndarray = field(default_factory=_floats)
    angle_stiffness: np.ndarray = field(default_factory=_floats)
    torsion_atoms: np.ndarray = field(default_factory=lambda: _indices(4))
    torsion_periodicity: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    torsion_phase: np.ndarray = field(default_factory=_floats)
    torsion_barrier: np.ndarray = field(default_factory=_floats)
    has_nonbonded: bool = False
    charge: np.ndarray = field(default_factory=_floats)
    sigma: np.ndarray = field(default_factory=_floats)
    epsilon: np.ndarray = field(default_factory=_floats)
    exception_atoms: np.ndarray = field(default_factory=lambda: _indices(2))
    exception_charge_product: np.ndarray = field(default_factory=_floats)
    exception_sigma: np.ndarray = field(default_factory=_floats)
    exception_epsilon: np.ndarray = field(default_factory=_floats)
    cmap: tuple[CorrectionMaps, ...] = ()
    cutoff: NonbondedCutoff | None = None
    solvent: GeneralizedBornParameters | None = None
    custom_gb: tuple[CustomBornParameters, ...] = ()
    surface_area: tuple[SurfaceAreaParameters, ...] = ()
    custom: tuple[CustomForce, ...] = ()

    def __post_init__(self) -> None:
        for name in ("charge", "sigma", "epsilon"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(self.n_atoms))
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)

    def descreening(self) -> tuple[np.ndarray, np.ndarray]:
        """Intrinsic Born radii (N,) in nm and scales (N,) of the solvent; zeros where it has none.

        A CustomGBForce of an unknown form gives them if it names its parameters as OpenMM's own do.
        """
        if self.solvent is not None:
            return self.solvent.radius, self.solvent.scale
        for custom in self.custom_gb:
            if {"or", "sr"} <= set(custom.parameters):
                offset_radius, scaled = custom.parameters["or"], custom.parameters["sr"]
                return offset_radius + DIELECTRIC_OFFSET, scaled / offset_radius
        return np.zeros(self.n_atoms), np.zeros(self.n_atoms)

    def pairs(self) -> PairTable:
        """Every pair of atoms once, with the charge product, sigma and epsilon that it really uses."""
        first, second = np.triu_indices(self.n_atoms, k=1)
        charge_product = self.charge[first] * self.charge[second]
        sigma = 0.5 * (self.sigma[first] + self.sigma[second])
        epsilon = np.sqrt(self.epsilon[first] * self.epsilon[second])
        if not self.has_nonbonded:
            charge_product, epsilon = np.zeros_like(charge_product), np.zeros_like(epsilon)
        ordinary = np.ones(len(first), dtype=bool)
        if len(self.exception_atoms):
            low, high = np.sort(self.exception_atoms, axis=1).T
            row = low * (2 * self.n_atoms - low - 1) // 2 + high - low - 1
            charge_product[row] = self.exception_charge_product
            sigma[row] = self.exception_sigma
            epsilon[row] = self.exception_epsilon
            ordinary[row] = False
        return PairTable(np.stack([first, second], axis=1), charge_product, sigma, epsilon, ordinary)


@dataclass(frozen=True)
class NonbondedCutoff:
    """OpenMM's CutoffNonPeriodic: ordinary pairs end at `distance`; exceptions have no cutoff.

    Lennard-Jones is multiplied by a switching function from `switching_distance` (nm; None: none) to
    `distance` (nm). Coulomb has the reaction field of a medium of relative permittivity `dielectric`:
    ``C q1 q2 (1/r + k r^2 - c)``, k = (eps - 1)/((2 eps + 1) rc^3), c = 3 eps/((2 eps + 1) rc).
    Source: Tironi et al., J. Chem. Phys. 102, 5451 (1995), as in the OpenMM user guide.
    """

    distance: float
    switching_distance: float | None
    dielectric: float

    @property
    def reaction_field(self) -> tuple[float, float]:
        """k in 1/nm3 and c in 1/nm."""
        scale = 1 / (2 * self.dielectric + 1)
        return (self.dielectric - 1) * scale / self.distance**3, 3 * self.dielectric * scale / self.distance


@dataclass(frozen=True)
class CorrectionMaps:
    """Energies of pairs of torsions by tables: atoms (C, 8), two quadruples a row; index (C,) into `maps`.

    ``maps[m][i, j]`` (kJ/mol) is the energy where the first torsion is 2 pi i/size, the second 2 pi j/size.
    """

    atoms: np.ndarray
    index: np.ndarray
    maps: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)


@dataclass(frozen=True)
class PairTable:
    """Non-bonded parameters by pair: atoms (P, 2), i < j; charge_product e2; sigma nm; epsilon kJ/mol.

    `ordinary` (P,) is False for exceptions, to which no cutoff applies.
    """

    atoms: np.ndarray
    charge_product: np.ndarray
    sigma: np.ndarray
    epsilon: np.ndarray
    ordinary: np.ndarray

    def interacting(self) -> PairTable:
        """The pairs whose charge product or epsilon is not zero."""
        keep = (self.charge_product != 0) | (self.epsilon != 0)
        return PairTable(*(getattr(self, entry.name)[keep] for entry in fields(self)))
