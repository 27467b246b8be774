"""Files in, a `RawMolecule` out: what each format states, before any check of its chemistry."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.formats.bounds import check_counts, read_text
from boltzgen.system.formats.gromacs.reader import GromacsTopology
from boltzgen.system.formats.locations import with_chosen_locations
from boltzgen.system.formats.numbers import is_whole
from boltzgen.system.formats.openmm_xml import deserialize_system
from boltzgen.system.formats.parsing import parsing
from boltzgen.system.formats.pdb_text import atom_lines, first_cut_line
from boltzgen.system.formats.prmtop_flags import check_flags, pointers
from boltzgen.system.formats.prmtop_values import check_values
from boltzgen.system.formats.protonation import with_common_names
from boltzgen.system.formats.sites import Site, check_columns, gro_sites, mmcif_sites, pdb_sites, used_sites

if TYPE_CHECKING:
    import openmm
    from openmm import app

#: What `kind_of` can answer, in words for people.
KINDS = {
    "pdb": "PDB",
    "mmcif": "mmCIF",
    "amber": "Amber prmtop",
    "gromacs": "GROMACS top",
    "xml": "OpenMM System XML",
    "sdf": "SDF",
    "mol2": "Tripos mol2",
    "sequence": "sequence",
    "smiles": "SMILES",
}
_SUFFIXES = {
    ".pdb": "pdb",
    ".ent": "pdb",
    ".cif": "mmcif",
    ".mmcif": "mmcif",
    ".pdbx": "mmcif",
    ".prmtop": "amber",
    ".parm7": "amber",
    ".top": "gromacs",
    ".xml": "xml",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".mol": "sdf",
    ".mol2": "mol2",
}
_COORDINATES = {
    ".gro": "gromacs",
    ".inpcrd": "amber",
    ".rst7": "amber",
    ".crd": "amber",
    ".rst": "amber",
}

_SEVERAL_MODELS = "{} holds several models; the first is used."


@dataclass(frozen=True)
class RawMolecule:
    """What the files say.

    kind: a key of `KINDS`.
    path, coordinates: the files that were given; coordinates None where one file holds all.
    topology: OpenMM topology; its bonds are the file's.
    positions: (N, 3) nm.
    system: the OpenMM System, when the file states it (XML); otherwise None.
    box: whether the files declare a periodic box.
    maker: for Amber and GROMACS, the OpenMM reader that creates the System.
    notes: what people should know.
    smiles: of a small molecule, as it was understood, stereo included.
    own, stated: the atoms by the names of an Amber or GROMACS topology, and by those of the coordinates,
        before any reader renames them; None where a file has no names.
    stereo: of a small molecule, a `small_molecule.stereo.Stereo`.
    parameters: where those come from that were made here, JSON types only; None where a file brings them.
    """

    kind: str
    path: Path
    topology: app.Topology
    positions: np.ndarray
    system: openmm.System | None = None
    box: bool = False
    maker: Any = None
    notes: tuple[str, ...] = field(default=())
    coordinates: Path | None = None
    smiles: str | None = None
    own: tuple[Site, ...] | None = None
    stated: tuple[Site, ...] | None = None
    stereo: Any = None
    parameters: Mapping[str, Any] | None = None


def kind_of(path: Path) -> str:
    """Which format `path` is, by its suffix (and first line, where a suffix has two meanings).

    Raises
    ------
    InputError: no such file, a folder, an empty file, or a suffix that is not known.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such file; give a PDB, mmCIF, prmtop, top, System XML, SDF or mol2 file, `sequence` "
            "or `smiles`."
        )
    if not path.is_file():
        raise InputError(
            f"{path} is not a file; give a PDB, mmCIF, prmtop, top, System XML, SDF or mol2 file, `sequence` "
            "or `smiles`."
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); write or download it again.")
    suffix = path.suffix.lower()
    if suffix in _COORDINATES:
        raise InputError(
            f"{path} holds coordinates only; give the {KINDS[_COORDINATES[suffix]]} file as `source` and "
            f'this one, `coordinates="{path.name}"`.'
        )
    if suffix not in _SUFFIXES:
        raise InputError(
            f"{path}: the suffix {suffix or '(none)'} is not known; expected one of {', '.join(_SUFFIXES)}."
        )
    if suffix == ".top" and read_text(path).lstrip().startswith("%VERSION"):
        return "amber"
    return _SUFFIXES[suffix]


