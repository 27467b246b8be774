"""What a prepared molecule may not be, and what to do about it.

Every check raises an `InputError` or `UnsupportedError` of one or two sentences that names the residue and
atom, or returns without a word.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.formats.pdb_text import STANDARD_RESIDUES
from boltzgen.system.graph.adjacency import adjacency, connected_pieces

if TYPE_CHECKING:
    import openmm
    from openmm import app

    from boltzgen.system.formats.readers import RawMolecule

#: nm; two atoms nearer than this overlap.
OVERLAP_DISTANCE = 0.05

WATER_NAMES = frozenset("HOH WAT SOL TIP3 TIP4 SPC H2O DOD OPC".split())

#: A parameter of a serialized System that no energy comes of.
_NOT_FINITE = re.compile(r'[a-z]\w*="-?(NaN|Infinity)"')

#: Forces of bonded terms: how many terms one has, the method that gives one, the places of its atoms.
_OF_DIFFERENT_ATOMS = {
    "HarmonicBondForce": ("getNumBonds", "getBondParameters", (slice(0, 2),)),
    "HarmonicAngleForce": ("getNumAngles", "getAngleParameters", (slice(0, 3),)),
    "PeriodicTorsionForce": ("getNumTorsions", "getTorsionParameters", (slice(0, 4),)),
    "RBTorsionForce": ("getNumTorsions", "getTorsionParameters", (slice(0, 4),)),
    "CMAPTorsionForce": ("getNumTorsions", "getTorsionParameters", (slice(1, 5), slice(5, 9))),
    "NonbondedForce": ("getNumExceptions", "getExceptionParameters", (slice(0, 2),)),
    "CustomBondForce": ("getNumBonds", "getBondParameters", (slice(0, 2),)),
    "CustomAngleForce": ("getNumAngles", "getAngleParameters", (slice(0, 3),)),
    "CustomTorsionForce": ("getNumTorsions", "getTorsionParameters", (slice(0, 4),)),
    "CustomNonbondedForce": ("getNumExclusions", "getExclusionParticles", (slice(0, 2),)),
    "CustomGBForce": ("getNumExclusions", "getExclusionParticles", (slice(0, 2),)),
}

#: H B C N O F Si P S Cl Se Br I: what molecules of this kind are made of.
SUPPORTED_ELEMENTS = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53})


def label_of(atom: app.topology.Atom) -> str:
    """How messages call an atom: residue name and number, atom name, running number from 1."""
    return f"{atom.residue.name} {atom.residue.id} {atom.name} (atom {atom.index + 1})"


def check_box(raw: RawMolecule) -> None:
    """Refuse periodic boxes."""
    if not raw.box:
        return
    out = f"{raw.path.stem}-nobox{raw.path.suffix}"
    commands = {
        "pdb": f"sed '/^CRYST1/d' {_quote(raw.path)} > {out}",
        "mmcif": f"sed '/^_cell\\./d' {_quote(raw.path)} > {out}",
        "amber": _parmed(raw, "s.box = None", "nobox.prmtop"),
        "xml": "createSystem(topology, nonbondedMethod=NoCutoff), then XmlSerializer.serialize",
    }
    raise UnsupportedError(
        f"{raw.path} declares a periodic box; boltzgen samples one molecule without a box. If the box may "
        f"go, rebuild without it: `{commands[raw.kind]}`."
    )


def check_solvent(raw: RawMolecule) -> None:
    """Refuse explicit water and ions, with the command that strips them."""
    from openmm import app

    bonded = {atom.index for bond in raw.topology.bonds() for atom in bond}
    waters, ions = [], []
    for residue in raw.topology.residues():
        atoms = list(residue.atoms())
        if residue.name.upper() in WATER_NAMES:
            waters.append(residue)
        elif len(atoms) == 1 and atoms[0].index not in bonded and raw.topology.getNumAtoms() > 1:
            element = atoms[0].element
            if isinstance(element, app.Element) and element.symbol not in ("H", "C", "N", "O"):
                ions.append(residue)
    for what, found in (("water", waters), ("ions", ions)):
        if found:
            names = sorted({residue.name for residue in ions} | (WATER_NAMES if waters else set()))
            raise UnsupportedError(
                f"{raw.path} holds explicit {what} ({len(found)} of them, the first {found[0].name} "
                f"{found[0].id}); boltzgen samples one molecule, in vacuum or implicit solvent. Strip: "
                f"`{_strip_command(raw, names)}`."
            )


def _strip_command(raw: RawMolecule, names: list[str]) -> str:
    """A shell command that writes the file anew without residues of these `names` and without a box."""
    path, names_list = raw.path, "|".join(names)
    columns = "|".join(sorted({f"{name[:4]:>3s}" for name in names} | {f"{name[:3]:<3s}" for name in names}))
    commands = {
        "pdb": f"grep -vE '^CRYST1|^(ATOM  |HETATM).{{11}}({columns})' {_quote(path)} > {path.stem}-dry.pdb",
        "mmcif": f"grep -vE '^_cell|^(ATOM|HETATM) .* ({names_list}) ' {_quote(path)} > {path.stem}-dry.cif",
        "amber": _parmed(raw, f"s.strip(':{','.join(names)}'); s.box = None", "dry.prmtop"),
        "gromacs": _parmed(raw, f"s.strip(':{','.join(names)}'); s.box = None", "dry.top"),
        "xml": "build the System again from a topology without them, then XmlSerializer.serialize",
    }
    return commands[raw.kind]


def _parmed(raw: RawMolecule, change: str, out: str) -> str:
    second = out.replace("prmtop", "inpcrd") if out.endswith("prmtop") else out.replace(".top", ".gro")
    return (
        f'python -c "import parmed; s = parmed.load_file({str(raw.path)!r}, xyz={str(raw.coordinates)!r}); '
        f'{change}; s.save({out!r}); s.save({second!r})"'
    )


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def check_positions(topology: app.Topology, positions: np.ndarray, path: Path) -> None:
    """Refuse zero atoms, non-finite coordinates and overlapping atoms."""
    atoms = list(topology.atoms())
    if not atoms:
        raise InputError(f"{path} holds no atoms; is it the right file?")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: the coordinates of {label_of(atoms[bad[0]])} are not finite (NaN or "
            f"infinity){f', nor those of {len(bad) - 1} more' if len(bad) > 1 else ''}. Rebuild the "
            "structure."
        )
    pair = closest_pair(positions)
    if pair is not None and pair[2] < OVERLAP_DISTANCE:
        raise InputError(
            f"{path}: {label_of(atoms[pair[0]])} and {label_of(atoms[pair[1]])} overlap, {pair[2]:.4f} nm "
            f"apart (less than {OVERLAP_DISTANCE} nm). Remove the duplicate or alternate location, or "
            "rebuild the structure."
        )


def closest_pair(positions: np.ndarray) -> tuple[int, int, float] | None:
    """Indices and distance (nm) of the two nearest atoms of `positions` (N, 3); None for one atom."""
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        return None
    distances, found = cKDTree(positions).query(positions, k=2)
    one = int(np.argmin(distances[:, 1]))
    other = int(found[one, 1] if found[one, 0] == one else found[one, 0])
    return min(one, other), max(one, other), float(distances[one, 1])


def check_isotopes(raw: RawMolecule) -> None:
    """Refuse deuterium and tritium in a PDB or mmCIF, with the command that leaves those atoms out."""
    if raw.kind not in ("pdb", "mmcif"):
        return
    stated = [site.element.upper() for site in raw.stated or ()]
    elements = ["" if atom.element is None else atom.element.symbol for atom in raw.topology.atoms()]
    if len(stated) == len(elements):
        elements = [own or read for own, read in zip(stated, elements, strict=True)]
    names = {"D": "deuterium", "T": "tritium"}
    found = [(atom, element) for atom, element in zip(raw.topology.atoms(), elements) if element in names]
    if not found:
        return
    atom, element = found[0]
    out = f"{raw.path.stem}-light{raw.path.suffix}"
    raise InputError(
        f"{raw.path}: {label_of(atom)} is {names[element]}, one of {len(found)}, which force fields do not "
        "know; free energies of conformations do not depend on masses. Leave these atoms out: "
        f"`{_isotope_command(raw)} {_quote(raw.path)} > {_quote(Path(out))}`, then prepare {out} with "
        "`add_hydrogens=True`."
    )


def _isotope_command(raw: RawMolecule) -> str:
    """A shell command that prints a PDB or mmCIF file without deuterium and tritium."""
    if raw.kind == "mmcif":
        lines = raw.path.read_text(encoding="utf-8").splitlines()
        items = [line.strip() for line in lines if line.startswith("_atom_site.")]
        column = items.index("_atom_site.type_symbol") + 1
        return f"awk '!(/^(ATOM|HETATM)/ && ${column} ~ /^[DT]$/)'"
    if any(site.element for site in raw.stated or ()):
        return "grep -vE '^(ATOM  |HETATM).{70} [DT]'"
    return "grep -vE '^(ATOM  |HETATM).{6} ?[0-9]?D'"


def element_warnings(topology: app.Topology, path: Path, *, strict: bool) -> list[str]:
    """Refuse (or, when not `strict`, warn about) unknown and unsupported elements."""
    notes = []
    unknown = [atom for atom in topology.atoms() if atom.element is None]
    if unknown and strict:
        raise InputError(
            f"{path}: {label_of(unknown[0])} has no element; write its symbol into columns 77-78 of the PDB "
            "line."
        )
    if unknown:
        notes.append(
            f"{len(unknown)} atoms have no element ({label_of(unknown[0])}, ...); chemistry checks skip them."
        )
    for atom in topology.atoms():
        if atom.element is not None and atom.element.atomic_number not in SUPPORTED_ELEMENTS:
            sentence = f"{path}: {label_of(atom)} is {atom.element.name}, which is not supported"
            if strict:
                raise UnsupportedError(
                    f"{sentence}: supported are H B C N O F Si P S Cl Se Br I. Remove it, or bring the "
                    "molecule as a System XML, where elements are not checked."
                )
            notes.append(f"{sentence} by the chemistry checks; the System XML decides.")
    return notes


def mirrored_residues(topology: app.Topology, positions: np.ndarray) -> list[str]:
    """A note about amino acids that go by the name of an L residue and have the hand of a D one."""
    both: list[bool] = []
    found = []
    for residue in topology.residues():
        place = {atom.name: positions[atom.index] for atom in residue.atoms()}
        if residue.name in STANDARD_RESIDUES and {"N", "CA", "C", "CB"} <= set(place):
            arms = [place[name] - place["CA"] for name in ("N", "C", "CB")]
            both.append(bool(np.linalg.det(arms) < 0))
            found += [f"{residue.name}{residue.id}"] if both[-1] else []
    if not found:
        return []
    shown = ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")
    which = "Every chiral residue is a D amino acid" if all(both) else "D amino acids"
    return [f"{which}: {shown}. The hand is kept in every sample; if L is meant, mirror the structure."]


def residues_with_lonely_atoms(topology: app.Topology) -> list[app.topology.Residue]:
    """Residues with an atom that no bond joins to another; none in a topology of one atom."""
    if topology.getNumAtoms() == 1:
        return []
    bonded = {atom.index for bond in topology.bonds() for atom in bond}
    return [r for r in topology.residues() if any(atom.index not in bonded for atom in r.atoms())]


def check_bonds_given(topology: app.Topology, path: Path) -> None:
    """Refuse an atom without any bond: its CONECT records are missing, or its name is not known."""
    bonded = {atom.index for bond in topology.bonds() for atom in bond}
    records = "CONECT" if path.suffix.lower() in (".pdb", ".ent") else "_struct_conn"
    for residue in residues_with_lonely_atoms(topology):
        lonely = [atom for atom in residue.atoms() if atom.index not in bonded]
        names = Counter(atom.name for atom in residue.atoms())
        if names[lonely[0].name] > 1:
            raise InputError(
                f"{path}: residue {residue.name} {residue.id} has {names[lonely[0].name]} atoms called "
                f"{lonely[0].name}. Give each residue a number of its own, and each of its atoms a name."
            )
        if residue.name not in STANDARD_RESIDUES and residue.name.upper() in STANDARD_RESIDUES:
            capitals = "awk '/^(ATOM|HETATM)/ {$0 = toupper($0)} 1'"
            raise InputError(
                f"{path}: residue {residue.name} {residue.id} is written in small letters, and names are "
                f"capitals ({residue.name.upper()}). Write them so: `{capitals} {_quote(path)} > "
                f"{path.stem}-capitals{path.suffix}`."
            )
        if residue.name not in STANDARD_RESIDUES:
            raise InputError(
                f"{path}: residue {residue.name} {residue.id} has atoms without bonds (first "
                f"{lonely[0].name}): of residues that are no standard ones the file must state the bonds, in "
                f"{records} records. Add them, for example `obabel {_quote(path)} -O {path.stem}-bonds.pdb`, "
                "with a force field that has the residue; or give a small molecule as SDF or `smiles`."
            )
        known = _names_of_standard(residue.name)
        atom = next((atom for atom in lonely if atom.name not in known), None)
        if atom is None:
            raise InputError(
                f"{path}: {label_of(lonely[0])} has no bond: the atoms that {residue.name} binds it to are "
                f"missing, or have other names. Check the names of the residue's atoms ({', '.join(names)})."
            )
        unused = [name for name in known if name not in names][:12]
        raise InputError(
            f"{path}: {label_of(atom)} has no bond: its name is not one that {residue.name} has, and no "
            f"{records} record names it. Rename it (names that {residue.name} has and this residue does not: "
            f"{', '.join(unused) or 'none'}), remove it if it is too much, or add {records} records."
        )


def _names_of_standard(residue: str) -> list[str]:
    """The names of the atoms of a standard residue in OpenMM's table of bonds."""
    from openmm.app import Topology

    if not Topology._hasLoadedStandardBonds:
        Topology().createStandardBonds()
    bonds = Topology._standardBonds.get(residue, [])
    return list(dict.fromkeys(name for bond in bonds for name in bond if name[0] not in "-+"))


