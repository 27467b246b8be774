"""The frozen records of implicit solvents: generalized-Born models, any other CustomGBForce, and LCPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from boltzgen.potentials.records.tabulated import TabulatedFunction


#: What Amber's models, but GBn2, subtract from intrinsic radii, in nm.
DIELECTRIC_OFFSET = 0.009


def frozen_arrays(record: Any) -> dict[str, np.ndarray]:
    """Read-only copies of the arrays of a frozen dataclass, by field."""
    found = {}
    for entry in fields(record):
        value = getattr(record, entry.name)
        if isinstance(value, np.ndarray):
            found[entry.name] = np.array(value)
            found[entry.name].flags.writeable = False
    return found


@dataclass(frozen=True)
class NeckParameters:
    """The neck of the models GBn and GBn2 (Mongan et al., J. Chem. Theory Comput. 3, 156 (2007)).

    An atom's integral gets ``height / (1 + quadratic d^2 + sextic d^6)``, d = r - distance, from each other
    atom with r up to ``offset_radius_1 + offset_radius_2 + reach``.

    Attributes
    ----------
    distance, height: (N, N) nm and 1/nm; row: the atom that is descreened, column: the other one.
    quadratic, sextic: 1/nm2 and 1/nm6. reach: nm.
    """

    distance: np.ndarray
    height: np.ndarray
    quadratic: float
    sextic: float
    reach: float

    def __post_init__(self) -> None:
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)


@dataclass(frozen=True)
class GeneralizedBornParameters:
    """A generalized-Born solvent with Born radii by pairwise descreening.

    The integral I of an atom (Hawkins, Cramer and Truhlar, J. Phys. Chem. 100, 19824 (1996)) gives its Born
    radius B: ``1/B = 1/o - I`` (``hct``) or, with psi = o I, ``1/B = 1/o - tanh(alpha psi - beta psi^2 +
    gamma psi^3)/radius`` (``tanh``; Onufriev, Bashford and Case, Proteins 55, 383 (2004)); o: offset radius.
    The energy is ``sum_i self_prefactor q_i^2/B_i + sum_{i<j} pair_prefactor q_i q_j (1/f_ij - shift)``,
    ``f^2 = r^2 + B_i B_j exp(-r^2/(4 B_i B_j))``, plus ``tension (radius + probe)^2 (radius/B)^6``.

    Attributes
    ----------
    charge: (N,) e. radius: (N,) nm, intrinsic. offset_radius: (N,) nm, smaller by the model's offset.
    scaled_radius: (N,) nm, what descreens others; scale: (N,), its ratio to offset_radius.
    model: ``hct`` or ``tanh``; alpha, beta, gamma: (N,), of ``tanh``.
    self_prefactor, pair_prefactor: kJ nm/mol/e2, with the Coulomb constant that the force itself holds.
    tension: kJ/mol/nm2, 0 without a surface term; probe: nm.
    swallowed: whether an atom inside another one's sphere gets ``1/o - 1/(scaled radius - r)`` more
        (the native force has that term, OpenMM's custom ones do not).
    neck: of the models GBn and GBn2. cutoff: nm, or None; shift: 1/nm, 0 without a cutoff.
    """

    charge: np.ndarray
    radius: np.ndarray
    offset_radius: np.ndarray
    scaled_radius: np.ndarray
    scale: np.ndarray
    self_prefactor: float
    pair_prefactor: float
    model: str = "tanh"
    alpha: np.ndarray = field(default_factory=lambda: np.zeros(0))
    beta: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gamma: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tension: float = 0.0
    probe: float = 0.0
    swallowed: bool = False
    neck: NeckParameters | None = None
    cutoff: float | None = None
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros(len(self.charge)))
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)

    @property
    def surface(self) -> np.ndarray:
        """(N,) kJ/mol nm6: what B^-6 is multiplied by."""
        return self.tension * (self.radius + self.probe) ** 2 * self.radius**6


@dataclass(frozen=True)
class SurfaceAreaParameters:
    """A surface term by linear combinations of pairwise overlaps (LCPO), one of OpenMM's LCPOForce.

    Attributes
    ----------
    radius: (N,) nm, the probe's included; an atom of radius 0 has no part in it.
    p1, p2, p3: (N,); p4: (N,) 1/nm2. tension: kJ/mol/nm2.
    """

    radius: np.ndarray
    p1: np.ndarray
    p2: np.ndarray
    p3: np.ndarray
    p4: np.ndarray
    tension: float

    def __post_init__(self) -> None:
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)


#: How a computed value or an energy term of a CustomGBForce runs over the atoms.
UNEXCLUDED_PAIRS, ALL_PAIRS, SINGLE = "ParticlePair", "ParticlePairNoExclusions", "SingleParticle"


@dataclass(frozen=True)
class CustomBornParameters:
    """A CustomGBForce as it is written: expressions over atoms and pairs.

    Attributes
    ----------
    parameters: per-particle parameters by name, each (N,); global_parameters: their default values.
    values: (name, expression, kind) of each computed value; energies: (expression, kind) of each term.
    exclusions: (E, 2) pairs that terms of the kind ``ParticlePair`` leave out.
    tables: tabulated functions by name. cutoff: nm, or None.
    """

    n_atoms: int
    parameters: Mapping[str, np.ndarray]
    global_parameters: Mapping[str, float]
    values: tuple[tuple[str, str, str], ...]
    energies: tuple[tuple[str, str], ...]
    exclusions: np.ndarray
    tables: Mapping[str, TabulatedFunction]
    cutoff: float | None = None

    def __post_init__(self) -> None:
        for name, values in frozen_arrays(self).items():
            object.__setattr__(self, name, values)