def read_molecule(path: Path, coordinates: Path | None, include: Path | None = None) -> RawMolecule:
    """Read `path` and, for formats that need one, the file of coordinates.

    Raises
    ------
    InputError: a file is missing, truncated, does not parse, or does not fit the other.
    """
    kind = kind_of(path)
    needs = {"amber": "inpcrd, or a PDB", "gromacs": "gro, or a PDB", "xml": "a PDB"}
    if kind in needs and coordinates is None:
        raise InputError(
            f"{path} ({KINDS[kind]}) holds no coordinates; add `coordinates=FILE` ({needs[kind]})."
        )
    if kind not in needs and coordinates is not None:
        raise InputError(f"{path} already holds coordinates; leave out `coordinates={str(coordinates)!r}`.")
    suffix = "" if coordinates is None else coordinates.suffix.lower()
    if kind in needs and kind != "xml" and _COORDINATES.get(suffix, kind) != kind:
        raise InputError(f"{coordinates} goes with another kind than {KINDS[kind]}; give {needs[kind]}.")
    readers: dict[str, Callable[[], RawMolecule]] = {
        "pdb": lambda: read_pdb(path),
        "mmcif": lambda: _read_mmcif(path),
        "amber": lambda: _read_amber(path, _given(coordinates)),
        "gromacs": lambda: _read_gromacs(path, _given(coordinates), include),
        "xml": lambda: _read_xml(path, _given(coordinates)),
    }
    return replace(readers[kind](), coordinates=coordinates)


def _given(path: Path | None) -> Path:
    assert path is not None  # read_molecule has checked it
    return path


def read_pdb(path: Path) -> RawMolecule:
    """A PDB file; its first model, and of alternate locations those with the highest occupancy."""
    from openmm.app import PDBFile

    text = read_text(path)
    notes = []
    if not atom_lines(text):
        raise InputError(f"{path} holds no atoms (no ATOM or HETATM line); is it a PDB file?")
    cut = first_cut_line(text)
    if cut is not None:
        raise InputError(
            f"{path} is truncated: line {cut[0]} ({cut[1]!r}) ends before its coordinates. Write it again."
        )
    if not text.endswith("\n") and "END" not in text[-10:]:
        notes.append(f"{path.name} has no END record; check that it is complete.")
    if text.count("\nMODEL ") + text.startswith("MODEL ") > 1:
        notes.append(_SEVERAL_MODELS.format(path.name))
    with parsing(path, "a PDB file") as said:
        text, chosen = with_chosen_locations(text, "pdb")
        pdb = PDBFile(io.StringIO(with_common_names(text, "pdb")))
        positions = _nanometres(pdb.getPositions(asNumpy=True))
        sites = pdb_sites(text)
    notes += [f"{path.name} holds {note}" for note in chosen]
    return _of_structure("pdb", path, pdb.topology, positions, sites, [*notes, *said])


def _read_mmcif(path: Path) -> RawMolecule:
    from openmm.app import PDBxFile

    text = read_text(path)
    if "_atom_site." not in text:
        raise InputError(
            f"{path} holds no atoms (no _atom_site records); is it an mmCIF file of a structure?"
        )
    with parsing(path, "an mmCIF file") as said:
        text, chosen = with_chosen_locations(text, "mmcif")
        cif = PDBxFile(io.StringIO(with_common_names(text, "mmcif")))
        positions = _nanometres(cif.getPositions(asNumpy=True))
        sites, models = mmcif_sites(text)
    notes = [_SEVERAL_MODELS.format(path.name)] if models > 1 else []
    notes += [f"{path.name} holds {note}" for note in chosen]
    return _of_structure("mmcif", path, cif.topology, positions, sites, [*notes, *said])


def _of_structure(
    kind: str, path: Path, topology: app.Topology, positions: np.ndarray, sites: list[Site], notes: list[str]
) -> RawMolecule:
    """A PDB or mmCIF file, once it is sure that the reader has dropped nothing but alternate locations."""
    stated = used_sites(sites, positions, path)
    return RawMolecule(
        kind, path, topology, positions, box=_real_box(topology), notes=tuple(notes), stated=stated
    )


def _read_amber(path: Path, coordinates: Path) -> RawMolecule:
    from openmm.app import AmberInpcrdFile, AmberPrmtopFile
    from openmm.app.internal.amber_file_parser import PrmtopLoader

    text = read_text(path)
    for section in ("POINTERS", "ATOM_NAME", "CHARGE", "MASS", "BONDS_WITHOUT_HYDROGEN", "AMBER_ATOM_TYPE"):
        if f"%FLAG {section}" not in text:
            raise InputError(
                f"{path} has no section {section}: it is truncated or no prmtop file. Write it again."
            )
    check_counts(pointers(text), text, path)
    with parsing(path, "an Amber prmtop file"):
        sections = PrmtopLoader(str(path))._raw_data
    notes = check_flags(sections, path)
    check_values(sections, path)
    with parsing(path, "an Amber prmtop file") as said:
        prmtop = AmberPrmtopFile(str(path))
        box = bool(prmtop._prmtop.getIfBox())
    notes += said
    structure = _structure(coordinates)
    if structure is not None:
        positions = structure.positions
        notes += structure.notes
    else:
        head = "".join(read_text(coordinates).splitlines()[1:2]).split()
        with parsing(coordinates, "an Amber inpcrd file") as said:
            check_counts(map(int, head[:1]), read_text(coordinates), coordinates)
            inpcrd = AmberInpcrdFile(str(coordinates))
            positions = _nanometres(inpcrd.getPositions(asNumpy=True))
        notes += said
        if inpcrd.boxVectors is not None and not box:
            notes.append(f"{coordinates.name} holds a box, {path.name} does not; the box is left out.")
    _same_count(len(positions), prmtop.topology.getNumAtoms(), coordinates, path)
    names = [(atom.residue.name, name) for atom, name in zip(prmtop.topology.atoms(), sections["ATOM_NAME"])]
    return RawMolecule(
        "amber",
        path,
        prmtop.topology,
        positions,
        box=box,
        maker=prmtop,
        notes=tuple(notes),
        own=_own_sites(prmtop.topology, names),
        stated=None if structure is None else structure.stated,
    )


