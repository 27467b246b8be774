"""Faults of PDB files: the answer names what is missing, not what happens to come first."""

from __future__ import annotations

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


def test_deuterium_left_out_can_be_added_as_hydrogen(tmp_path):
    """What the advice says, done."""
    lines = (MISC / "deut.pdb").read_text().splitlines()
    path = tmp_path / "light.pdb"
    path.write_text("\n".join(line for line in lines if line[76:78] != " D") + "\n")
    assert prepare(path, add_hydrogens=True).n_atoms == 62
