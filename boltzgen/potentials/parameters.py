"""The typed, frozen record of a force field's parameters: what a translated system holds."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np


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
    has_nonbonded: whether charges and Lennard-Jones parameters come from a non-bonded force.
    charge: (N,) e; sigma: (N,) nm; epsilon: (N,) kJ/mol. Combination: arithmetic sigma, geometric epsilon.
    exception_atoms: (X, 2) pairs that use their own parameters (zeros: excluded);
        exception_charge_product: (X,) e2; exception_sigma: (X,) nm; exception_epsilon: (X,) kJ/mol.
    has_solvent: whether there is a generalized-Born term (Onufriev, Bashford, Case, model II).
    solvent_charge: (N,) e, the charges of that term; born_radius: (N,) nm, intrinsic; born_scale: (N,).
    solute_dielectric, solvent_dielectric: relative permittivities.
    surface_area_energy: kJ/mol/nm2, of the non-polar term.
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
    has_solvent: bool = False
    solvent_charge: np.ndarray = field(default_factory=_floats)
    born_radius: np.ndarray = field(default_factory=_floats)
    born_scale: np.ndarray = field(default_factory=_floats)
    solute_dielectric: float = 1.0
    solvent_dielectric: float = 1.0
    surface_area_energy: float = 0.0

    def __post_init__(self) -> None:
        for name in ("charge", "sigma", "epsilon", "solvent_charge", "born_radius", "born_scale"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(self.n_atoms))
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, np.ndarray):
                frozen = np.array(value)
                frozen.flags.writeable = False
                object.__setattr__(self, entry.name, frozen)

    def pairs(self) -> PairTable:
        """Every pair of atoms once, with the charge product, sigma and epsilon that it really uses."""
        first, second = np.triu_indices(self.n_atoms, k=1)
        charge_product = self.charge[first] * self.charge[second]
        sigma = 0.5 * (self.sigma[first] + self.sigma[second])
        epsilon = np.sqrt(self.epsilon[first] * self.epsilon[second])
        if len(self.exception_atoms):
            low, high = np.sort(self.exception_atoms, axis=1).T
            row = low * (2 * self.n_atoms - low - 1) // 2 + high - low - 1
            charge_product[row] = self.exception_charge_product
            sigma[row] = self.exception_sigma
            epsilon[row] = self.exception_epsilon
        return PairTable(np.stack([first, second], axis=1), charge_product, sigma, epsilon)


@dataclass(frozen=True)
class PairTable:
    """Non-bonded parameters by pair: atoms (P, 2), i < j; charge_product e2; sigma nm; epsilon kJ/mol."""

    atoms: np.ndarray
    charge_product: np.ndarray
    sigma: np.ndarray
    epsilon: np.ndarray

    def interacting(self) -> PairTable:
        """The pairs whose charge product or epsilon is not zero."""
        keep = (self.charge_product != 0) | (self.epsilon != 0)
        return PairTable(
            self.atoms[keep], self.charge_product[keep], self.sigma[keep], self.epsilon[keep]
        )