def check_one_molecule(n_atoms: int, bonds: np.ndarray, labels: list[str], path: Path | str) -> None:
    """Refuse a graph of several pieces."""
    pieces = connected_pieces(adjacency(n_atoms, bonds))
    if len(pieces) > 1:
        sizes = ", ".join(f"{len(piece)} atoms from {labels[piece[0]]}" for piece in pieces[:4])
        raise UnsupportedError(
            f"{path} holds {len(pieces)} molecules that no bond joins "
            f"({sizes}{', ...' if len(pieces) > 4 else ''}); boltzgen samples one. Keep one molecule in the "
            "file, or add the CONECT records of the bonds that are missing."
        )


def check_terms(system: openmm.System, labels: list[str], path: Path | str) -> None:
    """Refuse bonds, angles, torsions and exclusions that name an atom twice: OpenMM takes them all the same.

    Also parameters that are not finite, and a CustomGBForce without the values that its energy is of.
    """
    damaged = _NOT_FINITE.search(serialize_system(system))
    if damaged is not None:
        raise InputError(f"{path}: a parameter is not a finite number ({damaged[0]}); mend it.")
    for force in system.getForces():
        if type(force).__name__ == "CustomGBForce" and not force.getNumComputedValues():
            raise InputError(f"{path}: its CustomGBForce computes no values; the file is damaged.")
        count, parameters, places = _OF_DIFFERENT_ATOMS.get(type(force).__name__, (None, None, ()))
        if count is None or parameters is None:
            continue
        for index in range(getattr(force, count)()):
            term = getattr(force, parameters)(index)
            for atoms in (term[place] for place in places):
                if len(set(atoms)) < len(atoms) or not all(0 <= atom < len(labels) for atom in atoms):
                    named = ", ".join(labels[a] if 0 <= a < len(labels) else f"atom {a}" for a in atoms)
                    raise InputError(
                        f"{path}: term {index} of its {type(force).__name__} joins {named}: not {len(atoms)} "
                        "different atoms of the file, which is damaged. Write it again."
                    )


