"""Damaged numbers in files that OpenMM's readers would take silently: refused, with the place named.

OpenMM 8.6.1 deserializes ``k="abc"`` as 0, ``k="1e3x"`` as 1000, ``p2="1.9"`` as 1 and ``d="0,1"`` as 0; its
prmtop reader takes the values of a section as they come, whatever POINTERS says, cuts periodicities to whole
numbers, and gives terms that name an atom twice an energy. None of it is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import openmm
import pytest
from gromacs_cases import GRO, PLAIN
from helpers import ROOT

from boltzgen.errors import InputError
from boltzgen.system.formats.openmm_xml import deserialize_system
from boltzgen.system.prepare import prepare

ORDER = ROOT / "tests" / "cases" / "files" / "order"
ALANINE = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"


def spring() -> str:
    system = openmm.System()
    for mass in (12.0, 16.0, 1.5):
        system.addParticle(mass)
    bonds, torsions = openmm.HarmonicBondForce(), openmm.RBTorsionForce()
    bonds.addBond(0, 1, 0.125, 1000.0)
    system.addForce(bonds)
    system.addForce(torsions)
    return openmm.XmlSerializer.serialize(system)


@pytest.mark.parametrize(
    "old, new",
    [
        *(
            ('k="1000"', f'k="{word}"')
            for word in ("abc", "1e3x", "1_000", "1d3", "0x10", "", "١٠٠٠", "1000,0")
        ),
        ('d=".125"', 'd="0,125"'),
        *(('p2="1"', f'p2="{word}"') for word in ("-", "1.9", "one", "4294967297")),
        ('mass="16"', 'mass="16e"'),
        ('usesPeriodic="0"', 'usesPeriodic="no"'),
    ],
)
def test_words_that_openmm_takes_for_numbers(old, new):
    text = spring()
    assert old in text
    with pytest.raises(InputError, match=re.escape(new.partition("=")[0] + "=")):
        deserialize_system(text.replace(old, new), "spring.xml")


@pytest.mark.parametrize("new", ['k="1000"', 'k="1e3"', 'k=" 1000.0 "', 'k="+1000"', 'k="1E+03"', 'k=".1e4"'])
def test_numbers_as_other_programs_write_them(new):
    force = deserialize_system(spring().replace('k="1000"', new), "spring.xml").getForce(0)
    assert force.getBondParameters(0)[3]._value == 1000.0


def test_what_stands_in_openmm_behaves_so_still():
    """When this fails, OpenMM has begun to refuse such words by itself."""
    read = openmm.XmlSerializer.deserialize(spring().replace('k="1000"', 'k="abc"'))
    assert read.getForce(0).getBondParameters(0)[3]._value == 0.0


def sections(text: str) -> dict[str, list[str]]:
    """Lines of each section of a prmtop, the format first."""
    found: dict[str, list[str]] = {}
    for block in text.split("%FLAG ")[1:]:
        name, *lines = block.splitlines()
        found[name.strip()] = lines
    return found


def together(parts: dict[str, list[str]]) -> str:
    head = (ORDER / "ala.prmtop").read_text().partition("%FLAG")[0]
    return head + "".join(f"%FLAG {name:<75s}\n" + "\n".join([*lines, ""]) for name, lines in parts.items())


def refused_prmtop(change: Callable[[dict[str, list[str]]], None], tmp_path) -> str:
    parts = sections((ORDER / "ala.prmtop").read_text())
    change(parts)
    path = tmp_path / "damaged.prmtop"
    path.write_text(together(parts))
    with pytest.raises(InputError) as caught:
        prepare(path, coordinates=ORDER / "ala.inpcrd")
    message = str(caught.value)
    assert "damaged.prmtop" in message and "Write it again" in message
    return message


NUMERIC = [
    *("CHARGE", "MASS", "ATOMIC_NUMBER", "ATOM_TYPE_INDEX", "NUMBER_EXCLUDED_ATOMS", "EXCLUDED_ATOMS_LIST"),
    *("NONBONDED_PARM_INDEX", "BOND_FORCE_CONSTANT", "BOND_EQUIL_VALUE", "ANGLE_FORCE_CONSTANT"),
    *("ANGLE_EQUIL_VALUE", "DIHEDRAL_FORCE_CONSTANT", "DIHEDRAL_PERIODICITY", "DIHEDRAL_PHASE"),
    *("LENNARD_JONES_ACOEF", "LENNARD_JONES_BCOEF", "BONDS_INC_HYDROGEN", "BONDS_WITHOUT_HYDROGEN"),
    *(
        "ANGLES_INC_HYDROGEN",
        "ANGLES_WITHOUT_HYDROGEN",
        "DIHEDRALS_INC_HYDROGEN",
        "DIHEDRALS_WITHOUT_HYDROGEN",
    ),
    *("SCEE_SCALE_FACTOR", "SCNB_SCALE_FACTOR", "RADII", "SCREEN"),
]


@pytest.mark.parametrize("name", NUMERIC)
def test_a_section_that_has_lost_a_line(name, tmp_path):
    assert name in refused_prmtop(lambda parts: parts[name].pop(1), tmp_path)


@pytest.mark.parametrize("name", NUMERIC)
def test_a_section_that_has_a_line_twice(name, tmp_path):
    assert name in refused_prmtop(lambda parts: parts[name].insert(1, parts[name][1]), tmp_path)


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("word", ["********", "1_0", "٣"])
def test_a_value_that_is_no_number(name, word, tmp_path):
    def change(parts):
        width = int(re.search(r"[IE](\d+)", parts[name][0])[1])
        parts[name][1] = word.rjust(width) + parts[name][1][width:]

    message = refused_prmtop(change, tmp_path)
    assert name in message or "does not read" in message


def first_to(name: str, value: str) -> Callable[[dict[str, list[str]]], None]:
    def change(parts):
        width = int(re.search(r"[IE](\d+)", parts[name][0])[1])
        parts[name][1] = value.rjust(width) + parts[name][1][width:]

    return change


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("DIHEDRAL_PERIODICITY", "3.90000000E+00", "not a whole number"),
        ("ATOM_TYPE_INDEX", "99", "no type"),
        ("ATOM_TYPE_INDEX", "0", "no type"),
        ("NONBONDED_PARM_INDEX", "9999", "no pair"),
        ("BONDS_INC_HYDROGEN", "3000", "does not exist"),
        ("BONDS_INC_HYDROGEN", "1", "does not exist"),
        ("ANGLES_WITHOUT_HYDROGEN", "60", "no bonds join"),
        ("EXCLUDED_ATOMS_LIST", "1", "not later atoms"),
        ("LENNARD_JONES_ACOEF", "0.00000000E+00", "no radius"),
        ("NUMBER_EXCLUDED_ATOMS", "2", "the sum"),
        ("DIHEDRALS_INC_HYDROGEN", "12", "two bonds apart or less"),
    ],
)
def test_a_value_that_denies_the_others(name, value, said, tmp_path):
    assert said in refused_prmtop(first_to(name, value), tmp_path)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("LIG 1\n", "LIG 1e30\n", "whole number"),
        ("LIG 1\n", "LIG 2000000000\n", "boltzgen samples one"),
        ("LIG 1\n", "LIG -1\n", "-1 molecules"),
        ("CX CX 1 0.15 200000", "CX CX 1 0.15 2_0", "not a number"),
        ("CX CX 1 0.15 200000", "CX CX 1 0.15 nan", "not a number"),
        ("CX CX CX 1 112 400", "CX CX CX 1 112 ٤٠٠", "not a number"),
        ("1 2 1\n2 3 1\n3 4 1\n4 5 1", "1.5 2 1\n2 3 1\n3 4 1\n4 5 1", "whole number"),
        ("2 CX 1 LIG C2 2", "7 CX 1 LIG C2 2", "stands where atom 2 belongs"),
        ("1 2 3 1\n", "1 2 2 1\n", "different atoms"),
    ],
)
def test_gromacs_topology(old, new, said, tmp_path):
    assert old in PLAIN
    (tmp_path / "chain.top").write_text(PLAIN.replace(old, new, 1), encoding="utf-8")
    (tmp_path / "chain.gro").write_text(GRO)
    with pytest.raises(InputError, match=said):
        prepare(tmp_path / "chain.top", coordinates=tmp_path / "chain.gro")


@pytest.mark.parametrize("word", ["  -0_572", "   ١.٥٧٢", "  1.0x  ", "  0x1p0 "])
def test_coordinates_of_a_pdb(word, tmp_path):
    lines = ALANINE.read_text().splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("ATOM"))
    lines[place] = lines[place][:30] + word + lines[place][38:]
    path = tmp_path / "input.pdb"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    with pytest.raises(InputError, match=r"input\.pdb"):
        prepare(path)


def solvent_of_one_value() -> openmm.CustomGBForce:
    force = openmm.CustomGBForce()
    force.addComputedValue("born", "1/r", openmm.CustomGBForce.ParticlePair)
    return force


@pytest.mark.parametrize(
    "force, method, given",
    [
        (openmm.HarmonicBondForce, "addBond", (3, 3, 0.13, 900.0)),
        (openmm.HarmonicAngleForce, "addAngle", (4, 5, 4, 1.8, 300.0)),
        (openmm.PeriodicTorsionForce, "addTorsion", (1, 4, 4, 6, 3, 0.2, 1.7)),
        (openmm.RBTorsionForce, "addTorsion", (1, 4, 5, 1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        (openmm.NonbondedForce, "addException", (3, 3, 0.1, 0.3, 0.2)),
        (lambda: openmm.CustomNonbondedForce("r"), "addExclusion", (5, 5)),
        (solvent_of_one_value, "addExclusion", (5, 5)),
        (openmm.CMAPTorsionForce, "addTorsion", (0, 1, 4, 6, 8, 4, 6, 6, 10)),
    ],
)
def test_a_term_that_names_an_atom_twice(force, method, given, tmp_path):
    folder = ROOT / "boltzgen" / "examples" / "alanine-dipeptide-fab"
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    extra = force()
    getattr(extra, method)(*given)
    system.addForce(extra)
    path = tmp_path / "twice.xml"
    path.write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(InputError, match="different atoms"):
        prepare(path, coordinates=folder / "topology.pdb")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_parameter_that_is_not_finite(value, tmp_path):
    folder = ROOT / "boltzgen" / "examples" / "alanine-dipeptide-fab"
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    extra = openmm.PeriodicTorsionForce()
    extra.addTorsion(1, 4, 6, 8, 2, 0.3, value)
    system.addForce(extra)
    path = tmp_path / "endless.xml"
    path.write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(InputError, match=r"endless\.xml.*not a finite number"):
        prepare(path, coordinates=folder / "topology.pdb")


def test_a_solvent_force_without_values(tmp_path):
    folder = ROOT / "boltzgen" / "examples" / "alanine-dipeptide-fab"
    text = (folder / "system.xml").read_text()
    assert "<Value expression" in text
    path = tmp_path / "empty.xml"
    path.write_text("\n".join(line for line in text.splitlines() if "<Value expression" not in line))
    with pytest.raises(InputError, match=r"empty\.xml"):
        prepare(path, coordinates=folder / "topology.pdb")


@pytest.mark.parametrize("line", [2, 4, 7])
def test_decimal_points_of_a_gro_that_do_not_stand_below_each_other(line, tmp_path):
    lines = GRO.splitlines()
    lines[line] = lines[line].replace("0.", "0. ", 1) if line == 2 else lines[line][:21] + lines[line][22:]
    (tmp_path / "chain.top").write_text(PLAIN)
    (tmp_path / "chain.gro").write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match=r"chain\.gro is damaged: the decimal points of line"):
        prepare(tmp_path / "chain.top", coordinates=tmp_path / "chain.gro")


@pytest.mark.parametrize("count", ["9" * 5000, "99", "-4", "0", "1_0", ""])
def test_a_gro_that_promises_other_lines_than_it_has(count, tmp_path):
    lines = GRO.splitlines()
    lines[1] = f"  {count}"
    (tmp_path / "chain.top").write_text(PLAIN)
    (tmp_path / "chain.gro").write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match=r"chain\.gro is truncated"):
        prepare(tmp_path / "chain.top", coordinates=tmp_path / "chain.gro")
