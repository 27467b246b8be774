"""Where replicas begin: conformers, structures of files in any order of atoms, and what is refused."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from helpers import assert_refused

from boltzgen.coordinates.domain import Domain
from boltzgen.dynamics.starts import HIGHEST, conformer_starts, has_ring_states, starts_of
from boltzgen.errors import InputError
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.prepare import prepare
from boltzgen.trust.rings import ring_codes, ring_columns
from boltzgen.workflows.simulation.simulate import simulate


@cache
def made(smiles: str):
    return prepare(smiles=smiles, forcefield=("mmff94",))


def sdf(system, frames: np.ndarray, order: np.ndarray | None = None) -> str:
    """An SDF with a record for each of `frames` (F, N, 3) nm, its atoms in `order`."""
    from rdkit import Chem

    order = np.arange(system.n_atoms) if order is None else order
    place = np.argsort(order)
    molecule = Chem.RWMol()
    for atom in order:
        molecule.AddAtom(Chem.Atom(int(system.atomic_numbers[atom])))
    for first, second in np.asarray(system.bonds).tolist():
        molecule.AddBond(int(place[first]), int(place[second]), Chem.BondType.SINGLE)
    text = ""
    for frame in frames:
        shape = Chem.Conformer(system.n_atoms)
        shape.SetPositions(np.ascontiguousarray(10.0 * frame[order]))
        one = Chem.Mol(molecule)
        one.AddConformer(shape)
        text += Chem.MolToMolBlock(one) + "$$$$\n"
    return text


def xyz(system, frames: np.ndarray) -> str:
    """As CREST writes its conformers: the energy in the comment, elements, angstrom."""
    from rdkit import Chem

    symbol = Chem.GetPeriodicTable().GetElementSymbol
    text = ""
    for frame in frames:
        text += f"  {system.n_atoms}\n        -25.98765432\n"
        for number, place in zip(system.atomic_numbers, 10.0 * frame, strict=True):
            text += f" {symbol(int(number)):2s} " + " ".join(f"{value:20.10f}" for value in place) + "\n"
    return text


def test_conformers_are_low_different_and_inside_the_domain():
    system = made("C[C@H]1CCCC[C@@H]1O")
    graph, starts = MolecularGraph.from_system(system), conformer_starts(system)
    columns = ring_columns(graph, system.atom_names)
    assert {0, 1} <= set(ring_codes(columns, starts)[:, 0].tolist()), "both chairs"
    assert (Domain(graph, "reference")(torch.as_tensor(starts)) == 0).all()
    energies = potential_of(system).energy(torch.as_tensor(starts)).numpy()
    assert (np.diff(energies) > -1e-3).all() and energies[-1] - energies[0] < HIGHEST
    (hydroxyl,) = [t for t in graph.torsions() if t.kind == "open"]
    third = np.floor(np.mod(dihedral_angles(starts, np.array([hydroxyl.atoms]))[:, 0], 2 * np.pi) / 2.0943952)
    labels = np.c_[third, ring_codes(columns, starts)]
    assert len(np.unique(labels, axis=0)) == len(labels) > 3


def test_only_rings_with_states_start_from_conformers_by_themselves(butane):
    assert not has_ring_states(butane) and has_ring_states(made("CC1CCCCC1"))
    one = starts_of(butane, "auto", 8)
    assert one.source == "reference" and np.array_equal(one.positions[0], butane.reference_positions)
    assert starts_of(made("CC1CCCCC1"), "reference", 8).source == "reference"
    many = starts_of(made("CC1CCCCC1"), "auto", 2)
    assert many.source == "conformers" and len(many.positions) == 2
    hexane = starts_of(made("CCCCCC"), "conformers", 6)
    assert hexane.source == "conformers" and len(hexane.positions) == 6


@pytest.mark.parametrize("form", ["sdf", "shuffled sdf", "xyz", "dcd"])
def test_structures_of_files_are_those_of_the_molecule_atom_by_atom(tmp_path, form):
    system = made("C[C@H]1CCCC[C@@H]1O")
    frames = conformer_starts(system)[:3]
    order = np.arange(system.n_atoms)
    if form == "shuffled sdf":
        np.random.default_rng(3).shuffle(order)
    path = tmp_path / f"starts.{form.split()[-1]}"
    if form == "dcd":
        import mdtraj

        mdtraj.Trajectory(frames, system.mdtraj_topology()).save_dcd(str(path))
    else:
        path.write_text(xyz(system, frames) if form == "xyz" else sdf(system, frames, order))
    found = starts_of(system, path, 10)
    assert found.source == str(path)
    potential = potential_of(system)
    same, expected = (potential.energy(torch.as_tensor(x)).numpy() for x in (found.positions, frames))
    np.testing.assert_allclose(same, expected, atol=0.05)
    if form != "shuffled sdf":  # there hydrogens of a methyl may have changed places
        np.testing.assert_allclose(found.positions, frames, atol=2e-5)
    assert (
        Domain(MolecularGraph.from_system(system), "reference")(torch.as_tensor(found.positions)) == 0
    ).all()
    assert np.allclose(starts_of(system, path, 2).positions, found.positions[[0, 2]])


def test_hydrogens_that_changed_places_are_put_back(tmp_path):
    """The two of a CH2 and two of a methyl: the labels say other hands, and nothing else is wrong."""
    system = made("CC1CCCCC1")
    frames = conformer_starts(system)[:2]
    graph, order = MolecularGraph.from_system(system), np.arange(system.n_atoms)
    for carbon in (0, 3):
        first, second = [n for n in graph.neighbours[carbon] if system.atomic_numbers[n] == 1][:2]
        order[[first, second]] = order[[second, first]]
    (tmp_path / "image.xyz").write_text(xyz(system, frames[:, order]))
    found = starts_of(system, tmp_path / "image.xyz", 5).positions
    assert (Domain(MolecularGraph.from_system(system), "reference")(torch.as_tensor(found)) == 0).all()
    energies = [potential_of(system).energy(torch.as_tensor(x)).numpy() for x in (frames, found)]
    np.testing.assert_allclose(*energies, atol=0.05)


def test_what_is_no_start_is_refused(tmp_path, monkeypatch):
    system, other = made("C[C@H]1CCCC[C@@H]1O"), made("CC1CCCCC1")
    monkeypatch.chdir(tmp_path)
    frames = np.array(system.reference_positions)[None]
    order = np.r_[1, 0, np.arange(2, system.n_atoms)]
    files = {
        "hand.xyz": (xyz(system, frames * np.array([1.0, 1.0, -1.0])), "the other hand"),
        "order.xyz": (xyz(system, frames[:, order]), "order"),
        "short.xyz": (xyz(system, frames)[:-200], "cut short|XYZ"),
        "words.xyz": ("good morning\n", "XYZ"),
        "other.xyz": (xyz(other, np.array(other.reference_positions)[None]), "21 atoms"),
        "other.sdf": (sdf(other, np.array(other.reference_positions)[None]), "21 atoms"),
        "empty.sdf": ("", "no structures"),
        "broken.sdf": ("a\nb\n\nrubbish\n$$$$\n", "does not read"),
        "form.pdb": ("", "unknown"),
    }
    for name, (text, words) in files.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=words):
            starts_of(system, name, 4)
    with pytest.raises(InputError, match="no such file"):
        starts_of(system, "absent.xyz", 4)
    system.save(tmp_path / "SYS")
    assert_refused(["simulate", "SYS", "-o", "MD", "--starts", "absent.xyz"], "absent.xyz", "no such file")
    assert not (tmp_path / "MD").exists()


def test_a_run_begins_at_what_it_was_given_and_says_so(tmp_path):
    system = made("CC1CCCCC1")
    frames = conformer_starts(system)[:2]
    (tmp_path / "crest_conformers.xyz").write_text(xyz(system, frames[::-1]))
    asked = {
        "temperatures": 300.0,
        "time": "2fs",
        "save_interval": "1fs",
        "equilibration": "0fs",
        "ring_moves": 0,
    }
    for engine in ("openmm", "torch"):
        more = {"replicas": 4, "compile_energies": False} if engine == "torch" else {"platform": "Reference"}
        result = simulate(
            system,
            tmp_path / engine,
            engine=engine,
            starts=tmp_path / "crest_conformers.xyz",
            **asked,
            **more,
        )
        record = result.to_json()["starts"]
        assert record["number"] == (1 if engine == "openmm" else 2) and record["source"].endswith(
            "crest_conformers.xyz"
        )
        words = {state.name.split(" with ")[1] for state in result.ring_states if state.frames}
        assert words == {"C1 axial"} if engine == "openmm" else words == {"C1 axial", "C1 equatorial"}
        assert any("these are the starts' populations" in words for words in result.warnings) == (
            engine == "torch"
        )
