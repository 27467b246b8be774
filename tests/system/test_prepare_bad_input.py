"""What ``boltzgen prepare`` refuses: exit code 2 and one message that names what is wrong and the remedy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import openmm
import pytest
from butane import butane_system, write_butane
from helpers import ROOT, assert_refused
from openmm import app

from boltzgen.system.prepare import prepare

ALANINE = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"
LINES = ALANINE.read_text().splitlines()
ATOMS = [line for line in LINES if line.startswith("ATOM")]


def pdb(change: Callable[[list[str]], list[str]]) -> str:
    """The text of alanine dipeptide's PDB with its atom lines changed."""
    return "\n".join([*change(list(ATOMS)), "END", ""])


def atom(name: str, residue: str, number: int, x: float, element: str) -> str:
    start = f"HETATM  900 {name:<4s} {residue:>3s} B{number:4d}    {x:8.3f}   9.000   9.000  1.00  0.00"
    return f"{start:<76s}{element:>2s}"


def copy_far_away(atoms: list[str]) -> list[str]:
    """The same atoms as chain B, 5 nm away."""
    return [f"{line[:21]}B{line[22:30]}{float(line[30:38]) + 50.0:8.3f}{line[38:]}" for line in atoms]


def replaced(atoms: list[str], index: int, line: str) -> list[str]:
    return [*atoms[:index], line, *atoms[index + 1 :]]


WATER = [atom("O", "HOH", 9, 9.0, "O"), atom("H1", "HOH", 9, 9.9, "H"), atom("H2", "HOH", 9, 8.1, "H")]
LIGAND = [atom("C1", "LIG", 7, 9.0, "C"), atom("O1", "LIG", 7, 10.4, "O")]

#: name -> text of the PDB, what the message must name.
PDB_FILES = {
    "empty": ("", ["0 bytes"]),
    "no-atoms": ("REMARK nothing\nEND\n", ["no atoms"]),
    "not-a-pdb": ("hello world\n", ["no atoms"]),
    "no-hydrogens": (
        pdb(lambda a: [line for line in a if not line.endswith(" H")]),
        ["ACE 1", "lacks hydrogens", "--add-hydrogens"],
    ),
    "one-hydrogen-short": (
        pdb(lambda a: [line for line in a if " HA " not in line]),
        ["ALA 2", "HA", "--add-hydrogens"],
    ),
    "missing-heavy-atom": (
        pdb(lambda a: [line for line in a if " CB " not in line and " HB" not in line]),
        ["ALA 2", "CB", "pdbfixer"],
    ),
    "unknown-residue": (
        pdb(lambda a: [line.replace("ALA", "XYZ") for line in a]) + "CONECT    7    9\n",
        ["XYZ 2", "CONECT"],
    ),
    "unknown-residue-with-bonds": (
        pdb(lambda a: [*a, *LIGAND]).replace("END\n", "CONECT  900  901\n").replace("  900 O1", "  901 O1"),
        ["LIG 7", "unknown", "--forcefield"],
    ),
    "missing-conect": (pdb(lambda a: [*a, *LIGAND]), ["LIG 7", "CONECT"]),
    "unknown-atom-name": (
        pdb(lambda a: [line.replace(" CB  ALA", " QB  ALA") for line in a]),
        ["ALA 2", "QB", "CONECT"],
    ),
    "water": (pdb(lambda a: [*a, *WATER]), ["explicit water", "HOH 9", "grep"]),
    "ions": (pdb(lambda a: [*a, atom("NA", "NA", 8, 9.0, "NA")]), ["explicit ions", "NA 8", "grep"]),
    "two-molecules": (
        pdb(lambda a: [*a, "TER", *copy_far_away(a)]),
        ["2 molecules", "22 atoms", "Keep one"],
    ),
    "overlap": (
        pdb(lambda a: replaced(a, 3, a[3][:30] + a[2][30:54] + a[3][54:])),
        ["ACE 1 H2", "ACE 1 H3", "overlap", "0.0000 nm"],
    ),
    "nan": (
        pdb(lambda a: replaced(a, 8, a[8][:30] + "     nan" + a[8][38:])),
        ["ALA 2 CA", "not finite"],
    ),
    "no-number": (
        pdb(lambda a: replaced(a, 8, a[8][:30] + "   x.yyy" + a[8][38:])),
        ["does not read as a PDB"],
    ),
    "truncated-line": ("\n".join([*ATOMS[:9], ATOMS[9][:35]]), ["truncated", "line 10"]),
    "truncated-between-lines": ("\n".join(ATOMS[:15]) + "\n", ["ALA 2", "lacks the atom", "O"]),
    "box": (
        "CRYST1   30.000   30.000   30.000  90.00  90.00  90.00 P 1           1\n" + pdb(lambda a: a),
        ["periodic box", "sed '/^CRYST1/d'"],
    ),
    "unsupported-element": (
        pdb(lambda a: replaced(a, 10, a[10].replace("           C", "          FE"))),
        ["ALA 2 CB", "iron", "not supported"],
    ),
    "no-element": (
        pdb(lambda a: replaced(a, 10, a[10][:12] + " ?1 " + a[10][16:76])),
        ["ALA 2 ?1", "element", "77-78"],
    ),
}


