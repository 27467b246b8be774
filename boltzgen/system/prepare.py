"""`prepare`: from the files or the sequence that a user has to a checked `MolecularSystem`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import sha256_file
from boltzgen.interrupts import StopRequest
from boltzgen.provenance import versions
from boltzgen.system import checks, correspondence
from boltzgen.system.formats.bounds import read_text
from boltzgen.system.formats.locations import with_chosen_locations
from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.formats.parsing import reason_of
from boltzgen.system.formats.pdb_text import format_pdb, names_of
from boltzgen.system.formats.protonation import stated_variants
from boltzgen.system.formats.readers import KINDS, RawMolecule, kind_of, read_molecule
from boltzgen.system.graph.held_rotations import bonds_to_open
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.minimise import energy_and_minimum, minimised
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.options import PrepareOptions
from boltzgen.system.parametrise.forcefield import (
    DEFAULT_FORCEFIELD,
    IMPLICIT_MODELS,
    create_system,
    explain_missing,
    explain_unmatched,
    load_forcefield,
)
from boltzgen.system.parametrise.makers import system_of_maker
from boltzgen.system.parametrise.sequence import PeptideSequence, build_peptide, parse_sequence
from boltzgen.system.parametrise.sequence import add_hydrogens as add_missing_hydrogens
from boltzgen.system.parametrise.solvent_files import explain_solvent_file
from boltzgen.system.parametrise.surface import DEFAULT_SURFACE
from boltzgen.system.region.prepare import with_region
from boltzgen.system.small_molecule.fields import refuse_small
from boltzgen.system.small_molecule.parametrised import (
    DEFAULT_FIELD,
    SMALL_MOLECULES,
    small_molecule_system,
)
from boltzgen.system.small_molecule.stereo import split_extension
from boltzgen.system.vacuum import vacuum_notes

if TYPE_CHECKING:
    import openmm
    from openmm import app

#: kJ/mol above a nearby minimum at which the reference structure deserves a warning.
HIGH_ENERGY = 1.0e4

#: Forces that move or couple atoms but are no part of the energy.
_NO_ENERGY = ("CMMotionRemover", "AndersenThermostat")

#: A heavy atom that weighs this much more than its element (dalton) is a united atom or a bead.
_UNITED_MASS = 0.8


def prepare(
    source: str | Path | None = None,
    *,
    stop: StopRequest | None = None,
    before: Callable[[int], None] | None = None,
    **options: Any,
) -> MolecularSystem:
    """Read, parametrise and check one molecule.

    Parameters
    ----------
    source: PDB, mmCIF, Amber prmtop, GROMACS top, OpenMM System XML, SDF or mol2; None with `sequence` or
        `smiles`.
    stop: polled while other programs work; raises StoppedError. before: told the number of atoms before
        charges are computed, which may take minutes; may raise.
    options: the fields of `PrepareOptions`.

    Returns
    -------
    A system whose ``provenance["warnings"]`` lists what is doubtful.

    Raises
    ------
    InputError, UnsupportedError: one sentence naming file, residue, atom and remedy.
    """
    asked = PrepareOptions(**options)
    asked.check(source)
    stop, before = stop or StopRequest(), before or (lambda atoms: None)
    raw, system, notes = _read_and_parametrise(source, asked, stop, before)
    correspondence.check_masses(raw, system)
    labels = [checks.label_of(atom) for atom in raw.topology.atoms()]
    checks.check_terms(system, labels, raw.path)
    bonds, bond_notes = correspondence.bonds_of(raw, system)
    checks.check_system(system, labels, raw.path)
    checks.check_one_molecule(len(labels), bonds, labels, raw.path)
    notes += bond_notes + _remove_motion_removers(system)
    if raw.kind not in ("sequence", "smiles"):
        correspondence.check_lengths(raw, system, bonds)
    built = asked.sequence is not None or asked.smiles is not None
    relax = built if asked.minimize is None else asked.minimize
    positions = minimised(system, raw.positions, bonds) if relax else raw.positions
    energy, energy_notes = _check_energy(system, positions, str(raw.path))
    provenance: dict[str, Any] = {
        "input": _input_record(raw, _path(asked.coordinates)),
        "options": {
            "forcefield": _forcefield_of(raw, asked),
            "implicit": asked.implicit,
            **({} if asked.surface == DEFAULT_SURFACE else {"surface": asked.surface}),
            **({} if asked.charges is None else {"charges": Path(asked.charges).name}),
            **({} if asked.radii is None else {"radii": asked.radii}),
            "constraints": asked.constraints,
            "add_hydrogens": asked.add_hydrogens,
            "ph": asked.ph,
            "minimize": relax,
        },
        "versions": versions(
            "boltzgen", "openmm", "numpy", *(["rdkit"] if raw.kind in SMALL_MOLECULES else [])
        ),
        **({} if raw.parameters is None else {"parameters": raw.parameters}),
        "reference_energy_kj_mol": energy,
        "warnings": [*raw.notes, *notes, *energy_notes],
    }
    if raw.kind not in SMALL_MOLECULES:
        provenance["warnings"] += checks.mirrored_residues(raw.topology, positions)
    name = asked.name or _default_name(raw, asked)
    assembled = _assemble(name, raw.topology, system, positions, bonds, provenance)
    if asked.free_rotations:
        graph = MolecularGraph.from_system(assembled)
        opened = bonds_to_open(graph, assembled.atom_names, asked.free_rotations)
        assembled = replace(assembled, free_rotations=opened)
        provenance["options"]["free_rotations"] = list(asked.free_rotations)
        if not opened:
            words = list(asked.free_rotations)
            provenance["warnings"].append(
                f"`free_rotations={words}` opens nothing: no such rotation is held."
            )
    if raw.stereo is not None:
        graph = MolecularGraph.from_system(assembled)
        assembled.provenance["warnings"] += raw.stereo.notes(graph, str(raw.path))
    system_of_record = with_region(replace(assembled, energy_model=asked.energy_model()), asked)
    system_of_record.provenance["warnings"] += vacuum_notes(system_of_record)
    return system_of_record


def _read_and_parametrise(
    source: str | Path | None, asked: PrepareOptions, stop: StopRequest, before: Callable[[int], None]
) -> tuple[RawMolecule, openmm.System, list[str]]:
    if asked.smiles is not None or (source is not None and kind_of(Path(source)) in SMALL_MOLECULES):
        path = None if source is None else Path(source)
        return small_molecule_system(path, asked, stop=stop, before=before)
    kind = "sequence" if asked.sequence is not None else kind_of(Path(str(source)))
    refuse_small(asked, f"a {KINDS[kind]}", radii=kind in ("amber", "gromacs"))
    if asked.sequence is not None:
        sequence = parse_sequence(asked.sequence, capped=asked.capped)
        return _from_sequence(sequence, asked)
    raw = read_molecule(Path(str(source)), _path(asked.coordinates), _path(asked.include))
    return _parametrise(raw, asked)


def _default_name(raw: RawMolecule, asked: PrepareOptions) -> str:
    if asked.smiles is not None:
        smiles, _, name = split_extension(asked.smiles)
        return name or smiles
    if raw.kind == "xml" and asked.coordinates is not None:
        return Path(asked.coordinates).stem
    return raw.path.name if raw.kind == "sequence" else raw.path.stem


def _forcefield_of(raw: RawMolecule, asked: PrepareOptions) -> list[str] | None:
    """The names of the force field; None when the file brings its parameters."""
    if raw.kind in SMALL_MOLECULES:
        return list(asked.forcefield or DEFAULT_FIELD)
    if raw.kind in ("sequence", "pdb", "mmcif"):
        return list(asked.forcefield or DEFAULT_FORCEFIELD)
    return None


def _assemble(
    name: str,
    topology: app.Topology,
    system: openmm.System,
    positions: np.ndarray,
    bonds: np.ndarray,
    provenance: dict[str, Any],
) -> MolecularSystem:
    """The record; what the masses say about united atoms joins the warnings."""
    numbers, notes = _atomic_numbers(topology, system)
    provenance["warnings"] += notes
    symbols = [atom.element.symbol if number else "" for atom, number in zip(topology.atoms(), numbers)]
    return MolecularSystem(
        name=name,
        atomic_numbers=np.array(numbers),
        masses=np.array([system.getParticleMass(index)._value for index in range(len(numbers))]),
        bonds=bonds,
        reference_positions=positions,
        system_xml=serialize_system(system),
        topology_pdb=format_pdb(names_of(topology), symbols, positions, bonds),
        provenance=provenance,
    )


def _from_sequence(
    sequence: PeptideSequence, asked: PrepareOptions
) -> tuple[RawMolecule, openmm.System, list[str]]:
    ph, implicit = asked.ph, asked.implicit
    field = load_forcefield(asked.forcefield or DEFAULT_FORCEFIELD, implicit)
    try:
        topology, positions = build_peptide(sequence, field, ph=ph)
    except (ValueError, KeyError) as error:
        explain_solvent_file(error, implicit, f"the sequence {sequence}")
        complaint = " ".join(str(error).split()).split(". ")[0].rstrip(".")
        raise InputError(
            f"The force field does not fit the sequence {sequence} with the hydrogens of `ph={ph:g}`: "
            f"{complaint}. Cap or lengthen the sequence, or give another `ph` or `forcefield`."
        ) from error
    label = f"the sequence {sequence}"
    system = create_system(field, topology, implicit, label, surface=asked.surface, added=True)
    raw = RawMolecule("sequence", Path(str(sequence)), topology, positions, notes=sequence.notes)
    return raw, system, []


def _parametrise(raw: RawMolecule, asked: PrepareOptions) -> tuple[RawMolecule, openmm.System, list[str]]:
    """The System of a file, after the checks of its structure."""
    implicit = asked.implicit
    strict = raw.kind != "xml"
    checks.check_isotopes(raw)
    checks.check_positions(raw.topology, raw.positions, raw.path)
    checks.check_solvent(raw)
    checks.check_box(raw)
    notes = checks.element_warnings(raw.topology, raw.path, strict=strict)
    notes += correspondence.check_order(raw)
    if raw.kind in ("pdb", "mmcif"):
        return _with_forcefield(raw, asked, notes)
    for given, name in ((bool(asked.forcefield), "forcefield"), (asked.add_hydrogens, "add_hydrogens")):
        if given:
            raise InputError(
                f"{raw.path} ({KINDS[raw.kind]}) already holds atoms and parameters; leave out `{name}`, or "
                "start from a PDB."
            )
    if raw.system is not None:
        if implicit != "none":
            raise InputError(f"{raw.path} is a System XML, whose energy is complete; leave out `implicit`.")
        if raw.system.getNumForces() == 0:
            raise InputError(f"{raw.path} holds particles but no forces; serialize the complete System.")
        return raw, raw.system, notes
    if implicit.endswith(".xml"):
        raise InputError(
            f"`implicit={implicit!r}` goes with OpenMM force fields; for {KINDS[raw.kind]} use "
            f"{', '.join(IMPLICIT_MODELS)}."
        )
    system, solvent_notes = system_of_maker(raw, implicit, asked.surface, asked.radii)
    return raw, system, notes + solvent_notes


def _with_forcefield(
    raw: RawMolecule, asked: PrepareOptions, notes: list[str]
) -> tuple[RawMolecule, openmm.System, list[str]]:
    field = load_forcefield(asked.forcefield or DEFAULT_FORCEFIELD, asked.implicit)
    label = str(raw.path)
    explain_missing(field, checks.residues_with_lonely_atoms(raw.topology), label)
    checks.check_bonds_given(raw.topology, raw.path)
    topology, positions = raw.topology, raw.positions
    if asked.add_hydrogens:
        try:
            text, _ = with_chosen_locations(read_text(raw.path), raw.kind)
            variants = stated_variants(text, raw.kind, topology, label)
            topology, positions = add_missing_hydrogens(
                topology, positions, field, ph=asked.ph, variants=variants
            )
        except (ValueError, KeyError) as error:
            explain_solvent_file(error, asked.implicit, label)
            explain_unmatched(field, topology, label, before_hydrogens=True)
            raise InputError(
                f"{label}: hydrogens cannot be added ({reason_of(error).split('. ')[0]}). "
                "Check the names of its residues and atoms, or bring the molecule as prmtop or System XML."
            ) from error
        checks.check_positions(topology, positions, raw.path)
    system = create_system(
        field, topology, asked.implicit, label, surface=asked.surface, added=asked.add_hydrogens
    )
    return RawMolecule(raw.kind, raw.path, topology, positions, notes=raw.notes), system, notes


def _remove_motion_removers(system: openmm.System) -> list[str]:
    notes = []
    for index in reversed(range(system.getNumForces())):
        kind = type(system.getForce(index)).__name__
        if kind in _NO_ENERGY:
            system.removeForce(index)
            notes.append(f"{kind} was taken out of the System: it is no energy.")
    return notes


def _check_energy(system: openmm.System, positions: np.ndarray, label: str) -> tuple[float, list[str]]:
    energy, minimum, _ = energy_and_minimum(system, positions, iterations=50)
    if not np.isfinite(energy):
        raise InputError(
            f"{label}: the energy of the structure is not finite; atoms overlap or a parameter is damaged."
        )
    if np.isfinite(minimum) and energy - minimum > HIGH_ENERGY:
        return energy, [
            f"The structure lies {energy - minimum:.0f} kJ/mol above a nearby minimum; add `minimize=True` "
            "or check it."
        ]
    return energy, []


def _atomic_numbers(topology: app.Topology, system: openmm.System) -> tuple[list[int], list[str]]:
    """Atomic numbers; 0 where the element is unknown or the mass is that of a united atom."""
    numbers, united = [], []
    for atom in topology.atoms():
        mass = system.getParticleMass(atom.index)._value
        number = 0 if atom.element is None else atom.element.atomic_number
        if number > 1 and mass > atom.element.mass._value + _UNITED_MASS:
            united.append(atom)
            number = 0
        numbers.append(number)
    if not united:
        return numbers, []
    return numbers, [
        f"{len(united)} atoms weigh more than their element ({checks.label_of(united[0])}, ...) and count as "
        "united atoms."
    ]


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _input_record(raw: RawMolecule, coordinates: Path | None) -> dict[str, Any]:
    if raw.kind == "sequence":
        return {"kind": "sequence", "sequence": str(raw.path)}
    if raw.kind == "smiles":
        return {"kind": "smiles", "smiles": raw.smiles}
    record: dict[str, Any] = {"kind": raw.kind, "file": raw.path.name, "sha256": sha256_file(raw.path)}
    if raw.smiles is not None:
        record["smiles"] = raw.smiles
    if coordinates is not None:
        record |= {"coordinates": coordinates.name, "coordinates_sha256": sha256_file(coordinates)}
    return record
