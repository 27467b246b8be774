"""What is too large, too long or too deep is refused before outside software sees it.

The bounds are set low here and met by plain texts; that real files stay far below them is tested as well.
"""

from __future__ import annotations

import numpy as np
import pytest
from butane import write_butane

from boltzgen.errors import InputError
from boltzgen.system.checks import closest_pair
from boltzgen.system.formats import bounds
from boltzgen.system.formats.gromacs import preprocess
from boltzgen.system.formats.gromacs.topology import read_sections
from boltzgen.system.formats.openmm_xml import check_inert
from boltzgen.system.formats.prmtop_flags import pointers
from boltzgen.system.parametrise.sequence import parse_sequence
from boltzgen.system.prepare import prepare

SYSTEM = '<System type="System"><Forces>{}</Forces></System>'


@pytest.fixture(autouse=True)
def low(monkeypatch):
    for name, value in {
        "DEEPEST_XML": 6,
        "DEEPEST_PARENTHESES": 8,
        "MOST_OPERATORS": 20,
        "MOST_POWERS": 5,
        "LONGEST_TEXT": 400,
        "LARGEST_FILE": 20_000,
        "LONGEST_SMILES": 60,
    }.items():
        monkeypatch.setattr(bounds, name, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SYSTEM.format("<A><A><A><A><A></A></A></A></A></A>"), "nested more than 6 deep"),
        (
            SYSTEM.format('<Force type="CustomBondForce" energy="{}"/>'.format("(" * 9 + "r" + ")" * 9)),
            "nested",
        ),
        (SYSTEM.format('<Force type="CustomBondForce" energy="{}"/>'.format("r+" * 30 + "r")), "operators"),
        (SYSTEM.format('<Force type="CustomBondForce" energy="{}"/>'.format("r^" * 6 + "r")), "powers"),
        (
            SYSTEM.format('<Force type="CustomBondForce" energy="{}"/>'.format("r" * 401)),
            "is 401 characters long",
        ),
        (SYSTEM.format(f'<Force type="CustomBondForce" {"e" * 401}="r"/>'), "is 401 characters long"),
        (SYSTEM.format("<Force type='CustomGBForce'>" + "(\n" * 9 + "</Force>"), "nested parentheses"),
        ("<!DOCTYPE System>" + SYSTEM.format(""), "entities"),
    ],
)
def test_xml_over_a_bound(text, words):
    with pytest.raises(InputError, match=words):
        check_inert(text, "system.xml")


def test_a_document_type_is_refused_by_the_parser_too():
    """However it is spelled, no entity is ever declared."""
    with pytest.raises(InputError, match="document type"):
        bounds.check_xml("<!DOCTYPE  a [<!ENTITY  b 'c'>]><a>&b;</a>", "field.xml")


def test_a_force_field_file_has_the_same_bounds(tmp_path):
    path = tmp_path / "field.xml"
    path.write_text("<ForceField>" + "<A>" * 6 + "</A>" * 6 + "</ForceField>")
    with pytest.raises(InputError, match="nested more than 6 deep"):
        prepare(sequence="GAV", forcefield=[str(path)])


def test_a_file_over_the_largest_is_not_read(tmp_path):
    path = tmp_path / "large.pdb"
    path.write_text("REMARK\n" * 3000)
    with pytest.raises(InputError, match=r"large\.pdb: 21000 bytes are too many for a molecule's file"):
        prepare(path)


@pytest.mark.parametrize("smiles", ["C" * 61, "C" + "(" * 9 + "C" + ")" * 9, "[" * 9 + "C" + "]" * 9])
def test_a_smiles_over_a_bound(smiles):
    with pytest.raises(InputError, match=f"has {len(smiles)} characters"):
        prepare(smiles=smiles)


def test_a_sequence_over_the_longest():
    longest = bounds.LONGEST_SEQUENCE
    assert len(parse_sequence("G" * longest).residues) == longest
    with pytest.raises(InputError, match=f"{longest + 1} residues"):
        parse_sequence("G" * (longest + 1))


