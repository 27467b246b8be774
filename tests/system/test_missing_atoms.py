"""Faults of PDB files: the answer names what is missing, not what happens to come first."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from force_field_cases import system_of

from boltzgen.errors import InputError
from boltzgen.system.prepare import prepare

MISC = Path(__file__).parents[1] / "cases" / "files" / "misc"
CHARMM = {"forcefield": ("charmm36_2024.xml",)}


def heavy_lines(*without: tuple[str, str]) -> str:
    """QNSIVL with charged ends and no hydrogens, less these (residue, atom)."""
    kept = []
    for line in system_of("ff14SB", "none", "QNSIVL").topology_pdb.splitlines():
        name = (line[17:20].strip(), line[12:16].strip())
        if line.startswith("ATOM") and line[76:78].strip() != "H" and name not in without:
            kept.append(line)
    return "\n".join([*kept, "END", ""])


@pytest.mark.parametrize("options", [{}, CHARMM])
@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ([("ILE", "CD1")], "residue ILE 4 lacks the atom CD"),
        ([("SER", "OG"), ("SER", "CB")], "residue SER 3 lacks the atoms CB, OG"),
        ([("LEU", "OXT")], "residue LEU 6 lacks the atom OXT"),
    ],
)
def test_missing_heavy_atoms_are_named_when_hydrogens_are_added(without, expected, options, tmp_path):
    path = tmp_path / "heavy.pdb"
    path.write_text(heavy_lines(*without))
    with pytest.raises(InputError, match=expected) as caught:
        prepare(path, add_hydrogens=True, **options)
    assert "pdbfixer" in str(caught.value) and "lacks hydrogens" not in str(caught.value)
    path.write_text(heavy_lines())
    assert prepare(path, add_hydrogens=True).n_atoms == system_of("ff14SB", "none", "QNSIVL").n_atoms


def test_missing_heavy_atoms_go_before_missing_hydrogens(tmp_path):
    path = tmp_path / "heavy.pdb"
    path.write_text(heavy_lines(("VAL", "CG2")))
    with pytest.raises(InputError, match="residue VAL 5 lacks the atom CG2"):
        prepare(path)


@pytest.mark.parametrize("options", [{}, {"add_hydrogens": True}])
@pytest.mark.parametrize("name", ["deut.pdb", "D.cif"])
def test_deuterium_is_named(name, options):
    with pytest.raises(InputError, match=r"ALA 2 [DH] \(atom 8\) is deuterium, one of 6"):
        prepare(MISC / name, **options)


def command_of(error: InputError) -> list[str]:
    """The words of the command that a message names."""
    return shlex.split(re.findall(r": `([^`]*)`, then prepare", str(error))[0])


@pytest.mark.parametrize(
    "without",
    [
        [("LEU", "CG"), ("LEU", "CD1"), ("LEU", "CD2")],
        [("LEU", "OXT")],
        [("SER", "N")],
        [("SER", "CA")],
        [("GLN", "N"), ("GLN", "O")],
    ],
)
def test_what_the_message_about_missing_atoms_says_works(without, tmp_path, monkeypatch):
    """The command is run as it stands; where the nitrogen lacks, its neighbour is not said to lack OXT."""
    pytest.importorskip("pdbfixer")
    monkeypatch.chdir(tmp_path)
    Path("a file.pdb").write_text(heavy_lines(*without))
    with pytest.raises(InputError, match=f"residue {without[0][0]} . lacks the atom") as caught:
        prepare("a file.pdb", add_hydrogens=True)
    program, *arguments = command_of(caught.value)
    assert program == "pdbfixer" and "boltzgen-sampler[pdbfixer]" in str(caught.value)
    run = [sys.executable, "-W", "ignore", "-c", "from pdbfixer.pdbfixer import main; main()", *arguments]
    subprocess.run(run, check=True, capture_output=True)
    assert (
        prepare("a file-fixed.pdb", add_hydrogens=True).n_atoms
        == system_of("ff14SB", "none", "QNSIVL").n_atoms
    )


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ([("SER", "N")], "residue SER 3 lacks the atom N"),
        ([("SER", "CA")], "residue SER 3 lacks the atom CA"),
    ],
)
def test_the_residue_that_lacks_the_atom_is_named(without, expected, tmp_path):
    (tmp_path / "heavy.pdb").write_text(heavy_lines(*without))
    with pytest.raises(InputError, match=expected) as caught:
        prepare(tmp_path / "heavy.pdb", add_hydrogens=True)
    assert "OXT" not in str(caught.value)


def test_alpha_carbons_alone_are_no_question_of_names(tmp_path):
    lines = [line for line in heavy_lines().splitlines() if line[12:16].strip() == "CA"]
    (tmp_path / "trace.pdb").write_text("\n".join([*lines, "END", ""]))
    with pytest.raises(InputError, match="residue GLN 1 lacks the atoms N, CB, CG") as caught:
        prepare(tmp_path / "trace.pdb", add_hydrogens=True)
    assert "name is not one" not in str(caught.value)


def test_a_wrong_name_is_called_one_and_the_free_names_are_listed(tmp_path):
    """CX for CB: refused by name; with CONECT records too, for hydrogens are added by names."""
    path = tmp_path / "named.pdb"
    text = heavy_lines().replace(" CB  SER", " CX  SER")
    path.write_text(text)
    with pytest.raises(InputError, match=r"SER 3 CX .* is not one that SER has.*\(.*\bCB\b.*\)"):
        prepare(path, add_hydrogens=True)
    numbers = {line[12:16].strip(): line[6:11] for line in text.splitlines() if line[17:20] == "SER"}
    records = [f"CONECT{numbers['CX']}{numbers[other]}" for other in ("CA", "OG")]
    path.write_text(text.replace("END", "\n".join([*records, "END"])))
    with pytest.raises(InputError, match="SER 3 has CX, which the force field does not know") as caught:
        prepare(path, add_hydrogens=True)
    assert "add_hydrogens" not in str(caught.value) and "addHydrogens" not in str(caught.value)
    path.write_text(text.replace(" CX  SER", " CB  SER"))
    assert prepare(path, add_hydrogens=True).n_atoms == 99


def test_small_letters_in_a_pdb_are_called_so_and_the_command_mends_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.pdb").write_text(heavy_lines().lower().replace("atom  ", "ATOM  "))
    with pytest.raises(InputError, match="residue gln 1 is written in small letters") as caught:
        prepare("small.pdb", add_hydrogens=True)
    (command,) = re.findall(r"so: `([^`]*)`", str(caught.value))
    subprocess.run(command, shell=True, check=True)
    assert prepare("small-capitals.pdb", add_hydrogens=True).n_atoms == 99


def isotopes(kind: str) -> tuple[str, str]:
    """Name and text of a file with deuterium or tritium on six nitrogens."""
    text = (MISC / "deut.pdb").read_text()
    lines = text.splitlines()
    if kind == "mmcif":
        return "D.cif", (MISC / "D.cif").read_text()
    if kind == "without elements":
        return "bare.pdb", "\n".join(line[:76].rstrip() for line in lines) + "\n"
    if kind == "tritium":
        return "T.pdb", "\n".join(
            re.sub(" D$", " T", line).replace("  D   ", "  H   ") for line in lines
        ) + "\n"
    if kind == "both":  # hydrogen and deuterium share a place, as neutron structures state them
        both = []
        for line in lines:
            if line[76:78] == " D":
                both.append(f"{line[:12]} H  A{line[17:54]}  0.40{line[60:76]} H")
                line = f"{line[:16]}B{line[17:54]}  0.60{line[60:]}"
            both.append(line)
        return "both.pdb", "\n".join(both) + "\n"
    return "D.pdb", text


@pytest.mark.parametrize("kind", ["pdb", "mmcif", "without elements", "tritium", "both"])
def test_what_the_message_about_isotopes_says_works(kind, tmp_path, monkeypatch):
    """Six hydrogens are labelled; the command is run as it stands, and the labelled atoms are added anew."""
    monkeypatch.chdir(tmp_path)
    name, text = isotopes(kind)
    Path(name).write_text(text)
    isotope = "tritium" if kind == "tritium" else "deuterium"
    with pytest.raises(InputError, match=f"is {isotope}, one of 6") as caught:
        prepare(name, add_hydrogens=True)
    (command,) = re.findall(r": `([^`]*)`, then prepare", str(caught.value))
    subprocess.run(command, shell=True, check=True)
    assert prepare(command.split("> ")[-1], add_hydrogens=True).n_atoms == 62
