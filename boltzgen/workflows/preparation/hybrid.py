"""The part of `prepare` that tries a hybrid's energy before anything relies on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.region.division import only_internal_terms, without_internal_terms

if TYPE_CHECKING:
    from boltzgen.potentials.hybrid import HybridPotential

#: Relative; how well the force field's energy must add up from its two parts.
DIVISION_TOLERANCE = 1e-6

#: nm; standard deviations of the conformations on which it is tried, beside the reference.
PERTURBATIONS = (0.002, 0.005, 0.01)


#: kJ/mol; what turning the molecule as a whole may change by (calculators with grids are not better).
TURNING_TOLERANCE = 0.1


@dataclass(frozen=True)
class HybridSummary:
    """What people are told of a hybrid: its region, backend, link hydrogens and checks, each a few words."""

    region: str
    potential: str
    links: str
    check: str


def option_words(words: Sequence[str]) -> dict[str, str]:
    """Options from words such as ``solvent=water``; InputError for a word without =, or one given twice."""
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise InputError(f"`ml_options`: {word!r} is not of the form key=value, such as solvent=water.")
        if key in options:
            raise InputError(f"`ml_options`: {key!r} is given twice; give it once.")
        options[key] = value
    return options


def check_hybrid(system: MolecularSystem) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Try the hybrid energy of `system`: a record for ``hybrid_check`` in system.json, and warnings.

    Forces are compared with differences of the energy, and the force field must add up from what is inside
    the region and what is not, by OpenMM Reference.

    Raises
    ------
    InputError, UnsupportedError: the backend cannot treat the region. BoltzgenError: a check fails.
    """
    from boltzgen.potentials.hybrid import HybridPotential, check_forces
    from boltzgen.potentials.of_system import potential_of

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        potential = potential_of(system)
        assert isinstance(potential, HybridPotential)
        try:
            record = {**check_forces(potential, system.reference_positions), **_division(system)}
            record["energy_change_by_turning_kj_mol"] = _change_by_turning(potential, system)
        finally:
            potential.close()
    said = [" ".join(str(entry.message).split()) for entry in caught if entry.category is UserWarning]
    return record, tuple(dict.fromkeys(said))


def _change_by_turning(potential: HybridPotential, system: MolecularSystem) -> float:
    """Change of the energy, kJ/mol, when the molecule is moved and turned as a whole.

    UnsupportedError when that is more than rounding: internal coordinates do not say where a molecule is.
    """
    import torch

    x = np.asarray(system.reference_positions, dtype=np.float64)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))  # a rotation, not a reflection
    with torch.no_grad():
        energies = potential.energy(torch.tensor(np.stack([x, x @ turn.T + 0.3])))
    change = float((energies[1] - energies[0]).abs())
    if not change <= TURNING_TOLERANCE + 1e-5 * float(energies[0].abs()):
        assert system.energy_model.region is not None
        raise UnsupportedError(
            f"`ml={system.energy_model.region.backend!r}`: the energy of {system.name!r} changes by "
            f"{change:.3g} kJ/mol when the molecule moves and turns as a whole, which internal coordinates "
            "cannot describe; make the potential depend on distances and angles only."
        )
    return change


def _division(system: MolecularSystem) -> dict[str, float]:
    """How well ``U_MM = U_MM(without the region's internal terms) + U_MM(these alone)`` holds, relative."""
    from boltzgen.potentials.from_openmm.reference import reference_energies

    region = system.energy_model.region
    assert region is not None
    whole, x = system.openmm_system(), system.reference_positions
    noise = np.random.default_rng(1).normal(size=(len(PERTURBATIONS), *x.shape))
    positions = np.concatenate([x[None], x + noise * np.array(PERTURBATIONS)[:, None, None]])
    parts = (without_internal_terms(whole, region.atoms), only_internal_terms(whole, region.atoms))
    total, rest, inner = (reference_energies(part, positions)[0] for part in (whole, *parts))
    worst = float((np.abs(total - rest - inner) / np.maximum(1.0, np.abs(rest) + np.abs(inner))).max())
    if not worst <= DIVISION_TOLERANCE:
        raise BoltzgenError(
            f"The force field of {system.name!r} does not add up from its parts inside and outside the "
            f"region (relative difference {worst:.1e}), so the hybrid would be wrong. Please "
            "report this system."
        )
    return {"max_relative_division_difference": worst}


def hybrid_summary(system: MolecularSystem) -> HybridSummary | None:
    """The words for a hybrid whose checks are in the provenance of `system`; None when it is none."""
    region = system.energy_model.region
    if region is None:
        return None
    names = system.atom_names
    worst = system.provenance["hybrid_check"]["max_relative_force_difference"]
    atoms = "all atoms" if len(region.atoms) == system.n_atoms else f"{len(region.atoms)} atoms"
    options = ", ".join(f"{key}={word}" for key, word in region.options.items() if key != "file_sha256")
    cuts = [f"{names[link.inside]} - {names[link.outside]}" for link in region.links]
    return HybridSummary(
        region=f"{atoms}: {names[region.atoms[0]]} to {names[region.atoms[-1]]}",
        potential=f"{region.backend} ({options})",
        links=f"{len(cuts)}{': ' if cuts else ''}{', '.join(cuts)}",
        check=f"forces agree with differences of the energy to {worst:.0e} (relative)",
    )
