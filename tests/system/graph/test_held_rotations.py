"""Held rotations: their kinds, sides and words, and what opens when one is set free."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import assert_refused

from boltzgen.config.build import build_flow
from boltzgen.data.statistics import slow_torsions
from boltzgen.dynamics.torsion_moves import Rotors
from boltzgen.errors import InputError, UnsupportedError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.free_energy import state_free_energies
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.formats.pdb_text import AtomName, format_pdb
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.held_rotations import bonds_to_open, side_of
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare as prepare_system
from boltzgen.trust.judgement import state_columns
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.preparation.prepare import prepare

FLOW = CouplingSettings(layers=2, hidden=16, embedding=8, encoder_blocks=1)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CC(=O)O", [("C2-O2", "acid", "Z")]),
        ("CC(=O)OC", [("C2-O2", "ester", "Z")]),
        ("CC(=O)NC", [("C2-N1", "amide", "trans")]),
        ("COC(=O)NC", [("O1-C2", "ester", "Z"), ("C2-N1", "carbamate", "trans")]),
        ("CC(=O)OC(C)=O", [("C2-O2", "ester", "Z"), ("O2-C3", "ester", "Z")]),
        ("CNC(=O)NC(C)C", [("N1-C2", "urea", "trans"), ("C2-N2", "urea", "trans")]),
        ("NC(=N)N", [("C1-N2", "amidine", "")]),
        (r"C/C=C\C", [("C2-C3", "double bond", "Z")]),
        ("CN=NC", [("N1-N2", "double bond", "E")]),
        ("CNc1ccncc1", [("N1-C2", "conjugated", "")]),
        ("CCOC", []),
    ],
)
def test_held_rotations_have_kinds_and_sides(smiles, expected):
    found = prepare(smiles=smiles, check=True)
    sides = found.stereo_labels[len(found.stereocentres) :]
    held = zip(found.isomer_bonds, found.isomer_kinds, sides, strict=True)
    assert [(name.removeprefix("UNL1 "), kind, side) for name, kind, side in held] == expected
    assert found.opened == ()
    graph = MolecularGraph.from_system(found.system)
    pairs = bonds_to_open(graph, found.system.atom_names, ["all"])
    opened = MolecularGraph.from_system(replace(found.system, free_rotations=pairs))
    assert opened.isomer_bonds == () and len(pairs) == len(expected)
    assert [torsion.kind for torsion in opened.torsions() if torsion.opened] == ["open"] * len(pairs)


def test_an_ester_given_as_e_is_called_e():
    """The same acid and ester with their other side as the reference: the side is the geometry's."""
    system = prepare_system(smiles="CC(=O)OC")
    graph = MolecularGraph.from_system(system)
    (bond,) = graph.isomer_bonds
    turned = np.array(system.reference_positions)
    axis = (turned[bond.p] - turned[bond.c]) / np.linalg.norm(turned[bond.p] - turned[bond.c])
    side = [atom for atom in graph.branch(bond.p, without=bond.c)]
    arm = turned[side] - turned[bond.p]
    turned[side] = turned[bond.p] + 2 * np.outer(arm @ axis, axis) - arm  # half a turn
    other = MolecularGraph.from_system(replace(system, reference_positions=turned))
    assert (side_of(graph, bond), side_of(other, other.isomer_bonds[0])) == ("Z", "E")


def test_words_open_kinds_and_single_bonds():
    system = prepare_system(sequence="ACE-ASH-NME", minimize=False)
    graph = MolecularGraph.from_system(system)
    names = [str(name) for name in system.atom_names]

    def opened(*words):
        pairs = bonds_to_open(graph, system.atom_names, words)
        return [{names[atom] for atom in pair} for pair in pairs]

    acid, first, second = {"ASP2 CG", "ASP2 OD2"}, {"ACE1 C", "ASP2 N"}, {"ASP2 C", "NME3 N"}
    assert (
        opened("acids") == opened("CG-OD2") == opened("ASP2 OD2-CG") == opened("ASP2  CG-ASP2 OD2") == [acid]
    )
    assert opened("Amides") == opened("ACE1 C-ASP2 N", "NME3 N-ASP2 C") == [first, second]
    assert opened("esters") == [] and len(opened("all")) == 3
    with pytest.raises(InputError, match=r"names several bonds.*ACE1 C-ASP2 N"):
        opened("C-N")
    with pytest.raises(UnsupportedError, match="states the isomer of C=C"):
        prepare_system(smiles=r"C/C=C/C", free_rotations=["double-bonds"])
    assert prepare_system(smiles="CC=CC", free_rotations=["double-bonds"]).free_rotations == ((1, 2),)
    with pytest.raises(InputError, match=r"neither a kind nor a bond.*thioesters.*ASP2 CG-OD2"):
        opened("CA-CB")


