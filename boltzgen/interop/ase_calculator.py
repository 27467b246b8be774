"""Our potentials as calculators of ASE, for its optimisers, dynamics and vibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from boltzgen.errors import InputError, MissingExtraError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import ELECTRONVOLT, NM_PER_ANGSTROM

if TYPE_CHECKING:
    import ase
    from ase.calculators.calculator import Calculator


def ase_calculator(potential: Potential, *, device: torch.device | str = "cpu") -> Calculator:
    """An ASE calculator of `potential`: energy in eV, forces in eV/Angstrom, float64.

    The atoms must be those of the potential, in its order. A conformation whose energy is not finite
    raises ASE's CalculationFailed.

    Raises
    ------
    MissingExtraError: ASE is not installed. UnsupportedError: a model system, whose unit is kT.
    """
    if potential.energy_unit != "kJ/mol":
        raise UnsupportedError("A model system is no molecule; ASE needs a potential in kJ/mol.")
    made: Calculator = _calculator_class()(potential, device)
    return made


def ase_atoms(system: MolecularSystem, potential: Potential | None = None) -> ase.Atoms:
    """`system` as ASE atoms at its reference positions, with the calculator of `potential`.

    Parameters
    ----------
    potential: that of the system when not given; close it when its energy comes from worker processes.

    Raises
    ------
    MissingExtraError: ASE is not installed. InputError: an atom has no element.
    """
    calculator = ase_calculator(potential or potential_of(system))
    import ase

    if (system.atomic_numbers == 0).any():
        raise InputError(f"{system.name!r} has united atoms (no element), which ASE cannot hold.")
    positions = system.reference_positions / NM_PER_ANGSTROM
    return ase.Atoms(
        numbers=system.atomic_numbers, positions=positions, masses=system.masses, calculator=calculator
    )


def _calculator_class() -> Any:
    """The class, once ASE is there to derive it from."""
    try:
        from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
    except ImportError as error:
        raise MissingExtraError("ASE is not installed: pip install 'boltzgen-sampler[qm]'.") from error

    class PotentialCalculator(Calculator):  # type: ignore[misc]
        """One potential of boltzgen."""

        implemented_properties = ["energy", "free_energy", "forces"]

        def __init__(self, potential: Potential, device: torch.device | str) -> None:
            super().__init__()
            self.potential, self.device = potential.to(device), device

        def calculate(
            self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            held: Any = self.atoms
            if held.pbc.any():
                raise UnsupportedError("boltzgen treats one molecule without a box; set atoms.pbc = False.")
            x = torch.tensor(
                held.positions[None] * NM_PER_ANGSTROM,
                dtype=torch.float64,
                device=self.device,
                requires_grad=True,
            )
            energy = self.potential.energy(x)
            if not bool(torch.isfinite(energy)):
                raise CalculationFailed("The energy of this conformation is not finite.")
            (gradient,) = torch.autograd.grad(energy.sum(), x)
            electronvolt = float(energy.detach()) / ELECTRONVOLT
            forces = -gradient[0].cpu().numpy() * NM_PER_ANGSTROM / ELECTRONVOLT
            self.results = {"energy": electronvolt, "free_energy": electronvolt, "forces": forces}

    return PotentialCalculator
