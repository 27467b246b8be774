"""States of rings against geometry that is built in another way, and what is said of missing ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from rdkit import Chem

from boltzgen.coordinates.conformers import as_labelled
from boltzgen.coordinates.domain import Domain
from boltzgen.data.convergence import convergence
from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import slowest_inefficiencies
from boltzgen.data.trajectory import write_trajectory
from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError
from boltzgen.free_energy import parse_states, read_states
from boltzgen.free_energy.variables import read_topology, ready_variable
from boltzgen.generator import Target
from boltzgen.system.graph.bond_orders import lewis_structure
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.ring_states import ChairStates, NitrogenStates, SignStates, ring_states
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.trust.rings import (
    RingMinima,
    missing_states,
    ring_codes,
    ring_columns,
    ring_minima,
    rings_of_frames,
)
from boltzgen.trust.rotamers import rotamer_comparison
from boltzgen.workflows.free_energy.mbar import mbar
from boltzgen.workflows.preparation.prepare import prepare as describe
from boltzgen.workflows.simulation.simulate import simulate

SMILES = {
    "methylcyclohexane": "CC1CCCCC1",
    "cyclohexane": "C1CCCCC1",
    "piperidine": "C1CCNCC1",
    "methylpiperidine": "CN1CCCCC1",
    "tetrahydropyran": "C1CCOCC1",
    "cyclopentane": "C1CCCC1",
    "cycloheptane": "C1CCCCCC1",
    "trans-decalin": "[C@@H]12CCCC[C@H]1CCCC2",
    "cis-decalin": "[C@@H]12CCCC[C@@H]1CCCC2",
    "norbornane": "C1CC2CCC1C2",
    "cyclohexene": "C1CCC=CC1",
    "methylcyclohexene": "CC1CCC=CC1",
    "trans-methylcyclohexanol": "O[C@H]1CC[C@H](C)CC1",
    "cis-methylcyclohexanol": "O[C@H]1CC[C@@H](C)CC1",
    "dimethylaziridine": "CN1CC1C",
    "triazine": "n1cncnc1",
    "cyclohexylbenzene": "C1CCCCC1c1ccccc1",
}


@cache
def molecule(name: str) -> tuple[MolecularSystem, MolecularGraph]:
    system = prepare(smiles=SMILES[name])
    return system, MolecularGraph.from_system(system)


@cache
def minima(name: str) -> RingMinima:
    found = ring_minima(molecule(name)[0])
    assert found is not None
    return found


def named(name: str) -> list[dict[int, float]]:
    """For each ring the heights (kJ/mol) of its states, by words."""
    system, graph = molecule(name)
    columns, found = ring_columns(graph, system.atom_names), minima(name)
    return [
        {
            column.state(code): found.energies[found.codes[:, k] == code].min()
            for code in set(found.codes[:, k])
        }
        for k, column in enumerate(columns)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("methylcyclohexane", [ChairStates]),
        ("cyclohexane", [ChairStates]),
        ("piperidine", [ChairStates, NitrogenStates]),
        ("tetrahydropyran", [ChairStates]),
        ("cyclopentane", []),
        ("cycloheptane", [SignStates]),
        ("trans-decalin", [ChairStates, ChairStates]),
        ("cis-decalin", [ChairStates, ChairStates]),
        ("norbornane", []),
        ("cyclohexene", []),
        ("methylcyclohexene", [ChairStates]),
        ("dimethylaziridine", [NitrogenStates]),
        ("triazine", []),
    ],
)
def test_which_rings_have_states(name, expected):
    assert [type(states) for states in ring_states(molecule(name)[1])] == expected


def tilt(x: np.ndarray, ring, atom: int, bearer: int) -> float:
    """Degrees between a bond and the normal of the plane fitted to its ring by singular values."""
    normal = np.linalg.svd(x[list(ring)] - x[list(ring)].mean(axis=0))[2][2]
    bond = x[atom] - x[bearer]
    return float(np.degrees(np.arccos(abs(bond @ normal) / np.linalg.norm(bond))))


def alternates(x: np.ndarray, ring) -> bool:
    """Whether heights over the fitted plane change sign from atom to atom: a chair, told without angles."""
    normal = np.linalg.svd(x[list(ring)] - x[list(ring)].mean(axis=0))[2][2]
    height = (x[list(ring)] - x[list(ring)].mean(axis=0)) @ normal
    return bool((height * np.roll(height, 1) < 0).all())


@pytest.mark.parametrize("name", ["methylcyclohexane", "trans-methylcyclohexanol", "cis-methylcyclohexanol"])
def test_axial_and_equatorial_are_what_the_fitted_plane_says(name):
    """Every conformer of every state, shaken: the words of its state hold for its bonds."""
    system, graph = molecule(name)
    (column,) = ring_columns(graph, system.atom_names)
    rng = np.random.default_rng(4)
    atoms = {str(label.atom): k for k, label in enumerate(system.atom_names)}
    chairs = 0
    for x in np.repeat(minima(name).positions, 20, axis=0):
        x = x + rng.normal(0.0, 0.004, x.shape)
        code = int(column.states.classify(x[None])[0])
        assert alternates(x, column.states.atoms) == (code != 2)
        if code == 2:
            continue
        chairs += 1
        words = column.state(code).split(" with ")[1].split(", ")
        assert len(words) == (1 if name == "methylcyclohexane" else 2)
        for word in words:
            label, place = word.split()
            (bearer,) = set(graph.neighbours[atoms[label]]) & set(column.states.atoms)
            assert (tilt(x, column.states.atoms, atoms[label], bearer) < 40) == (place == "axial")
    assert chairs >= 40


@pytest.mark.parametrize("name", ["piperidine", "methylpiperidine"])
def test_the_hydrogen_of_piperidine_is_axial_by_its_tilt(name):
    graph = molecule(name)[1]
    ring, nitrogen = ring_states(graph)
    bearer = nitrogen.atoms[nitrogen.place]
    seen = set()
    for x in minima(name).positions:
        code = int(nitrogen.classify(x[None])[0])
        assert (code == -1) == (not alternates(x, ring.atoms))
        if code >= 0:
            assert (tilt(x, ring.atoms, nitrogen.third, bearer) < 40) == (code == 0)
            seen.add(code)
    assert seen == {0, 1}


def test_heights_are_those_of_the_textbook():
    """An axial methyl 1.4 kcal/mol under MMFF94 (1.7 in experiment), a twist boat 5 to 7."""
    (ring,) = named("methylcyclohexane")
    axial, equatorial, boat = (
        next(h for name, h in ring.items() if word in name) for word in ("axial", "equ", "boat")
    )
    assert equatorial == 0.0 and 5.0 < axial < 8.0 and 20.0 < boat < 30.0
    first, second = named("trans-decalin")
    assert all(len(ring) == 2 and "equatorial" in min(ring, key=ring.get) for ring in (first, second))
    ring, twin = (named(f"{kind}-methylcyclohexanol")[0] for kind in ("trans", "cis"))
    assert (
        min(ring, key=ring.get).count("equatorial") == 2
        and sum("O1 axial, C5 axial" in name for name in ring) == 1
    )
    assert all(name.count("equatorial") == 1 for name in twin if "boat" not in name)


def images_of(name: str, x: np.ndarray) -> np.ndarray:
    """`x` under every relabelling of its heavy atoms (RDKit's matches of it with itself), mirrored too.

    Hydrogens go with their heavy atoms and change places there, so that the hands are kept where they can be.
    """
    system, graph = molecule(name)
    heavy = [int(k) for k in np.flatnonzero(system.atomic_numbers > 1)]
    bare = Chem.RemoveHs(lewis_structure(system, 0))
    moved = []
    for match in bare.GetSubstructMatches(bare, uniquify=False, useChirality=False):
        order = np.arange(system.n_atoms)
        for atom, image in zip(heavy, (heavy[k] for k in match), strict=True):
            order[atom] = image
            pairs = [[n for n in graph.neighbours[k] if n not in heavy] for k in (atom, image)]
            order[pairs[0]] = pairs[1]
        moved.append(x[order])
    placed = as_labelled(graph, np.array(moved))
    return placed[(Domain(graph, "reference")(torch.as_tensor(placed)) == 0).numpy()]


@pytest.mark.parametrize("name", ["cyclohexane", "methylcyclohexane", "cycloheptane", "cis-decalin"])
def test_a_relabelled_conformation_has_the_same_states(name):
    """Relabellings and mirror images that keep all hands change no state; equal rings change places."""
    states = ring_states(molecule(name)[1])
    for x in minima(name).positions:
        images = images_of(name, x)
        assert len(images) >= {"methylcyclohexane": 2, "cis-decalin": 4}.get(name, 12)
        codes = np.sort(np.stack([ring.classify(images) for ring in states], axis=1), axis=1)
        assert (codes == codes[0]).all()


def frames_of(name: str, rows: list[int]) -> np.ndarray:
    x = minima(name).positions[rows]
    return x + np.random.default_rng(2).normal(0.0, 0.003, x.shape)


def said_of(name: str, positions: np.ndarray) -> list[tuple[str, str]]:
    system, graph = molecule(name)
    columns = ring_columns(graph, system.atom_names)
    return missing_states(columns, minima(name), ring_codes(columns, positions), 300.0, "frames")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("methylcyclohexane", "C1 axial"),
        ("piperidine", "axial on N1"),
        ("methylcyclohexene", "half-chair with C1 axial"),
        ("dimethylaziridine", "N1 inverted"),
    ],
)
def test_a_chair_that_no_frame_shows_is_named(name, words):
    ((verdict, reason),) = said_of(name, frames_of(name, [0] * 1000))
    assert verdict == ("caution" if name == "dimethylaziridine" else "unreliable") and words in reason
    assert not said_of(name, frames_of(name, [0] * 950 + [1] * 50))
    assert not said_of(name, frames_of(name, [0] * 20)), (
        "of 20 frames one or two are expected: nothing is told"
    )


@pytest.mark.parametrize(
    "name",
    ["cyclohexane", "tetrahydropyran", "trans-decalin", "cis-decalin", "cycloheptane", "methylpiperidine"],
)
def test_mirror_states_and_high_ones_are_not_missed(name):
    assert not said_of(name, frames_of(name, [0] * 1000))


def as_ensemble(positions: np.ndarray) -> Ensemble:
    return Ensemble.from_densities(
        positions,
        np.zeros(len(positions)),
        np.zeros(len(positions)),
        temperature=300.0,
        measure="shape",
        system_fingerprint="x",
        domain="x",
        topology_pdb="",
    )


def test_populations_of_chairs_are_compared_with_frames():
    name = "methylcyclohexane"
    target = Target.from_system(molecule(name)[0])
    seen = torch.as_tensor(frames_of(name, [0] * 360 + [1] * 40))
    rows = {"all equatorial": [0] * 500, "as in the frames": [0] * 450 + [1] * 50}
    told = {}
    for what, drawn in rows.items():
        states = rotamer_comparison(target, as_ensemble(frames_of(name, drawn)), seen, 2.0)
        record = check_coverage(np.zeros(500), np.zeros(400), source="x", states=states)
        told[what] = record["verdict"], " ".join(record["reasons"])
    assert told["as in the frames"][0] == "ok"
    assert (
        told["all equatorial"][0] == "unreliable"
        and "with C1 axial is 0 here and 0.1" in told["all equatorial"][1]
    )


def test_both_chairs_lie_in_the_domain_and_come_back():
    """The flow can reach the second chair: coordinates hold every state of the ring."""
    for name in ("methylcyclohexane", "piperidine", "cis-decalin", "cycloheptane"):
        coordinates = Target.from_system(molecule(name)[0]).coordinates
        x = torch.as_tensor(minima(name).positions)
        values, _ = coordinates.encode(x)
        assert bool(coordinates.inside(x).all())
        assert bool((values > torch.as_tensor(coordinates.table.lower)).all())
        assert bool((values < torch.as_tensor(coordinates.table.upper)).all())
        back = coordinates.decode(values)[0]
        states = ring_states(coordinates.graph)
        for ring in states:
            np.testing.assert_array_equal(ring.classify(back.numpy()), ring.classify(x.numpy()))


def test_rows_that_are_not_finite_have_no_state():
    for name in ("methylcyclohexane", "piperidine", "cycloheptane"):
        x = np.repeat(minima(name).positions[:1], 3, axis=0)
        x[1], x[2] = np.nan, 0.0
        codes = np.stack([ring.classify(x) for ring in ring_states(molecule(name)[1])], axis=1)
        assert (codes[1] == -1).all() and (codes[0] >= 0).all()


def test_a_simulation_names_the_chair_that_it_lacks(tmp_path):
    """4 ps at 300 K never invert the ring: 200 frames, of which one in ten should be axial."""
    system = molecule("methylcyclohexane")[0]
    made = simulate(
        system,
        tmp_path / "MD",
        time="4ps",
        save_interval="20fs",
        exchange_interval="0.1ps",
        equilibration="0.2ps",
        platform="Reference",
        starts="reference",
        ring_moves=0,
    )
    counts = {state.name.split(" with ")[1]: (state.frames, state.height_kT) for state in made.ring_states}
    assert counts["C1 equatorial"] == (200, 0.0) and counts["C1 axial"][0] == 0
    (warning,) = made.warnings
    assert warning.startswith("0 of 200 frames show ring") and "C1 axial" in warning
    frames = Trajectory(
        frames_of("methylcyclohexane", [0] * 200), np.zeros(200), np.full(200, 300.0), np.zeros(200, int)
    )
    manifest = {**made.to_json(), "statistical_inefficiency": {"energy@300K": 1.0}}
    judged = convergence(frames, system, manifest)
    assert judged["verdict"] == "short" and warning in judged["reasons"]
    assert convergence(frames, system, {**manifest, "rings": {"missing": []}})["verdict"] == "converged"
    cyclopentane = molecule("cyclopentane")[0]
    assert rings_of_frames(cyclopentane, cyclopentane.reference_positions[None], 300.0) is None


def test_inversions_of_a_ring_are_the_slowest_series():
    """Between the two chairs of methylcyclohexane with g = 0.97 / 0.03, beside which all else is noise."""
    system, flip = molecule("methylcyclohexane")[0], 0.03
    rng = np.random.default_rng(11)
    inside = (np.cumsum(rng.random(8000) < flip) % 2).astype(bool)
    pair = minima("methylcyclohexane").positions[:2]
    positions = np.where(inside[:, None, None], *pair) + rng.normal(0.0, 0.002, (8000, *pair[0].shape))
    trajectory = Trajectory(positions, np.full(8000, np.nan), np.full(8000, 310.0), np.zeros(8000, int))
    found = slowest_inefficiencies(trajectory, system)
    assert found["torsions@310K"] == pytest.approx((1 - flip) / flip, rel=0.25)


def test_a_states_file_tells_chairs_by_theta(tmp_path):
    """Ready for the one saturated ring, or declared by its atoms: the chairs that `ring_states` tells."""
    for name in ("methylcyclohexane", "cyclohexylbenzene"):
        system, graph = molecule(name)
        topology = read_topology(system.topology_pdb)
        (ring,) = ring_states(graph)
        text = "states: [{name: a, where: {pucker: [0, 60]}}, {name: b, where: {pucker: [120, 181]}}]"
        (tmp_path / "states.yaml").write_text(text)
        x = frames_of(name, list(range(len(minima(name).codes))) * 50)
        codes = ring.classify(x)
        found = read_states(tmp_path / "states.yaml", topology).masks(x)
        np.testing.assert_array_equal(found["a"], codes == 0)
        np.testing.assert_array_equal(found["b"], codes == 1)
        assert (codes == 0).any() and (codes == 1).any() and (codes == 2).any()
        content = {
            "coordinates": {"turned": {"pucker": [*ring.atoms[1:], ring.atoms[0]]}},
            "states": [{"name": "a", "where": {"turned": [120, 181]}}, {"name": "rest", "where": "rest"}],
        }
        np.testing.assert_array_equal(parse_states(content, topology).masks(x)["a"], codes == 0)
        content["coordinates"]["turned"]["pucker"] = [*ring.atoms[1::2], *ring.atoms[::2]]
        with pytest.raises(InputError, match="a pucker takes the atoms of a ring in their order"):
            parse_states(content, topology)
    for name, rings in (("cyclopentane", 0), ("cis-decalin", 2)):
        with pytest.raises(InputError, match=f"has {rings} saturated rings of six"):
            ready_variable("pucker", read_topology(molecule(name)[0].topology_pdb))


def test_prepare_says_what_is_axial():
    found = describe(smiles="CC1CCCCC1", check=True)
    assert found.rings == (6,) and found.puckers == ("chair, C1 equatorial",)
    assert describe(smiles="C1CCNCC1", check=True).puckers == ("chair, H7 equatorial on N1",)
    assert describe(smiles="C1CCOCC1", check=True).puckers == ("chair",)


def test_mbar_of_simulations_names_the_chair_that_they_lack(tmp_path):
    """Frames alone vouch for coverage, but not of a chair that they never show."""
    system = molecule("methylcyclohexane")[0]
    system.save(tmp_path / "SYS")
    told = {}
    for what, rows in {"one": [0] * 200, "both": [0] * 180 + [1] * 20}.items():
        for kelvin in (300.0, 310.0):
            frames = frames_of("methylcyclohexane", rows)
            frames = Trajectory(frames, np.full(200, np.nan), np.full(200, kelvin), np.zeros(200, int))
            given = replace(
                frames,
                system_fingerprint=system.fingerprint,
                statistical_inefficiency={f"torsions@{kelvin:g}K": 1.0},
            )
            write_trajectory(tmp_path / f"{what}{kelvin:g}", given)
        folders = [tmp_path / f"{what}{kelvin}" for kelvin in (300, 310)]
        found = mbar(folders, systems=[tmp_path / "SYS"], n_bootstrap=20, output=tmp_path / f"{what}.json")
        told[what] = " ".join(found.estimates[0].reasons)
    assert "0 of 400 frames show" in told["one"] and "C1 axial" in told["one"]
    assert "axial" not in told["both"]
