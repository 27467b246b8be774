"""Our potentials as forces of OpenMM, so that whatever boltzgen can evaluate can be simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np
import openmm
import torch
from openmm import unit

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem

if TYPE_CHECKING:
    from openmm import PythonForce


def openmm_force(potential: Potential, *, device: torch.device | str = "cpu") -> PythonForce:
    """`potential` as an OpenMM PythonForce on all particles of a System, evaluated in float64.

    It lives in this process only: OpenMM would write it to a file as a pickle, which runs code when it is
    read, so serialising it (`XmlSerializer`, copies of the System) raises.

    Raises
    ------
    UnsupportedError: a model system, whose unit is kT. InputError: this OpenMM is too old.
    """
    if potential.energy_unit != "kJ/mol":
        raise UnsupportedError("A model system is no molecule; OpenMM needs a potential in kJ/mol.")
    if not hasattr(openmm, "PythonForce"):
        raise InputError(f"OpenMM {openmm.version.version} has no PythonForce; install OpenMM 8.6 or newer.")
    return openmm.PythonForce(_Computation(potential, device))


def openmm_system(system: MolecularSystem, potential: Potential | None = None) -> openmm.System:
    """An OpenMM System of the atoms of `system`, whose only force is `potential` (by default its own)."""
    alone = openmm.System()
    for mass in system.masses:
        alone.addParticle(mass)
    alone.addForce(openmm_force(potential or potential_of(system)))
    return alone


class _Computation:
    """What OpenMM calls: from its State to energy in kJ/mol and forces (N, 3) in kJ/mol/nm."""

    def __init__(self, potential: Potential, device: torch.device | str) -> None:
        self.potential, self.device = potential.to(device), device

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        x = torch.tensor(positions[None], dtype=torch.float64, device=self.device, requires_grad=True)
        with torch.enable_grad():
            energy = self.potential.energy(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return float(energy.detach()), -gradient[0].cpu().numpy()

    def __reduce__(self) -> NoReturn:
        raise TypeError("A potential of boltzgen as an OpenMM force cannot be written to a file.")
