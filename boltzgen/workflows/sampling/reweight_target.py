"""Where samples are reweighted to: another energy of the same atoms, compared with what the samples hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.reweighted import candidates
from boltzgen.errors import InputError
from boltzgen.generator import temperature_of
from boltzgen.potentials.base import Potential
from boltzgen.potentials.model_systems import by_name
from boltzgen.potentials.of_system import potential_of, require_invariance
from boltzgen.system.formats.pdb_text import parse_bonds, parse_elements
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.subjects import words_of

MODEL = "model:"

#: Rows whose hand or isomer is read at once; and the share of rows outside, at most, that rounding explains.
_ROWS, _OUTSIDE_BY_ROUNDING = 4096, 0.01


@dataclass(frozen=True, eq=False)
class NewTarget:
    """The energy that the samples get.

    Attributes
    ----------
    name: the folder or ``model:NAME``. temperature: K, of the new weights; kT of a model's units otherwise.
    reason: (n,) str, why a row of the samples lies outside the target's domain; ``""`` elsewhere.
    subject: what figures say that it is, see `boltzgen.workflows.subjects`.
    """

    name: str
    fingerprint: str
    topology_pdb: str
    potential: Potential
    temperature: float
    reason: np.ndarray
    subject: dict[str, str]

    def reduced_energy(self, positions: np.ndarray) -> np.ndarray:
        """u (m,) of stored positions; NaN or infinite where the energy is not defined."""
        x = torch.as_tensor(np.array(positions), dtype=torch.float64)
        with torch.no_grad():
            return np.asarray(self.potential.reduced_energy(x, self.temperature), dtype=np.float64)

    def close(self) -> None:
        self.potential.close()


def new_target(folder: Path, ensemble: Ensemble, to: str | None, temperature: float | None) -> NewTarget:
    """The target `to` (SYS, ``model:NAME``; None: the model of the samples) for the samples in `folder`.

    InputError when its atoms, their order, elements, bonds or isomers differ from those of the samples.
    """
    kelvin = temperature or temperature_of(ensemble)
    name = to or ensemble.system_fingerprint
    if ensemble.is_molecular == name.startswith(MODEL):
        what = "a molecule" if ensemble.is_molecular else "a model system"
        raise InputError(
            f"{folder} holds samples of {what}, and `to={name!r}` is none; name one of its kind."
        )
    if not ensemble.is_molecular:
        return _model(folder, ensemble, name, kelvin)
    system = MolecularSystem.load(name)
    _require_same_atoms(folder, ensemble, name, system)
    reason = _outside(folder, ensemble, name, system)
    potential = potential_of(system)
    require_invariance(potential, system.name)
    words = words_of(name, system)
    return NewTarget(name, system.fingerprint, system.topology_pdb, potential, kelvin, reason, words)


def _model(folder: Path, ensemble: Ensemble, name: str, kelvin: float) -> NewTarget:
    potential = by_name(name.removeprefix(MODEL))
    dimension = ensemble.positions.shape[1]
    if potential.dimension != dimension:
        raise InputError(
            f"{folder} holds points of {dimension} coordinates, {name} has {potential.dimension}; "
            "the two must agree."
        )
    inside = np.full(len(ensemble), "")
    return NewTarget(name, name, "", potential, kelvin, inside, words_of(name, None))


@dataclass(frozen=True)
class _Atom:
    name: str
    element: str

    def __str__(self) -> str:
        return f"{self.element or 'an atom without element'} ({self.name})"


def _require_same_atoms(folder: Path, ensemble: Ensemble, name: str, system: MolecularSystem) -> None:
    old, new = _atoms(ensemble.topology_pdb), _atoms(system.topology_pdb)
    if len(old) != len(new) or ensemble.positions.shape[1] != system.n_atoms:
        raise InputError(
            f"{folder} has {ensemble.positions.shape[1]} atoms, {name} has {system.n_atoms}; reweighting "
            "needs the same atoms in the same order."
        )
    for number, (one, other) in enumerate(zip(old, new, strict=True)):
        if one.element != other.element:
            raise InputError(
                f"atom {number} is {one} in {folder} and {other} in {name}; reweighting needs the same atoms "
                "in the same order."
            )
    bonds = set(map(tuple, system.bonds.tolist()))
    differing = sorted(parse_bonds(ensemble.topology_pdb) ^ bonds)
    if differing:
        first, second = differing[0]
        raise InputError(
            f"atoms {first} ({old[first].name}) and {second} ({old[second].name}) are bonded in only one of "
            f"{folder} and {name}; reweighting needs one molecule with its atoms in one order."
        )


def _atoms(topology_pdb: str) -> list[_Atom]:
    return [_Atom(name, element) for name, element in parse_elements(topology_pdb)]


def _outside(folder: Path, ensemble: Ensemble, name: str, system: MolecularSystem) -> np.ndarray:
    """Why rows lie outside the domain of `system`; InputError when its domain is not that of the samples."""
    isomers = "free" if ensemble.domain.startswith("isomers: free") else "reference"
    coordinates = InternalCoordinates(system, isomers=isomers)
    rows = np.flatnonzero(candidates(ensemble))
    outside = np.zeros(len(ensemble), dtype=np.int64)
    for start in range(0, len(rows), _ROWS):
        chosen = rows[start : start + _ROWS]
        positions = torch.as_tensor(np.array(ensemble.positions[chosen]), dtype=torch.float64)
        outside[chosen] = coordinates.domain(positions).numpy()
    reason = np.array(coordinates.reasons)[outside]
    lost = int(np.count_nonzero(outside))
    other = "," in ensemble.domain and ensemble.domain != coordinates.domain_label  # early folders: no comma
    if other or lost > max(1.0, _OUTSIDE_BY_ROUNDING * len(rows)):
        raise InputError(
            f"{folder} and {name} differ in their domain, that is in hand, isomers or labels of hydrogens "
            f"({lost} of {len(rows)} samples lie outside that of {name}); prepare it from the same structure."
        )
    return reason