def test_what_is_opened_is_open_everywhere():
    held, free = (prepare_system(smiles="CC(=O)O", free_rotations=words) for words in ((), ("acids",)))
    pair = next(iter(free.free_rotations))
    assert held.fingerprint == free.fingerprint and held.free_rotations == ()
    graphs = [MolecularGraph.from_system(system) for system in (held, free)]
    assert [t.kind for t in graphs[0].torsions() if t.bonds == (pair,)] == ["isomer"]
    assert [t.kind for t in graphs[1].torsions() if t.bonds == (pair,)] == ["open"]
    assert [len(Rotors.of(system)) for system in (held, free)] == [0, 1]
    assert len(slow_torsions(free)) == 1
    targets = [Target.from_system(system) for system in (held, free)]
    assert targets[0].domain != targets[1].domain
    assert [len(state_columns(target, free.atom_names)) for target in targets] == [0, 1]
    other = np.array(free.reference_positions)
    (hydrogen,) = set(graphs[1].neighbours[pair[1]]) - {pair[0]}
    axis = (other[pair[1]] - other[pair[0]]) / np.linalg.norm(other[pair[1]] - other[pair[0]])
    arm = other[hydrogen] - other[pair[1]]
    other[hydrogen] = other[pair[1]] + 2 * (arm @ axis) * axis - arm
    inside = [bool(target.coordinates.inside(torch.as_tensor(other[None]))[0]) for target in targets]
    assert inside == [False, True]


def test_folders_keep_what_was_opened_and_old_ones_hold_all(tmp_path):
    prepare(smiles="CC(=O)O", output=tmp_path / "HELD")
    prepare(smiles="CC(=O)O", output=tmp_path / "FREE", free_rotations=["C2-O2"])
    records = {name: json.loads((tmp_path / name / "system.json").read_text()) for name in ("HELD", "FREE")}
    assert "free_rotations" not in records["HELD"], "as folders of before"
    assert records["FREE"]["free_rotations"] == [[1, 3]]
    assert MolecularSystem.load(tmp_path / "FREE").free_rotations == ((1, 3),)
    assert MolecularSystem.load(tmp_path / "HELD").free_rotations == ()
    with pytest.raises(InputError, match="with other `free_rotations`"):
        prepare(smiles="CC(=O)O", output=tmp_path / "FREE")
    system = MolecularSystem.load(tmp_path / "HELD")
    with pytest.raises(InputError, match="name atoms without a bond"):
        replace(system, free_rotations=((0, 3),))


def test_the_command_line_opens_and_tells(tmp_path, capsys):
    from boltzgen_cli.main import main

    assert main(["prepare", "--smiles", "CC(=O)OC", "--check"]) == 0
    assert "C2-O2 (ester, Z)" in capsys.readouterr().out
    assert main(["prepare", "--smiles", "CC(=O)OC", "--check", "--free-rotation", "esters"]) == 0
    assert "rotations set free" in capsys.readouterr().out
    words = ["prepare", "--smiles", "CC(=O)OC", "--check", "--free-rotation"]
    assert_refused([*words, "acid"], "--free-rotation acid", "C2-O2")
    assert main([*words, "amides"]) == 0
    assert "--free-rotation amides opens nothing" in " ".join(capsys.readouterr().err.split())


#: Terms of the torsion: periodicity, phase (rad), kJ/mol; the barrier is some 55.
NITROUS_TORSION = ((1, 0.3, 3.6), (2, np.pi, 28.0))
_LENGTHS, _BENDS = (0.117, 0.143, 0.096), (1.93, 1.78)