@pytest.mark.parametrize("name", sorted(PDB_FILES))
def test_bad_pdb(name, tmp_path):
    text, expected = PDB_FILES[name]
    path = tmp_path / f"{name}.pdb"
    path.write_text(text)
    message = assert_refused(["prepare", path, "-o", tmp_path / "SYS"], path.name, *expected)
    assert not (tmp_path / "SYS").exists()
    assert number_of_sentences(message) <= 2, message


def number_of_sentences(message: str) -> int:
    """Full stops that end a sentence, outside of commands in backquotes."""
    return len(re.findall(r"[.?](?=\s+[A-Z`]|$)", re.sub(r"`[^`]*`", "", message)))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing.pdb", "-o", "SYS"], ["nothing.pdb", "no such file"]),
        ([".", "-o", "SYS"], ["is not a file"]),
        (["-o", "SYS"], ["INPUT", "--sequence"]),
        ([ALANINE], ["-o SYS", "--check"]),
        ([ALANINE, "--sequence", "AA", "-o", "SYS"], ["INPUT file and --sequence given"]),
        ([ALANINE, "-o", "SYS", "--constraints", "hbonds"], ["--constraints hbonds", "--constraints none"]),
        ([ALANINE, "-o", "SYS", "--implicit", "obc7"], ["obc7", "gbn2"]),
        ([ALANINE, "-o", "SYS", "--forcefield", "amber77.xml"], ["amber77.xml", "amber99sbildn.xml"]),
        ([ALANINE, "-o", "SYS", "--forcefield", ALANINE], ["not complete XML"]),
        (
            [ALANINE, "-o", "SYS", "--implicit", "amber99_obc.xml"],
            ["amber99_obc.xml", "goes with the force field of its name"],
        ),
        ([ALANINE, "-o", "SYS", "--coordinates", ALANINE], ["leave out --coordinates"]),
        ([ALANINE, "-o", "SYS", "--ph", "21"], ["--ph 21", "0 to 14"]),
        ([ALANINE, "-o", "SYS", "--capped"], ["--capped", "--sequence"]),
        ([ALANINE, "-o", ALANINE], ["is a file"]),
        ([ALANINE, "-o", "SYS", "--forcefeild", "a.xml"], ["--forcefeild"]),
        (["--sequence", "ACE-FOO-NME", "-o", "SYS"], ["FOO", "place 2"]),
        (["--sequence", "GXVL", "-o", "SYS"], ["'X'", "place 2"]),
        (["--sequence", "", "-o", "SYS"], ["empty"]),
        (["--sequence", "G", "-o", "SYS"], ["the sequence GLY", "No template", "Cap or lengthen"]),
        (["--sequence", "DH", "--ph", "1", "-o", "SYS"], ["--ph 1", "ASP", "another --ph"]),
        (["--sequence", "AA", "--forcefield", "amber14/tip3p.xml", "-o", "SYS"], ["ALA", "--forcefield"]),
        (["--sequence", "AA", "--forcefield", "amoeba2018.xml", "-o", "SYS"], ["Amoeba", "--forcefield"]),
    ],
)
def test_bad_options(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(["prepare", *words], *expected)
    assert list(tmp_path.iterdir()) == []


def test_wrong_suffix_and_lone_coordinates(tmp_path):
    for name, expected in (("a.xyz", ".xyz"), ("a.gro", "--coordinates a.gro"), ("a.inpcrd", "prmtop")):
        (tmp_path / name).write_text("text\n")
        assert_refused(["prepare", tmp_path / name, "-o", tmp_path / "SYS"], name, expected)


def test_binary_file(tmp_path):
    path = tmp_path / "packed.pdb"
    path.write_bytes(b"\x1f\x8b\xff\xfe\x00")
    assert_refused(["prepare", path, "-o", tmp_path / "SYS"], "packed.pdb", "not a text file")


def test_strip_command_works(tmp_path):
    """The command in the message makes a file that is prepared."""
    path = tmp_path / "wet.pdb"
    path.write_text(pdb(lambda a: [*a, *WATER, atom("NA", "NA", 8, 7.0, "NA")]))
    run_command_of(assert_refused(["prepare", path, "-o", tmp_path / "SYS"]), tmp_path)
    assert prepare(tmp_path / "wet-dry.pdb").n_atoms == 22


def test_box_command_works(tmp_path):
    path = tmp_path / "box.pdb"
    path.write_text(PDB_FILES["box"][0])
    run_command_of(assert_refused(["prepare", path, "-o", tmp_path / "SYS"]), tmp_path)
    assert prepare(tmp_path / "box-nobox.pdb").n_atoms == 22


def test_placeholder_box_is_no_box(tmp_path):
    path = tmp_path / "placeholder.pdb"
    path.write_text(
        "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n" + pdb(lambda a: a)
    )
    assert prepare(path).n_atoms == 22


# --- System XML -------------------------------------------------------------------------------------------


def drude(system: openmm.System) -> None:
    force = openmm.DrudeForce()
    force.addParticle(3, 2, -1, -1, -1, -1.0, 0.001, 1.0, 1.0)
    system.addForce(force)


def virtual_site(system: openmm.System) -> None:
    system.setParticleMass(3, 0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(1, 2, 0.5, 0.5))


def periodic(system: openmm.System) -> None:
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    for _ in range(4):
        force.addParticle(0.0, 0.3, 0.4)
    system.addForce(force)


CHANGES: dict[str, tuple[Callable[[openmm.System], object], list[str]]] = {
    "constraint": (
        lambda s: s.addConstraint(1, 2, 0.1529),
        ["1 constraints", "BUT 1 C2", "BUT 1 C3", "0.1529", "constraints=None"],
    ),
    "virtual-site": (virtual_site, ["BUT 1 C4", "virtual site"]),
    "drude": (drude, ["Drude", "BUT 1 C4"]),
    "massless": (lambda s: s.setParticleMass(2, 0.0), ["BUT 1 C3", "no mass"]),
    "periodic": (periodic, ["periodic", "NoCutoff"]),
    "no-forces": (
        lambda s: [s.removeForce(0) for _ in range(s.getNumForces())],
        ["no forces", "complete System"],
    ),
    "atom-too-many": (lambda s: s.addParticle(12.0), ["4 atoms", "5"]),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_bad_system_xml(name, tmp_path):
    change, expected = CHANGES[name]
    xml, pdb_file = write_butane(tmp_path)
    system = butane_system()
    change(system)
    xml.write_text(openmm.XmlSerializer.serialize(system))
    words = ["prepare", xml, "--coordinates", pdb_file, "-o", tmp_path / "SYS"]
    message = assert_refused(words, "system.xml", *expected)
    assert number_of_sentences(message) <= 2, message


def test_xml_that_is_damaged_foreign_or_executable(tmp_path):
    xml, pdb_file = write_butane(tmp_path)
    whole = xml.read_text()
    end = ["--coordinates", pdb_file, "-o", tmp_path / "SYS"]
    python_force = '<Force type="PythonForce" forceGroup="0"/></Forces>'
    for text, expected in (
        (whole[: len(whole) // 2], ["truncated"]),
        (whole.replace("</Forces>", python_force), ["PythonForce", "not opened", "removeForce"]),
        (whole.replace("System", "Integrator"), ["<Integrator>"]),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + whole, ["entities"]),
        (whole.replace('k="', 'q="'), ["cannot read"]),
    ):
        xml.write_text(text)
        assert_refused(["prepare", xml, *end], "system.xml", *expected)
    xml.write_text(whole)
    assert_refused(["prepare", xml, "-o", tmp_path / "SYS"], "--coordinates")
    assert_refused(["prepare", xml, *end, "--implicit", "obc1"], "leave out --implicit")
    assert_refused(["prepare", xml, *end, "--forcefield", "amber14-all.xml"], "leave out --forcefield")
    missing = ["--coordinates", tmp_path / "missing.pdb", "-o", tmp_path / "SYS"]
    assert_refused(["prepare", xml, *missing], "missing.pdb", "no such file")


def test_force_field_with_a_script_is_not_loaded(tmp_path):
    """OpenMM runs scripts of force-field files; ours must not, also when the file is included by another."""
    witness = tmp_path / "witness"
    inner, outer = tmp_path / "inner.xml", tmp_path / "outer.xml"
    inner.write_text(f"<ForceField><Script>open({str(witness)!r}, 'w')</Script></ForceField>")
    outer.write_text('<ForceField><Include file="inner.xml"/></ForceField>')
    for name in (inner, outer):
        words = [
            "prepare",
            ALANINE,
            "-o",
            tmp_path / "SYS",
            "--forcefield",
            "amber14-all.xml",
            "--forcefield",
            name,
        ]
        assert_refused(words, "inner.xml", "Script")
    assert not witness.exists()


# --- Amber and GROMACS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    import parmed

    folder = tmp_path_factory.mktemp("foreign")
    molecule = app.PDBFile(str(ALANINE))
    system = app.ForceField("amber99sbildn.xml").createSystem(molecule.topology)
    structure = parmed.openmm.load_topology(molecule.topology, system, molecule.positions)
    for name in ("ala.prmtop", "ala.inpcrd", "ala.top", "ala.gro"):
        structure.save(str(folder / name))
    return folder


@pytest.mark.parametrize(
    ("kind", "owner", "keep", "expected"),
    [
        ("prmtop", "prmtop", 0.3, ["ala.prmtop", "truncated"]),
        ("prmtop", "prmtop", 0.9, ["ala.prmtop", "truncated"]),
        ("prmtop", "inpcrd", 0.5, ["ala.inpcrd", "truncated"]),
        ("top", "top", 0.6, ["ala.top"]),
        ("top", "gro", 0.5, ["ala.gro", "truncated"]),
    ],
)
def test_truncated_foreign_files(kind, owner, keep, expected, foreign, tmp_path):
    for path in foreign.iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(
            text[: int(keep * len(text))] if path.suffix == f".{owner}" else text
        )
    coordinates = tmp_path / ("ala.inpcrd" if kind == "prmtop" else "ala.gro")
    words = ["prepare", tmp_path / f"ala.{kind}", "--coordinates", coordinates, "-o", tmp_path / "SYS"]
    assert_refused(words, *expected)


def test_gromacs_constraints_and_includes(foreign, tmp_path):
    text = (foreign / "ala.top").read_text()
    top = tmp_path / "ala.top"
    words = ["prepare", top, "--coordinates", foreign / "ala.gro", "-o", tmp_path / "SYS"]
    top.write_text(text.replace("[ angles ]", "[ constraints ]\n1 2 1 0.109\n\n[ angles ]", 1))
    assert_refused(words, "1 constraints", "constraints=None")
    top.write_text('#include "nowhere.ff/forcefield.itp"\n' + text)
    assert_refused(words, "nowhere.ff", "--include DIR")


def run_command_of(message: str, folder: Path) -> None:
    """Run the shell command that a message offers in backquotes."""
    (command,) = re.findall(r"`([^`]*)`", message)
    command = re.sub(r"^python ", f"{sys.executable} ", command)
    subprocess.run(["bash", "-c", command], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("wet", "coordinates", "dry", "dry_coordinates"),
    [
        ("wet.prmtop", "wet.inpcrd", "dry.prmtop", "dry.inpcrd"),
        ("wet.top", "wet.gro", "dry.top", "dry.gro"),
        ("wet.cif", None, "wet-dry.cif", None),
    ],
)
def test_every_strip_command_works(wet, coordinates, dry, dry_coordinates, tmp_path):
    import parmed

    (tmp_path / "wet.pdb").write_text(pdb(lambda a: [*a, *WATER]))
    molecule = app.PDBFile(str(tmp_path / "wet.pdb"))
    system = app.ForceField("amber99sbildn.xml", "tip3p.xml").createSystem(
        molecule.topology, rigidWater=False
    )
    structure = parmed.openmm.load_topology(molecule.topology, system, molecule.positions)
    structure.box = [30.0, 30.0, 30.0, 90.0, 90.0, 90.0]
    for name in filter(None, (wet, coordinates)):
        structure.save(str(tmp_path / name))
    second = ["--coordinates", tmp_path / coordinates] if coordinates else []
    words = ["prepare", tmp_path / wet, *second, "-o", tmp_path / "SYS"]
    run_command_of(assert_refused(words, wet, "explicit water"), tmp_path)
    got = prepare(tmp_path / dry, coordinates=tmp_path / dry_coordinates if dry_coordinates else None)
    assert got.n_atoms == 22


def test_truncated_mmcif(tmp_path):
    molecule = app.PDBFile(str(ALANINE))
    with open(tmp_path / "ala.cif", "w") as file:
        app.PDBxFile.writeFile(molecule.topology, molecule.positions, file)
    text = (tmp_path / "ala.cif").read_text()
    (tmp_path / "ala.cif").write_text(text[: int(0.6 * len(text))])
    assert_refused(["prepare", tmp_path / "ala.cif", "-o", tmp_path / "SYS"], "ala.cif", "truncated")


def test_periodic_prmtop(foreign, tmp_path):
    import parmed

    structure = parmed.load_file(str(foreign / "ala.prmtop"), xyz=str(foreign / "ala.inpcrd"))
    structure.box = [30.0, 30.0, 30.0, 90.0, 90.0, 90.0]
    structure.save(str(tmp_path / "IN.prmtop"))
    structure.save(str(tmp_path / "IN.inpcrd"))
    words = [tmp_path / "IN.prmtop", "--coordinates", tmp_path / "IN.inpcrd", "-o", tmp_path / "SYS"]
    run_command_of(assert_refused(["prepare", *words], "periodic box", "parmed"), tmp_path)
    assert prepare(tmp_path / "nobox.prmtop", coordinates=tmp_path / "nobox.inpcrd").n_atoms == 22


def test_swapped_coordinates(foreign, tmp_path):
    xml, pdb_file = write_butane(tmp_path)
    assert xml.exists()
    words = ["prepare", foreign / "ala.prmtop", "--coordinates", pdb_file, "-o", tmp_path / "SYS"]
    assert_refused(words, "butane.pdb", "4 atoms", "22")