def check_system(system: openmm.System, labels: list[str], path: Path | str) -> None:
    """Refuse virtual sites, Drude particles, massless particles, constraints and periodic boundaries."""
    remedy = "Build the System again with {} and serialize it (or write prmtop/top) anew."
    for force in system.getForces():
        if "Drude" in type(force).__name__:
            index = force.getParticleParameters(0)[0] if force.getNumParticles() else 0
            raise UnsupportedError(
                f"{path} holds Drude particles (DrudeForce, first {labels[index]}), whose positions are not "
                f"degrees of freedom of their own. {remedy.format('a non-polarizable force field')}"
            )
    for index in range(system.getNumParticles()):
        if system.isVirtualSite(index):
            raise UnsupportedError(
                f"{path}: {labels[index]} is a virtual site, whose position follows from other atoms. "
                f"{remedy.format('a force field without virtual sites')}"
            )
        if system.getParticleMass(index)._value <= 0:
            raise UnsupportedError(
                f"{path}: {labels[index]} has no mass, so it is frozen or a dummy. "
                f"{remedy.format('a mass for every atom')}"
            )
    if system.getNumConstraints():
        first, second, distance = system.getConstraintParameters(0)
        raise UnsupportedError(
            f"{path} holds {system.getNumConstraints()} constraints (the first keeps {labels[first]} and "
            f"{labels[second]} {distance._value:.4f} nm apart); boltzgen samples every bond. "
            f"{remedy.format('constraints=None and rigidWater=False')}"
        )
    if system.usesPeriodicBoundaryConditions():
        names = [type(f).__name__ for f in system.getForces() if f.usesPeriodicBoundaryConditions()]
        raise UnsupportedError(
            f"{path}: {names[0]} uses periodic boundary conditions; boltzgen samples one molecule without a "
            f"box. {remedy.format('nonbondedMethod=NoCutoff')}"
        )
