"""Collective variables and states files: against their definitions, and with bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.free_energy import parse_states, read_states
from boltzgen.free_energy.variables import Variable, read_topology, ready_torsions, ready_variable

ROOT = Path(__file__).resolve().parents[2]
PDB = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"
TWO = [{"name": "left", "where": {"phi": [-180, 0]}}, {"name": "right", "where": {"phi": [0, 180]}}]


@pytest.fixture(scope="module")
def topology():
    return read_topology(PDB.read_text())


@pytest.fixture(scope="module")
def positions():
    import mdtraj

    start = mdtraj.load(str(PDB)).xyz[0]
    noise = np.random.default_rng(4).normal(0.0, 0.05, (300, *start.shape))
    return (start + noise).astype(np.float32)


def by_name(topology, residue: int, name: str) -> int:
    return next(a.index for a in topology.residue(residue).atoms if a.name == name)


def dihedral(x: np.ndarray, atoms) -> np.ndarray:
    """Degrees, IUPAC sign, from the projection on the plane across the central bond (not as MDTraj)."""
    a, b, c, d = (x[:, i].astype(np.float64) for i in atoms)
    axis = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)

    def across(v):
        return v - (v * axis).sum(1, keepdims=True) * axis

    v, w = across(a - b), across(d - c)
    return np.degrees(np.arctan2((np.cross(axis, v) * w).sum(1), (v * w).sum(1)))


# variables -------------------------------------------------------------------------------------


def test_torsions_agree_with_their_definition(topology, positions):
    atoms = {
        "phi": [(0, "C"), (1, "N"), (1, "CA"), (1, "C")],
        "psi": [(1, "N"), (1, "CA"), (1, "C"), (2, "N")],
        "omega:1": [(0, "CH3"), (0, "C"), (1, "N"), (1, "CA")],
    }
    for name, members in atoms.items():
        indices = [by_name(topology, *member) for member in members]
        variable = ready_variable(name, topology)
        assert list(variable.atoms) == indices
        difference = variable.evaluate(positions) - dihedral(positions, indices)
        assert np.abs((difference + 180) % 360 - 180).max() < 0.02


def test_omega_of_both_caps_is_trans(topology, positions):
    assert list(ready_torsions("omega", topology)) == [1, 2]
    for number in (1, 2):
        values = ready_variable(f"omega:{number}", topology).evaluate(positions[:1] * 0 + positions.mean(0))
        assert abs(values[0]) > 150


def test_distance_in_nm(topology, positions):
    states = parse_states(
        {
            "coordinates": {"d": {"distance": ["resid 0 and name C", 14]}},
            "states": [{"name": "near", "where": {"d": [0, 0.33]}}, {"name": "far", "where": "rest"}],
        },
        topology,
    )
    d = np.linalg.norm(positions[:, by_name(topology, 0, "C")] - positions[:, 14], axis=1)
    masks = states.masks(positions)
    assert np.array_equal(masks["near"], d < 0.33) and np.array_equal(masks["far"], d >= 0.33)
    assert 0 < masks["near"].sum() < len(d)


def test_names_of_a_longer_peptide_need_a_residue():
    lines, number = [], 0
    for residue in range(1, 5):
        for name in ("N", "CA", "C", "O", "CB"):
            number += 1
            place = f"{residue * 3.3 + 0.4 * number % 2:8.3f}{number % 3:8.3f}{number % 5:8.3f}"
            lines.append(
                f"ATOM  {number:5d}  {name:<3s} ALA A{residue:4d}    {place}  1.00  0.00           {name[0]}"
            )
    peptide = read_topology("\n".join(lines) + "\nEND\n")
    with pytest.raises(InputError, match=r"ambiguous here; choose one of phi:2, phi:3, phi:4"):
        ready_variable("phi", peptide)
    assert ready_variable("phi:3", peptide).atoms == (7, 10, 11, 12)
    assert ready_variable("omega:3", peptide).atoms == (11, 12, 15, 16)
    with pytest.raises(InputError, match="no torsion psi at residue 4"):
        ready_variable("psi:4", peptide)


# states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranges", "inside", "outside"),
    [
        ([0, 180], [0, 90, 179.9], [-0.1, -90, -180]),
        ([-180, 0], [-180, -0.1], [0, 0.1, 179.9]),
        ([150, -150], [150, 179, -180, -151], [149, -150, 0]),
        ([150, 210], [150, 179, -180, -151], [149, -150, 0]),
        ([-180, 180], [-180, 0, 179.9], [np.nan]),
        ([[-120, -60], [60, 120]], [-120, -61, 60, 119], [-60, 0, 120, -121, np.nan]),
    ],
)
def test_ranges_of_a_torsion(ranges, inside, outside, monkeypatch, topology):
    where = [{"name": "a", "where": {"phi": ranges}}, {"name": "b", "where": "rest"}]
    monkeypatch.setattr(Variable, "evaluate", lambda self, x: x)
    masks = parse_states({"states": where}, topology).masks(np.array([*inside, *outside], dtype=float))
    assert masks["a"].tolist() == [True] * len(inside) + [False] * len(outside)
    assert not np.any(masks["a"] & masks["b"])


def test_yaml_and_json_give_the_same_states(tmp_path, topology, positions):
    (tmp_path / "s.yaml").write_text(
        "states:\n  - {name: left, where: {phi:2: [-180, 0]}}\n  - name: right\n    where: {phi: [0, 180]}\n"
        "differences: [[right, left]]\n"
    )
    (tmp_path / "s.json").write_text(json.dumps({"states": TWO, "differences": [["right", "left"]]}))
    one, two = (read_states(tmp_path / name, topology) for name in ("s.yaml", "s.json"))
    assert one.differences == two.differences == (("right", "left"),)
    for name, mask in one.masks(positions).items():
        assert np.array_equal(mask, two.masks(positions)[name])


BAD_STATES = {
    "empty file": ("", "must be a mapping"),
    "not YAML": ("states: [", "not valid YAML"),
    "text only": ("phi", "must be a mapping"),
    "no states": ("differences: [[a, b]]", "'states' is missing"),
    "one state": ("states: [{name: a, where: {phi: [0, 90]}}]", "at least two"),
    "unknown key": ("state: []", "did you mean states"),
    "no name": ("states: [{where: {phi: [0, 9]}}, {name: b, where: rest}]", "'name' is missing"),
    "name is a number": ("states: [{name: 3, where: {phi: [0, 9]}}, {name: b, where: rest}]", "must be text"),
    "unknown name": ("states: [{name: a, where: {phy: [0, 9]}}, {name: b, where: rest}]", "did you mean phi"),
    "no atoms": (
        "coordinates: {d: {distance: [name QQ, 3]}}\nstates: []",
        "names 0 atoms",
    ),
    "many atoms": ("coordinates: {d: {distance: [name C, 3]}}\nstates: []", "names 3 atoms"),
    "no selection": ("coordinates: {d: {distance: ['nmae C', 3]}}\nstates: []", "not an MDTraj selection"),
    "atom outside": ("coordinates: {d: {distance: [22, 3]}}\nstates: []", "outside 0 to 21"),
    "atom twice": ("coordinates: {d: {distance: [3, 3]}}\nstates: []", "named twice"),
    "three atoms": ("coordinates: {d: {torsion: [1, 2, 3]}}\nstates: []", "list of 4 atoms"),
    "component": ("coordinates: {d: {component: 1}}\nstates: []", "model systems"),
    "no such torsion": (
        "states: [{name: a, where: {chi1: [0, 9]}}, {name: b, where: rest}]",
        "no torsion chi1",
    ),
    "empty where": ("states: [{name: a, where: {}}, {name: b, where: rest}]", "names no coordinate"),
    "range of one": ("states: [{name: a, where: {phi: [0]}}, {name: b, where: rest}]", "two numbers"),
    "range of words": (
        "states: [{name: a, where: {phi: [low, high]}}, {name: b, where: rest}]",
        "two numbers",
    ),
    "range with NaN": ("states: [{name: a, where: {phi: [.nan, 9]}}, {name: b, where: rest}]", "two numbers"),
    "empty range": ("states: [{name: a, where: {phi: [9, 9]}}, {name: b, where: rest}]", "within one turn"),
    "radians times 100": ("states: [{name: a, where: {phi: [0, 400]}}, {name: b, where: rest}]", "one turn"),
    "distance backwards": (
        "coordinates: {d: {distance: [1, 3]}}\n"
        "states: [{name: a, where: {d: [2, 1]}}, {name: b, where: rest}]",
        "is empty",
    ),
    "two rests": ("states: [{name: a, where: rest}, {name: b, where: rest}]", "only one state"),
    "same name": (
        "states: [{name: a, where: rest}, {name: a, where: {phi: [0, 9]}}]",
        "two states are called",
    ),
    "key twice": ("states: [{name: a, where: {phi: [0, 9], phi: [9, 20]}}, {name: b, where: rest}]", "twice"),
    "difference unknown": (
        "states: [{name: a, where: {phi: [0, 9]}}, {name: b, where: rest}]\ndifferences: [[a, c]]",
        "not a state",
    ),
    "difference of one": (
        "states: [{name: a, where: {phi: [0, 9]}}, {name: b, where: rest}]\ndifferences: [[a, a]]",
        "pair of two states",
    ),
}


@pytest.mark.parametrize(("text", "words"), BAD_STATES.values(), ids=BAD_STATES.keys())
def test_bad_states_files(tmp_path, topology, text, words):
    path = tmp_path / "states.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_states(path, topology)
    assert str(path) in str(caught.value) and words in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_states_file(tmp_path, topology):
    with pytest.raises(InputError, match="no such file"):
        read_states(tmp_path / "none.yaml", topology)
    with pytest.raises(InputError, match="cannot be read"):
        read_states(tmp_path, topology)
    (tmp_path / "s.json").write_text('{"states": [')
    with pytest.raises(InputError, match="not valid JSON"):
        read_states(tmp_path / "s.json", topology)


def test_overlapping_states_are_refused(topology, positions):
    states = [*TWO, {"name": "wide", "where": {"phi": [-90, 90], "psi": [-180, 180]}}]
    with pytest.raises(InputError, match=r"(left|right) and wide overlap: \d+ samples"):
        parse_states({"states": states}, topology).masks(positions)


def test_rows_without_positions_lie_in_no_state(topology, positions):
    broken = positions.copy()
    broken[3] = np.nan
    masks = parse_states({"states": [TWO[0], {"name": "other", "where": "rest"}]}, topology).masks(broken)
    assert not masks["left"][3] and not masks["other"][3]
    assert sum(mask.sum() for mask in masks.values()) == len(broken) - 1


def test_the_examples_of_the_documents_are_states_files(tmp_path, topology, positions):
    import re

    text = (ROOT / "docs" / "states.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / "states.yaml").write_text(block)
        masks = read_states(tmp_path / "states.yaml", topology).masks(positions)
        assert sum(mask.sum() for mask in masks.values()) == len(positions)
