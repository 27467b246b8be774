"""Trajectories made elsewhere: DCD, XTC, TRR, HDF5 and NetCDF, read through MDTraj and checked first.

What is checked, in this order: the file is whole; atoms agree in number, element and order; no frame
is NaN; no bond is torn over a periodic boundary; every centre has the hand of the reference; no bond is
constrained; coordinates are not rounded. Each failure is one sentence that says what to do.
Their energies are unknown (NaN): nothing proves that the force field was the same.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.data.checks import (
    broken_bonds,
    check_spread,
    constrained_bonds,
    misplaced_atoms,
    rounding_grid,
    wrong_hands,
)
from boltzgen.data.constrained import resampled_bonds
from boltzgen.data.framing import READER_FAULTS, check_whole
from boltzgen.data.hdf5 import read_hdf5
from boltzgen.data.record import Trajectory
from boltzgen.data.structures import read_sdf, read_xyz
from boltzgen.data.temperatures import (
    HDF5_SUFFIXES,
    NETCDF_SUFFIXES,
    settled_temperatures,
    stated_temperatures,
)
from boltzgen.data.xtc import read_xtc
from boltzgen.errors import InputError
from boltzgen.system.formats.mdtraj_hdf5 import record_elements
from boltzgen.system.formats.parsing import reason_of
from boltzgen.system.graph.mirror import placed_by_hands
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem

if TYPE_CHECKING:
    import mdtraj

FORMATS = (".dcd", ".xtc", ".trr", *HDF5_SUFFIXES, *NETCDF_SUFFIXES)

#: Fewer frames than this cannot tell a stiff bond from a constrained one.
_FEWEST_FRAMES = 10


def read_foreign(
    path: str | Path,
    system: MolecularSystem,
    *,
    temperature: float | None = None,
    topology: str | Path | None = None,
    resample_constrained_bonds: bool = False,
    seed: int = 0,
) -> Trajectory:
    """The frames of `path`, a trajectory of `system` made by another program.

    Args:
        temperature: K; needed unless the file says it (HDF5 and NetCDF may). A file that says it is believed;
            one that says nothing of `temperature` is refused, with both numbers.
        topology: the trajectory's own topology (PDB, prmtop, gro...), compared atom by atom when given.
        resample_constrained_bonds: draw the length of each constrained bond anew from its harmonic term
            (``p(b) ~ b^2 exp(-k (b - b0)^2 / 2kT)``), instead of refusing; `seed` is for these draws.

    Raises InputError, and warns (UserWarning) of rounded coordinates.
    """
    path = Path(path)
    positions, cell = _load(path, system, topology)
    _check_finite(path, positions, system)
    _check_order(path, positions, cell, system)
    _check_whole(path, positions, system)
    _check_hands(path, positions, system)
    temperatures = settled_temperatures(path, stated_temperatures(path), temperature, len(positions))
    _warn_of_rounding(path, positions)
    if len(positions) < _FEWEST_FRAMES:
        warnings.warn(
            f"{path}: {len(positions)} frames are too few to see whether bonds were constrained.",
            stacklevel=2,
        )
    elif len(fixed := constrained_bonds(positions, system, float(temperatures.min()))):
        if not resample_constrained_bonds:
            raise InputError(
                f"{path}: {len(fixed)} bonds were constrained, the first {_named(system, fixed[0])}; "
                "simulate without constraints, or ask for resample_constrained_bonds."
            )
        rng = np.random.default_rng(seed)
        positions = resampled_bonds(positions, fixed, system, temperatures, rng)
    return Trajectory(
        positions,
        np.full(len(positions), np.nan),
        temperatures,
        np.zeros(len(positions), dtype=np.int64),
    )


def read_structures(path: str | Path, system: MolecularSystem) -> np.ndarray:
    """Conformations ``(frames, atoms, 3)`` nm of `system`: SDF, XYZ (many frames too), or any trajectory.

    No temperature is asked, and constrained bonds and rounded coordinates are no matter: these are starts.
    Equal terminal atoms (labelled hydrogens) are interchanged where a centre has the wrong hand.

    Raises InputError where atoms, bonds or hands are not those of `system`.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; expected an SDF, an XYZ file or a trajectory.")
    reader = {".sdf": read_sdf, ".mol": read_sdf, ".xyz": read_xyz}.get(path.suffix.lower())
    if reader is None and path.suffix.lower() not in FORMATS:
        known = ", ".join([".sdf", ".xyz", *FORMATS])
        raise InputError(f"{path}: the format {path.suffix!r} is unknown; give one of {known}.")
    positions, cell = (reader(path, system), None) if reader else _load(path, system, None)
    _check_finite(path, positions, system)
    _check_order(path, positions, cell, system)
    _check_whole(path, positions, system)
    positions = placed_by_hands(MolecularGraph.from_system(system), np.asarray(positions, dtype=float))
    _check_hands(path, positions, system)
    return positions


