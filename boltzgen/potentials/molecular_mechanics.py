"""The molecular-mechanics potential: terms, their sum, and the parameters behind them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.compiled import BlockCompiler
from boltzgen.potentials.fast.evaluate import Blocks
from boltzgen.potentials.fast.fused import AngleKernel, BondKernel, Kernel, TorsionKernel
from boltzgen.potentials.fast.fused_pairs import PairKernel
from boltzgen.potentials.fast.value_with_gradient import ValueWithGradient, check_positions
from boltzgen.potentials.records.parameters import ForceFieldParameters
from boltzgen.potentials.terms.cmap import CorrectionMapKernel, CorrectionMapTerm
from boltzgen.potentials.terms.custom_gb import CustomBorn
from boltzgen.potentials.terms.custom_term import AutogradKernel, BlockTerm
from boltzgen.potentials.terms.expression_term import ExpressionTerm
from boltzgen.potentials.terms.generalized_born import GeneralizedBorn
from boltzgen.potentials.terms.native import (
    HarmonicAngle,
    HarmonicBond,
    Nonbonded,
    PeriodicTorsion,
    Term,
)
from boltzgen.potentials.terms.surface_area import SurfaceArea


def _terms(parameters: ForceFieldParameters) -> list[Term]:
    terms: list[Term] = []
    if len(parameters.bond_atoms):
        terms.append(HarmonicBond(parameters))
    if len(parameters.angle_atoms):
        terms.append(HarmonicAngle(parameters))
    if len(parameters.torsion_atoms):
        terms.append(PeriodicTorsion(parameters))
    terms.extend(CorrectionMapTerm(maps) for maps in parameters.cmap)
    if parameters.has_nonbonded:
        terms.append(Nonbonded(parameters))
    if parameters.solvent is not None:
        terms.append(GeneralizedBorn(parameters.solvent))
    terms.extend(CustomBorn(custom) for custom in parameters.custom_gb)
    terms.extend(SurfaceArea(area) for area in parameters.surface_area)
    terms.extend(ExpressionTerm(force) for force in parameters.custom)
    return terms


def _kernels(p: ForceFieldParameters, terms: list[Term]) -> list[Kernel]:
    """The kernels that `p` needs; of `terms`, those without a kernel of their own are run by autograd."""
    chosen: list[Kernel] = []
    if len(p.bond_atoms):
        chosen.append(BondKernel(p))
    if len(p.angle_atoms):
        chosen.append(AngleKernel(p))
    if len(p.torsion_atoms):
        chosen.append(TorsionKernel(p))
    chosen.extend(CorrectionMapKernel(p.n_atoms, maps) for maps in p.cmap)
    if p.has_nonbonded or p.solvent is not None:
        pairs = PairKernel(p)
        if pairs.rows:  # every pair may be excluded: a triatomic, or the rest of a hybrid
            chosen.append(pairs)
    for term in terms:
        if isinstance(term, BlockTerm):
            chosen.append(AutogradKernel(term.block_energy, term.rows))
    return chosen


class MolecularMechanics(Potential):
    """A classical force field, batched, in kJ/mol.

    Energies come in the dtype and on the device of the positions; the parameters are kept in
    float64 and cast, so the module has no state to move or to save.
    """

    energy_unit = "kJ/mol"

    def __init__(self, parameters: ForceFieldParameters) -> None:
        super().__init__()
        self.force_field = parameters
        terms = _terms(parameters)
        self.terms = nn.ModuleList(terms)
        self.invariant = all(term.invariant for term in terms)
        self._blocks = Blocks(_kernels(parameters, terms))

    @property
    def n_atoms(self) -> int:
        return self.force_field.n_atoms

    def energy(self, positions: Tensor) -> Tensor:
        """Energy (batch,) in kJ/mol of `positions` (batch, N, 3) in nm; differentiable once.

        A row with coincident atoms, NaN or huge coordinates has an energy of inf or NaN and a
        gradient of zero. For second derivatives use `energy_plain`.
        """
        check_positions(positions, self.n_atoms)
        return ValueWithGradient.apply(positions, self._blocks.energy_and_gradient)

    def bonded_energy(self, positions: Tensor) -> Tensor:
        """Bond, angle and torsion terms (impropers included) only: (batch, N, 3) nm -> (batch,) kJ/mol.

        Differentiable twice.
        """
        check_positions(positions, self.n_atoms)
        return sum((term(positions) for term in self._term_list() if term.bonded), _zeros(positions))

    def energy_and_gradient(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (batch,) kJ/mol and dE/dx (batch, N, 3) kJ/mol/nm, outside autograd."""
        check_positions(positions, self.n_atoms)
        energy, gradient = self._blocks.energy_and_gradient(positions, want_gradient=True)
        assert gradient is not None
        return energy, gradient

    @property
    def compilable_rows(self) -> int:
        return self._blocks.rows

    def use_compiler(self, enabled: bool = True) -> None:
        self._blocks.compiler = BlockCompiler() if enabled else None

    def energy_plain(self, positions: Tensor) -> Tensor:
        """The definition of record: the sum of the terms by plain autograd, differentiable twice."""
        check_positions(positions, self.n_atoms)
        return sum((term(positions) for term in self._term_list()), _zeros(positions))

    def energy_by_term(self, positions: Tensor) -> dict[str, Tensor]:
        """Energy (batch,) in kJ/mol by name: bond, angle, torsion, cmap, nonbonded, solvent, ..."""
        check_positions(positions, self.n_atoms)
        energies: dict[str, Tensor] = {}
        for term in self._term_list():
            energy = term(positions)
            energies[term.name] = energies[term.name] + energy if term.name in energies else energy
        return energies

    def _term_list(self) -> list[Term]:
        return cast("list[Term]", list(self.terms))


def _zeros(positions: Tensor) -> Tensor:
    return torch.zeros(len(positions), dtype=positions.dtype, device=positions.device)
