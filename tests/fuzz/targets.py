"""What is damaged, how it is read, and who checks what was accepted.

A target is a small folder of sound files, one of which is damaged, and a function that reads the folder as
users do. What it refuses must be one sentence; what it accepts is compared with another reader (`verify`).
"""

from __future__ import annotations

import functools
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from fuzz.frames import frames, parameters
from fuzz.target import Target
from openmm import app, unit

from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

TESTS = Path(__file__).resolve().parents[1]
FILES = TESTS / "cases" / "files"
EXAMPLES = TESTS.parent / "boltzgen" / "examples"
ALANINE = EXAMPLES / "alanine-dipeptide" / "alanine-dipeptide.pdb"


def _potential(system: openmm.System, positions: Any) -> float:
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def _accepted(system: MolecularSystem) -> tuple[np.ndarray, float]:
    """Positions (N, 3) nm and energy kJ/mol of what `prepare` made."""
    openmm_system = openmm.XmlSerializer.deserialize(system.system_xml)
    return system.reference_positions, _potential(openmm_system, system.reference_positions)


def _differ(ours: float, theirs: float, what: str) -> str | None:
    """A complaint about energies (kJ/mol) apart by more than 1e-5 relative and 1e-4 absolute."""
    if np.isfinite(theirs) and abs(ours - theirs) > 1e-4 + 1e-5 * abs(theirs):
        return f"accepted with {ours:.6f} kJ/mol, {what} says {theirs:.6f}"
    return None


def _misplaced(ours: np.ndarray, theirs: np.ndarray, what: str) -> str | None:
    """A complaint about positions (N, 3) nm that are not the same set of points."""
    if ours.shape != theirs.shape:
        return f"accepted {len(ours)} atoms, {what} reads {len(theirs)}"
    first, second = (x[np.lexsort(np.round(x, 5).T)] for x in (ours, theirs))
    worst = float(np.abs(first - second).max())
    return f"an atom lies {worst:.5f} nm from where {what} reads it" if worst > 2e-5 else None


# ---- structures with a force field ----


def _columns(text: str) -> np.ndarray:
    """The positions of the first model of a PDB by its columns, nm; one a place of alternate locations."""
    found: dict[tuple[str, ...], list[float]] = {}
    for line in text.splitlines():
        if line.startswith("ENDMDL"):
            break
        if line.startswith(("ATOM  ", "HETATM")):
            key = (line[12:16], line[17:20], line[21], line[22:27])
            found.setdefault(key, [float(line[start : start + 8]) for start in (30, 38, 46)])
    return np.array(list(found.values())) / 10.0


def _verify_pdb(folder: Path, system: MolecularSystem) -> str | None:
    text = (folder / "input.pdb").read_text()
    return _misplaced(system.reference_positions, _columns(text), "a reader of columns")


def _mmcif() -> bytes:
    import io

    pdb = app.PDBFile(str(ALANINE))
    out = io.StringIO()
    app.PDBxFile.writeFile(pdb.topology, pdb.positions, out, keepIds=True)
    lines = [line for line in out.getvalue().splitlines() if not line.startswith("#")]  # one says the date
    return "\n".join([*lines, ""]).encode()


def _verify_mmcif(folder: Path, system: MolecularSystem) -> str | None:
    text = (folder / "input.cif").read_text()
    names = [line.strip() for line in text.splitlines() if line.startswith("_atom_site.")]
    if names != _ATOM_SITE or text.count("\n_atom_site.") != len(names):
        return None  # other columns: not for a reader that counts words
    words = text[text.index(names[-1]) + len(names[-1]) :].split()
    rows = [words[start : start + len(names)] for start in range(0, len(words), len(names))]
    theirs = np.array([[float(word) for word in row[10:13]] for row in rows]) / 10.0
    return _misplaced(system.reference_positions, theirs, "a reader of words")


#: The columns of the sound file.
_ATOM_SITE = [line.strip() for line in _mmcif().decode().splitlines() if line.startswith("_atom_site.")]