def _own_sites(topology: app.Topology, names: list[tuple[str, str]]) -> tuple[Site, ...]:
    """The atoms by a topology's own (residue, atom) names."""
    return tuple(
        Site(residue, str(atom.residue.id), name)
        for atom, (residue, name) in zip(topology.atoms(), names, strict=True)
    )


def _read_gromacs(path: Path, coordinates: Path, include: Path | None) -> RawMolecule:
    from openmm.app import GromacsGroFile

    read_text(path)
    with parsing(path, "a GROMACS topology") as notes:
        top = GromacsTopology(path, include)
    notes += top.notes
    box, structure = False, _structure(coordinates)
    if structure is not None:
        positions, stated = structure.positions, structure.stated
        notes += structure.notes
    else:
        text = read_text(coordinates)
        lines = text.splitlines()
        count = lines[1].strip() if len(lines) > 1 else ""
        if not is_whole(count) or not 0 < int(count) <= len(lines) - 3:
            raise InputError(
                f"{coordinates} is truncated: it holds fewer lines than its second line says. Write it again."
            )
        check_columns(text, coordinates)
        with parsing(coordinates, "a GROMACS gro file") as said:
            gro = GromacsGroFile(str(coordinates))
            positions = _nanometres(gro.getPositions(asNumpy=True))
            stated = tuple(gro_sites(text))
            vectors = gro.getPeriodicBoxVectors()
            box = vectors is not None and any(
                abs(component) > 1e-6 for v in vectors for component in v._value
            )
        notes += said
    _same_count(len(positions), top.topology.getNumAtoms(), coordinates, path)
    if box:
        notes.append(f"{coordinates.name} states a box, as its format demands; it is left out.")
    return RawMolecule(
        "gromacs",
        path,
        top.topology,
        positions,
        maker=top,
        notes=tuple(notes),
        own=_own_sites(top.topology, top.names),
        stated=stated,
    )


def _read_xml(path: Path, coordinates: Path) -> RawMolecule:
    system = deserialize_system(read_text(path), str(path))
    suffix = coordinates.suffix.lower()
    if _SUFFIXES.get(suffix) not in ("pdb", "mmcif"):
        raise InputError(
            f"`coordinates={str(coordinates)!r}`: a System XML needs a PDB or mmCIF file with its atoms in "
            "order."
        )
    raw = read_pdb(coordinates) if _SUFFIXES[suffix] == "pdb" else _read_mmcif(_existing(coordinates))
    _same_count(len(raw.positions), system.getNumParticles(), coordinates, path)
    return RawMolecule(
        "xml",
        path,
        raw.topology,
        raw.positions,
        system=system,
        box=system.usesPeriodicBoundaryConditions(),
        notes=raw.notes,
        stated=raw.stated,
    )


def _structure(path: Path) -> RawMolecule | None:
    """A PDB or mmCIF file of coordinates; None when `path` is another format."""
    kind = _SUFFIXES.get(_existing(path).suffix.lower())
    if kind not in ("pdb", "mmcif"):
        return None
    return read_pdb(path) if kind == "pdb" else _read_mmcif(path)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check `coordinates`.")
    return path


def _same_count(found: int, expected: int, path: Path, owner: Path) -> None:
    if found != expected:
        raise InputError(
            f"{path} holds {found} atoms, {owner} holds {expected}; give the coordinates of the same atoms "
            "in the same order."
        )


def _nanometres(quantity: Any) -> np.ndarray:
    from openmm import unit

    return np.array(quantity.value_in_unit(unit.nanometer), dtype=np.float64).reshape(-1, 3)


def _real_box(topology: app.Topology) -> bool:
    """Whether a box is more than the 1 Angstrom placeholder that non-crystal entries carry."""
    from openmm import unit

    box = topology.getUnitCellDimensions()
    return box is not None and max(box.value_in_unit(unit.nanometer)) > 0.15