def _load(
    path: Path, system: MolecularSystem, topology: str | Path | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions ``(frames, atoms, 3)`` nm, and cell edges ``(frames, 3)`` nm or None."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: the format {path.suffix!r} is unknown; give one of {', '.join(FORMATS)}.")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a trajectory.")
    if topology is not None:
        _check_elements(Path(topology), _elements_of(_topology(Path(topology))), system)
    if path.suffix.lower() in HDF5_SUFFIXES:
        record, names = read_hdf5(path)
        _check_count(path, record.n_atoms, system)
        if names and topology is None:
            _check_elements(path, _elements_in(names, path), system)
        _check_frames(path, len(record))
        return record.positions, None
    loaded = _load_with_mdtraj(path, system)
    return loaded.xyz, loaded.unitcell_lengths


def _load_with_mdtraj(path: Path, system: MolecularSystem) -> mdtraj.Trajectory:
    import mdtraj

    check_whole(path, system.n_atoms)
    try:
        if path.suffix.lower() == ".xtc":
            positions, cells = read_xtc(path)
            loaded = mdtraj.Trajectory(positions, system.mdtraj_topology())
            loaded.unitcell_vectors = cells
        else:
            loaded = mdtraj.load(str(path), top=system.mdtraj_topology())
    except ValueError as error:
        if "atoms" in str(error):
            raise InputError(
                f"{path} does not have the {system.n_atoms} atoms of {system.name!r} ({reason_of(error)}); "
                "strip solvent, or give the system that was simulated."
            ) from error
        raise InputError(f"{path} cannot be read ({reason_of(error)}); copy it anew.") from error
    except READER_FAULTS as error:
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); it may be truncated, copy it anew."
        ) from error
    _check_count(path, loaded.n_atoms, system)
    _check_frames(path, loaded.n_frames)
    return loaded


def _topology(path: Path) -> mdtraj.Topology:
    import mdtraj

    try:
        return mdtraj.load_topology(str(path))
    except READER_FAULTS as error:
        raise InputError(f"{path} cannot be read as a topology ({reason_of(error)}); give a PDB.") from error


def _elements_in(record: dict[str, Any], path: Path) -> list[str]:
    """The elements that the topology in an HDF5 file names."""
    try:
        return record_elements(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: its topology is not that of MDTraj's format ({error!r}); write the file anew, "
            "without a topology or with MDTraj's."
        ) from error


def _elements_of(topology: mdtraj.Topology) -> list[str]:
    return [a.element.symbol if a.element is not None else "VS" for a in topology.atoms]


def _check_elements(path: Path, elements: list[str], system: MolecularSystem) -> None:
    _check_count(path, len(elements), system)
    expected = _elements_of(system.mdtraj_topology())
    for index, (here, wanted) in enumerate(zip(elements, expected, strict=True)):
        if "VS" not in (here, wanted) and here != wanted:
            raise InputError(
                f"{path}: atom {index} is {here}, in {system.name!r} it is {wanted} "
                f"({system.atom_names[index]}); put the atoms into the order of the system."
            )


def _check_count(path: Path, count: int, system: MolecularSystem) -> None:
    if count != system.n_atoms:
        raise InputError(
            f"{path} has {count} atoms, the system {system.name!r} has {system.n_atoms}; "
            "strip solvent, or give the system that was simulated."
        )


def _check_frames(path: Path, count: int) -> None:
    if count == 0:
        raise InputError(f"{path} holds no frames; give a trajectory with at least one.")


def _check_finite(path: Path, positions: np.ndarray, system: MolecularSystem) -> None:
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"{path}: {len(bad)} frames, the first of them {bad[0]}, have coordinates that are not finite; "
            "cut them out."
        )
    check_spread(path, positions, system)


def _check_order(path: Path, positions: np.ndarray, cell: np.ndarray | None, system: MolecularSystem) -> None:
    pair = misplaced_atoms(positions, cell, system)
    if pair is not None:
        raise InputError(
            f"{path}: the bonded atoms {_named(system, pair)} are not at bonding distance in most frames, "
            "so the atoms are probably in another order than in the system; reorder them."
        )


def _check_whole(path: Path, positions: np.ndarray, system: MolecularSystem) -> None:
    found = broken_bonds(positions, system)
    if found is not None:
        frame, pair, length = found
        raise InputError(
            f"{path}: in frame {frame} the bond {_named(system, pair)} is {length:.2f} nm long, torn over a "
            "periodic boundary; make the molecule whole first (mdtraj: make_molecules_whole)."
        )


def _check_hands(path: Path, positions: np.ndarray, system: MolecularSystem) -> None:
    found = wrong_hands(positions, system)
    if found is not None:
        atom, count, stereocentre = found
        what = "the other hand" if stereocentre else "its equivalent neighbours interchanged (hydrogens)"
        raise InputError(
            f"{path}: atom {_named(system, (atom,))} has {what}, compared with the reference, "
            f"in {count} of {len(positions)} frames; give the same isomer, with the same labels."
        )


def _warn_of_rounding(path: Path, positions: np.ndarray) -> None:
    grid = rounding_grid(positions)
    if grid is not None:
        warnings.warn(
            f"{path}: coordinates are rounded to {grid:g} nm, so energies computed from them scatter "
            "(0.8 kT for alanine dipeptide at 0.001 nm); never use them for weights.",
            stacklevel=3,
        )


def _named(system: MolecularSystem, atoms: tuple[int, ...] | np.ndarray) -> str:
    return " - ".join(f"{system.atom_names[int(a)]} ({int(a)})" for a in atoms)