def nitrous_acid() -> MolecularSystem:
    """Bonds, angles and one torsion, each alone: nothing couples them."""
    import openmm

    bonds, angles, torsion = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    for atom, (length, constant) in enumerate(zip(_LENGTHS, (600000.0, 200000.0, 400000.0), strict=True)):
        bonds.addBond(atom, atom + 1, length, constant)
    for atom, (bend, constant) in enumerate(zip(_BENDS, (500.0, 400.0), strict=True)):
        angles.addAngle(atom, atom + 1, atom + 2, bend, constant)
    for n, phase, constant in NITROUS_TORSION:
        torsion.addTorsion(0, 1, 2, 3, n, phase, constant)
    system, masses, symbols = openmm.System(), (16.0, 14.0, 16.0, 1.008), ("O", "N", "O", "H")
    for mass in masses:
        system.addParticle(mass)
    for force in (bonds, angles, torsion):
        system.addForce(force)
    first = _LENGTHS[0] * np.array([np.cos(_BENDS[0]), np.sin(_BENDS[0]), 0.0])
    last = np.array([_LENGTHS[1], 0.0, 0.0]) - _LENGTHS[2] * np.array(
        [np.cos(_BENDS[1]), np.sin(_BENDS[1]), 0.0]
    )
    positions = np.array([first, [0.0, 0.0, 0.0], [_LENGTHS[1], 0.0, 0.0], last])
    pairs = np.array([(0, 1), (1, 2), (2, 3)])
    names = [AtomName("A", "TOY", "1", "", f"{symbol}{k + 1}", True) for k, symbol in enumerate(symbols)]
    return MolecularSystem(
        name="nitrous acid",
        atomic_numbers=np.array([8, 7, 8, 1]),
        masses=np.array(masses),
        bonds=pairs,
        reference_positions=positions,
        system_xml=openmm.XmlSerializer.serialize(system),
        topology_pdb=format_pdb(names, list(symbols), positions, pairs),
    )


def free_energy_of_the_other_side(system: MolecularSystem, atoms, kelvin: float, number: int):
    """G(trans) - G(cis) in kT of a torsion and its error, from weighted draws of an untrained flow."""
    generator = BoltzmannGenerator(build_flow(FLOW, seed=0), Target.from_system(system))
    drawn = generator.sample(number, kelvin, seed=1)
    trans = np.cos(dihedral_angles(drawn.positions, np.array([atoms]))[:, 0]) < 0
    statistics = Statistics(np.random.default_rng(3), n_bootstrap=200)
    (found,) = state_free_energies(
        drawn.log_w, {"cis": ~trans, "trans": trans}, [("cis", "trans")], statistics
    )
    return found.value, found.standard_error


def test_the_free_energy_of_an_opened_torsion_is_the_integral():
    """Bonds and angles by themselves: what is left is one angle, by quadrature."""
    held = nitrous_acid()
    assert len(MolecularGraph.from_system(held).isomer_bonds) == 1
    phi = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000 - np.pi
    energy = sum(k * (1 + np.cos(n * phi - phase)) for n, phase, k in NITROUS_TORSION)
    weight = np.exp(-energy / (GAS_CONSTANT * 350.0))
    trans = np.cos(phi) < 0
    exact = -np.log(weight[trans].sum() / weight[~trans].sum())
    found, error = free_energy_of_the_other_side(
        replace(held, free_rotations=((1, 2),)), (0, 1, 2, 3), 350.0, 20_000
    )
    assert 1.5 < abs(exact) < 4.0 and error < 0.06
    assert abs(found - exact) < 3.5 * error


def test_the_other_side_of_formic_acid_is_as_a_long_simulation_has_it():
    """MMFF94 at 800 K: 4.91 +- 0.39 % E, of 64 walks of 20 ps with 26 880 moves about the C-O bond.

    ``simulate(engine="torch", replicas=64, torsion_moves=2, timestep="0.5fs", seed=2)``, 460 s of one core.
    """
    system = prepare_system(smiles="O=CO", free_rotations=["acids"])
    found, error = free_energy_of_the_other_side(system, (0, 1, 2, 4), 800.0, 20_000)
    simulated = -np.log(0.0490625 / (1 - 0.0490625))
    spread = 0.0038798 / (0.0490625 * (1 - 0.0490625))
    assert abs(found - simulated) < 3 * np.hypot(error, spread) < 0.4