V3000 = """
  test

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS {} 0 0 0 0
M  V30 END CTAB
M  END
"""


@pytest.mark.parametrize("count", [-1, 12_345_678])
def test_headers_that_promise_what_the_file_does_not_hold(count, tmp_path):
    for name, text in (
        ("m.sdf", V3000.format(count)),
        ("m.mol2", f"@<TRIPOS>MOLECULE\nm\n {count} 0 1 0 0\nSMALL\nNO_CHARGES\n@<TRIPOS>ATOM\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=f"count of {count} in its header"):
            prepare(tmp_path / name)


def test_the_pointers_of_a_prmtop():
    text = "%FLAG POINTERS  \n%FORMAT(10I8)\n      22       7\n       3\n%FLAG ATOM_NAME\n1\n"
    assert pointers(text) == [22, 7, 3]
    bounds.check_counts(pointers(text), text, "a.prmtop")
    with pytest.raises(InputError, match="count of 22"):
        bounds.check_counts(pointers(text), "short", "a.prmtop")


def test_a_gromacs_topology_that_grows(tmp_path, monkeypatch):
    """Files that include each other, defines that double, and molecules without end."""
    monkeypatch.setattr(preprocess, "MOST_FILES", 30)
    monkeypatch.setattr(preprocess, "LONGEST_TEXT", 400)
    top = tmp_path / "a.top"
    top.write_text('#include "b.itp"\n#include "b.itp"\n')
    (tmp_path / "b.itp").write_text("; nothing\n")
    assert preprocess.preprocess(top, None, {})[0] == []
    for k in range(6):
        (tmp_path / f"c{k}.itp").write_text(f'#include "c{k + 1}.itp"\n' * 2)
    (tmp_path / "c6.itp").write_text("; nothing\n")
    top.write_text('#include "c0.itp"\n')
    with pytest.raises(InputError, match="again and again"):
        preprocess.preprocess(top, None, {})
    doubling = "".join(f"#define A{k} A{k + 1} A{k + 1}\n" for k in range(9))
    top.write_text(doubling + "[ defaults ]\nA0\n")
    with pytest.raises(InputError, match="more than 400 characters"):
        preprocess.preprocess(top, None, {})
    top.write_text("; x\n" + "x " * 300)
    with pytest.raises(InputError, match="line 2 has more than 400"):
        preprocess.preprocess(top, None, {})


@pytest.mark.parametrize("count", ["-1", "2000001"])
def test_molecules_of_a_gromacs_topology(count, tmp_path):
    lines = [
        preprocess.Line(tuple(words.split()), "a.top")
        for words in (
            "[defaults",
            "1 2 yes 0.5 0.8333",
            "[moleculetype",
            "LIG 3",
            "[atoms",
            "1 c 1 LIG C 1 0 12",
            "[molecules",
            f"LIG {count}",
        )
    ]
    with pytest.raises(InputError, match=f"{count} molecules of 'LIG'"):
        read_sections(tmp_path / "a.top", lines)


def test_real_inputs_are_far_below_the_bounds(monkeypatch, tmp_path):
    monkeypatch.undo()
    xml, pdb = write_butane(tmp_path)
    assert prepare(xml, coordinates=pdb).n_atoms == 4
    check_inert(prepare(smiles="CC(=O)Oc1ccccc1C(=O)O", implicit="gbn2").system_xml, "aspirin")


def test_the_closest_pair():
    """By all distances, also where atoms coincide."""
    random = np.random.default_rng(3)
    for count in (2, 3, 57):
        x = random.normal(size=(count, 3))
        distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 1e3 * np.eye(count)
        first, second, shortest = closest_pair(x)
        assert first < second and distance[first, second] == distance.min() == pytest.approx(shortest)
    assert closest_pair(np.zeros((5, 3)))[2] == 0.0 and closest_pair(np.zeros((1, 3))) is None
