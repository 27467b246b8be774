"""Observables by name, of any positions: what ``free-energy observable`` averages, one row a conformation.

A torsion has no arithmetic mean, so a torsion `phi` is observed as ``cos(phi)`` and ``sin(phi)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed import contacts, couplings, dipoles, shapes, vicinal
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule, Observable
from boltzgen.free_energy.variables import Variable, ready_variable
from boltzgen.system.terms.charges import partial_charges
from boltzgen.system.torsion_names import READY_NAMES

if TYPE_CHECKING:
    import mdtraj

    from boltzgen.system.molecular_system import MolecularSystem

#: Samples that are measured at once.
_AT_ONCE = 10_000

#: What is measured, by the first part of its name.
MEASURES: dict[str, Callable[[Asked, Molecule], Measure]] = {
    **dict.fromkeys(shapes.SHAPES, shapes.shape),
    "rg-mass": shapes.massive_gyration,
    "dipole": dipoles.dipole,
    "dipole-rms": dipoles.dipole,
    **dict.fromkeys(couplings.PEPTIDE, couplings.peptide_coupling),
    "J3-HCCH": vicinal.vicinal_coupling,
    "J3": couplings.declared_coupling,
    "noe": contacts.noe,
    "hbond": contacts.hydrogen_bonds,
}

#: Those that need charges or masses, which the topology of samples does not hold.
NEED_SYSTEM = ("rg-mass", "dipole", "dipole-rms")


def values_of_frames(
    names: Sequence[str],
    positions: np.ndarray,
    molecule: MolecularSystem,
    declared: Mapping[str, Variable] | None = None,
) -> list[Observable]:
    """`observables` of frames (n, N, 3) nm of a prepared molecule."""
    return observables(names, positions, molecule_of(molecule), declared or {})


def molecule_of(system: MolecularSystem) -> Molecule:
    """What measures need of a prepared molecule."""
    charges, missing = None, "its force field states none."
    if system.energy_model.region is not None:
        missing = "those of the machine-learned region are not known."
    else:
        charges = partial_charges(system.openmm_system())
    return Molecule(system.mdtraj_topology(), charges, system.masses, missing)


def observables(
    names: Sequence[str],
    positions: np.ndarray,
    molecule: Molecule | None,
    declared: Mapping[str, Variable],
) -> list[Observable]:
    """The observables `names` of `positions` (n, N, 3) nm, or (n, d) of a model system (molecule None).

    A name is one of `MEASURES` with what belongs to it (`boltzgen.free_energy.observed.observable`), a
    ready torsion (``phi``, ``psi:3``), ``x0`` ... in a model system, or a coordinate of `declared`.
    InputError with the nearest known name for any other. Rows that are not finite have NaN.
    """
    found: list[Observable] = []
    for name in names:
        asked = None if molecule is None or name in declared else Asked.of(name)
        if molecule is not None and asked is not None and asked.base in MEASURES:
            found += _measured(MEASURES[asked.base](asked, molecule), positions)
        else:
            topology = None if molecule is None else molecule.topology
            found += _of_variable(_variable(name, topology, positions.shape[1], declared), positions)
    return found


def _of_variable(variable: Variable, positions: np.ndarray) -> list[Observable]:
    values = variable.evaluate(positions)
    if not variable.periodic:
        return [Observable(variable.name, variable.unit or "1", values)]
    angle = np.radians(values)
    return [
        Observable(f"cos({variable.name})", "1", np.cos(angle)),
        Observable(f"sin({variable.name})", "1", np.sin(angle)),
    ]


def _variable(
    name: str, topology: mdtraj.Topology | None, dimension: int, declared: Mapping[str, Variable]
) -> Variable:
    if name in declared:
        return declared[name]
    base = name.partition(":")[0].partition("(")[0]
    if topology is not None and base not in (*READY_NAMES, "chi"):
        known = [*MEASURES, *READY_NAMES, *declared]
        near = difflib.get_close_matches(base, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"unknown observable {name!r}{hint}; known are {', '.join(known)}.")
    return ready_variable(name, topology, dimension)


def _measured(measure: Measure, positions: np.ndarray) -> list[Observable]:
    finite = np.isfinite(positions.reshape(len(positions), -1)).all(axis=1)
    rows = np.flatnonzero(finite)
    whole = np.full((len(positions), len(measure.names)), np.nan)
    for start in range(0, len(rows), _AT_ONCE):
        chosen = rows[start : start + _AT_ONCE]
        whole[chosen] = measure.evaluate(positions[chosen])
    further = measure.further or ({},) * len(measure.names)
    return [
        Observable(name, measure.unit, column, measure.power, extra, measure.note)
        for name, column, extra in zip(measure.names, whole.T, further, strict=True)
        if not measure.seen_only or name == measure.names[0] or np.any(column > 0)
    ]