def _structures() -> list[Target]:
    pdb, heavy = (
        ALANINE.read_bytes(),
        b"".join(
            line
            for line in ALANINE.read_bytes().splitlines(keepends=True)
            if not line.rstrip().endswith(b" H")
        ),
    )
    return [
        Target("pdb", {"input.pdb": pdb}, "input.pdb", lambda f: prepare(f / "input.pdb"), _verify_pdb, 3),
        Target(
            "pdb-heavy",
            {"input.pdb": heavy},
            "input.pdb",
            lambda f: prepare(f / "input.pdb", add_hydrogens=True),
        ),
        Target(
            "mmcif",
            {"input.cif": _mmcif()},
            "input.cif",
            lambda f: prepare(f / "input.cif"),
            _verify_mmcif,
            2,
        ),
    ]


# ---- topologies with their parameters ----


def _verify_amber(folder: Path, system: MolecularSystem) -> str | None:
    """ParmEd, which reads the sections by their formats."""
    import parmed

    sys.modules["parmed.amber._rdparm"] = None  # type: ignore[assignment]  # it may end the process
    structure = parmed.load_file(str(folder / "ala.prmtop"), xyz=str(folder / "ala.inpcrd"))
    positions = np.array(structure.coordinates).reshape(-1, 3) / 10.0
    theirs = structure.createSystem(nonbondedMethod=app.NoCutoff, rigidWater=False, removeCMMotion=False)
    ours, energy = _accepted(system)
    return _misplaced(ours, positions, "ParmEd") or _differ(energy, _potential(theirs, positions), "ParmEd")


def _verify_gro(folder: Path, system: MolecularSystem) -> str | None:
    """The columns of a gro, whose width the distance of the decimal points says."""
    lines = (folder / "chain.gro").read_text().splitlines()
    atoms = lines[2 : 2 + int(lines[1])]
    first = atoms[0].index(".")
    width = atoms[0].index(".", first + 1) - first
    theirs = [[float(line[20 + i * width : 20 + (i + 1) * width]) for i in range(3)] for line in atoms]
    return _misplaced(system.reference_positions, np.array(theirs), "a reader of columns")


def _verify_xml(folder: Path, system: MolecularSystem) -> str | None:
    """OpenMM of the file as it is beside our own translation of it."""
    import torch

    from boltzgen.errors import UnsupportedError
    from boltzgen.potentials.of_system import potential_of

    text = (folder / "system.xml").read_text()
    if max(map(float, re.findall(r'k="([0-9.eE+]+)"', text)), default=0.0) > 1e9:
        return None  # nothing is left of the digits of an energy
    theirs = _potential(openmm.XmlSerializer.deserialize(text), system.reference_positions)
    try:
        ours = potential_of(system).energy(torch.from_numpy(system.reference_positions)[None])
    except UnsupportedError:
        return None
    return _differ(float(ours[0]), theirs, "OpenMM")


def _topologies() -> list[Target]:
    from gromacs_cases import GRO, PLAIN

    order, conect = FILES / "order", FILES / "conect"
    amber = {name: (order / name).read_bytes() for name in ("ala.prmtop", "ala.inpcrd")}
    gromacs = {"chain.top": PLAIN.encode(), "chain.gro": GRO.encode()}
    butane = {
        "system.xml": (EXAMPLES / "butane" / "system.xml").read_bytes(),
        "butane.pdb": (EXAMPLES / "butane" / "butane.pdb").read_bytes(),
    }
    peptide = {
        name: (EXAMPLES / "alanine-dipeptide-fab" / name).read_bytes()
        for name in ("system.xml", "topology.pdb")
    }
    ring = {
        "system.xml": (conect / "butane.xml").read_bytes(),
        "ring.pdb": (conect / "but_false.pdb").read_bytes(),
    }

    def of_amber(folder: Path) -> MolecularSystem:
        return prepare(folder / "ala.prmtop", coordinates=folder / "ala.inpcrd")

    def of_gromacs(folder: Path) -> MolecularSystem:
        return prepare(folder / "chain.top", coordinates=folder / "chain.gro")

    def of_xml(name: str) -> Callable[[Path], MolecularSystem]:
        return lambda folder: prepare(folder / "system.xml", coordinates=folder / name)

    return [
        Target("prmtop", amber, "ala.prmtop", of_amber, _verify_amber, 4),
        Target("inpcrd", amber, "ala.inpcrd", of_amber, _verify_amber, 2),
        Target("gromacs-top", gromacs, "chain.top", of_gromacs, weight=3),
        Target("gro", gromacs, "chain.gro", of_gromacs, _verify_gro, 2),
        Target("xml", butane, "system.xml", of_xml("butane.pdb"), _verify_xml, 2),
        Target("xml-peptide", peptide, "system.xml", of_xml("topology.pdb"), _verify_xml, 2),
        Target("xml-coordinates", butane, "butane.pdb", of_xml("butane.pdb")),
        Target("xml-bonds", ring, "ring.pdb", of_xml("ring.pdb"), weight=0.5),
    ]


# ---- small molecules ----


def _mmff(molecule: Any, positions: np.ndarray) -> float:
    """MMFF94 of RDKit, kJ/mol."""
    from rdkit.Chem import AllChem
    from rdkit.Geometry import Point3D

    for index, place in enumerate(positions * 10.0):
        molecule.GetConformer().SetAtomPosition(index, Point3D(*map(float, place)))
    properties = AllChem.MMFFGetMoleculeProperties(molecule)
    return 4.184 * AllChem.MMFFGetMoleculeForceField(molecule, properties, nonBondedThresh=1e6).CalcEnergy()


def _verify_sdf(folder: Path, system: MolecularSystem) -> str | None:
    from rdkit import Chem

    molecule = Chem.MolFromMolBlock((folder / "molecule.sdf").read_text().split("$$$$")[0], removeHs=False)
    if molecule is None or not molecule.GetConformer().Is3D():
        return None
    ours, energy = _accepted(system)
    positions = np.array(molecule.GetConformer().GetPositions()) / 10.0
    return _misplaced(ours, positions, "RDKit") or _differ(energy, _mmff(molecule, positions), "RDKit")


def _verify_smiles(folder: Path, system: MolecularSystem) -> str | None:
    from rdkit import Chem

    molecule = Chem.AddHs(Chem.MolFromSmiles(_line(folder, "smiles.txt").split()[0]))
    theirs = sorted(atom.GetAtomicNum() for atom in molecule.GetAtoms())
    ours = sorted(system.atomic_numbers.tolist())
    return None if ours == theirs else f"accepted the atoms {ours}, RDKit reads {theirs}"


def _line(folder: Path, name: str) -> str:
    """What stands in a file, as an argument of the command line could be."""
    return (folder / name).read_bytes().decode("utf-8", "surrogateescape").rstrip("\n")


@functools.cache
def _small_molecule(smiles: str) -> Any:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(molecule)
    return molecule


def _small_molecules() -> list[Target]:
    from rdkit import Chem
    from small_molecule_cases import tripos

    chiral, ester = _small_molecule("C[C@H](O)CCl"), _small_molecule("CC(=O)OC")
    types = [*("C.3", "C.2", "O.2", "O.3", "C.3"), *["H"] * 6]
    of_sdf: Callable[[Path], MolecularSystem] = lambda f: prepare(f / "molecule.sdf")  # noqa: E731
    v2000 = Chem.MolToMolBlock(chiral).encode() + b"$$$$\n"
    v3000 = Chem.MolToV3KMolBlock(chiral).encode() + b"$$$$\n"
    return [
        Target("sdf", {"molecule.sdf": v2000}, "molecule.sdf", of_sdf, _verify_sdf, 2),
        Target("sdf-v3000", {"molecule.sdf": v3000}, "molecule.sdf", of_sdf, _verify_sdf),
        Target(
            "mol2",
            {"molecule.mol2": tripos(ester, types).encode()},
            "molecule.mol2",
            lambda f: prepare(f / "molecule.mol2"),
            weight=2,
        ),
        Target(
            "smiles",
            {"smiles.txt": b"C/C=C/[C@H](O)C=O\n"},
            "smiles.txt",
            lambda f: prepare(smiles=_line(f, "smiles.txt")),
            _verify_smiles,
            0.3,
        ),
        Target(
            "sequence",
            {"sequence.txt": b"ACE-ALA-CYS-NME\n"},
            "sequence.txt",
            lambda f: prepare(sequence=_line(f, "sequence.txt")),
            weight=0.5,
        ),
    ]


@functools.cache
def targets() -> dict[str, Target]:
    """All targets by their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = [*_structures(), *_topologies(), *_small_molecules(), *parameters(), *frames()]
    return {target.name: target for target in made}
