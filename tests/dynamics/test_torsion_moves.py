"""Metropolis moves about bonds: exact populations, which atoms turn, what is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from butane import OPLS_TORSION
from helpers import assert_refused
from molecules import from_smiles

from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics import batched_run
from boltzgen.dynamics.batched_langevin import PhasePoint, energy_with_gradient
from boltzgen.dynamics.settings import BatchedSettings
from boltzgen.dynamics.torsion_moves import Rotors, rotated, torsion_move
from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.geometry import angles, dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import MOVED
from boltzgen.system.prepare import prepare
from boltzgen.training.settings import SimulationSource
from boltzgen.units import KJ_PER_KCAL, thermal_energy
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.simulation.source import simulate_source
from boltzgen_cli.main import main

SHORT = {
    "engine": "torch",
    "temperatures": (300.0, 600.0),
    "replicas": 8,
    "equilibration": "0.04ps",
    "save_interval": "0.04ps",
    "exchange_interval": "0.02ps",
    "compile_energies": False,
    "torsion_moves": 3,
}


def gauche(kelvin: float) -> float:
    """The exact share of |phi| < 120 degrees of the torsion alone."""
    phi = np.linspace(-np.pi, np.pi, 20_001)
    v1, v2, v3 = (KJ_PER_KCAL * v for v in OPLS_TORSION)
    energy = (v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))) / 2
    weight = np.exp(-energy / thermal_energy(kelvin))
    return float(weight[np.abs(phi) < 2 * np.pi / 3].sum() / weight.sum())


def test_moves_alone_bring_the_exact_populations(butane):
    """6000 rows at each of two temperatures, all from trans; 4 sigma is 0.025, they differ by 0.13."""
    energy = energy_with_gradient(potential_of(butane))
    x = torch.as_tensor(np.array(butane.reference_positions)).expand(12_000, -1, -1).clone()
    kt = torch.tensor([thermal_energy(t) for t in (300.0, 600.0)]).repeat_interleave(6000)
    point = PhasePoint(x, torch.zeros_like(x), *energy(x))
    rotors, generator = Rotors.of(butane), torch.Generator().manual_seed(2)
    assert len(rotors) == 1
    for _ in range(25):
        point, taken = torsion_move(point, energy, rotors, kt=kt, generator=generator)
    assert 0.4 < taken.double().mean() < 1.0
    torch.testing.assert_close(point.energy, energy(point.positions)[0])
    phi = dihedral_angles(point.positions.numpy(), np.array([[0, 1, 2, 3]]))[:, 0]
    found = (np.abs(phi) < 2 * np.pi / 3).reshape(2, 6000).mean(axis=1)
    expected = [gauche(300.0), gauche(600.0)]
    assert abs(expected[0] - expected[1]) > 0.1
    np.testing.assert_allclose(found, expected, atol=0.025)


def test_the_smaller_side_of_a_bond_turns_and_amides_and_rings_do_not():
    alanine = prepare(sequence="ACE-ALA-NME", forcefield=("amber14-all.xml",))
    proline = prepare(sequence="ACE-PRO-NME", forcefield=("amber14-all.xml",))
    rotors = Rotors.of(alanine)
    assert len(rotors) == 2 and len(Rotors.of(proline)) == 1
    assert rotors.turning.sum(dim=1).max() <= alanine.n_atoms // 2
    energy = energy_with_gradient(potential_of(alanine))
    x = torch.as_tensor(np.array(alanine.reference_positions)).expand(64, -1, -1).clone()
    point = PhasePoint(x, torch.randn_like(x), *energy(x))
    hot = torch.full((64,), 1e6, dtype=torch.float64)
    new, taken = torsion_move(point, energy, rotors, kt=hot, generator=torch.Generator().manual_seed(1))
    assert taken.all() and torch.equal(new.velocities, point.velocities)
    moved = (new.positions - x).norm(dim=-1) > 1e-9
    sides = {tuple(row) for row in rotors.turning.tolist()}
    axes = dict(zip(map(tuple, rotors.turning.tolist()), rotors.bonds.tolist(), strict=True))
    for row in moved.tolist():
        (side,) = [s for s in sides if all(turns or not went for turns, went in zip(s, row, strict=True))]
        assert set(np.flatnonzero(side)) - set(np.flatnonzero(row)) == {axes[side][1]}  # it lies on the axis
    lengths = [(new.positions[:, i] - new.positions[:, j]).norm(dim=-1) for i, j in alanine.bonds]
    before = [(x[:, i] - x[:, j]).norm(dim=-1) for i, j in alanine.bonds]
    torch.testing.assert_close(lengths, before)
    cold = torch.full((64,), 1e-9, dtype=torch.float64)
    _, taken = torsion_move(point, energy, rotors, kt=cold, generator=torch.Generator().manual_seed(1))
    assert torch.equal(taken, new.energy < point.energy)


def test_a_straight_row_turns_once_and_symmetric_groups_do_not():
    """3-hexyne: one axis of four atoms, whose smaller side turns about its last bond; no bend changes."""
    hexyne, sulfonate = from_smiles("CCC#CCC"), from_smiles("CCS(=O)(=O)[O-]")
    assert len(Rotors.of(sulfonate)) == 0 and len(Rotors.of(from_smiles("CC#N"))) == 0
    rotors = Rotors.of(hexyne)
    assert rotors.bonds.tolist() == [[3, 4]] and int(rotors.turning.sum()) == 7
    x = torch.as_tensor(np.array(hexyne.reference_positions))[None]
    start, end = (x[:, atom] for atom in rotors.bonds[0])
    angle = torch.tensor([2.0], dtype=torch.float64)
    new = torch.where(rotors.turning[0][:, None], rotated(x, start, end, angle), x).numpy()[0]
    graph = MolecularGraph.from_system(hexyne)
    bends = np.array([(a, c, p) for c, n in enumerate(graph.neighbours) for a in n for p in n if a < p])
    old = np.array(hexyne.reference_positions)
    np.testing.assert_allclose(angles(new, bends), angles(old, bends), atol=1e-9)
    (torsion,) = graph.torsions(MOVED)
    turn = dihedral_angles(np.stack([old, new]), np.array([torsion.atoms]))[:, 0]
    assert np.cos(turn[1] - turn[0]) == pytest.approx(np.cos(2.0), abs=0.02), "the row is nearly straight"


def test_a_rotation_is_right_handed_about_its_axis():
    x = torch.tensor([[[1.0, 0.0, 5.0], [0.0, 2.0, 7.0]]], dtype=torch.float64)
    start, end = torch.tensor([[[0.0, 0.0, 0.0]], [[0.0, 0.0, 3.0]]], dtype=torch.float64)
    turned = rotated(x, start, end, torch.tensor([np.pi / 2]))
    expected = torch.tensor([[[0.0, 1.0, 5.0], [-2.0, 0.0, 7.0]]], dtype=torch.float64)
    torch.testing.assert_close(turned, expected)


def test_runs_with_moves_resume_and_count_them(tmp_path, monkeypatch, butane):
    monkeypatch.setattr(batched_run, "BLOCK_WORK", 1.0)  # a block for each save
    whole = simulate(butane, tmp_path / "whole", time="0.4ps", **SHORT)
    stop = StopRequest()
    stop.ask()
    with pytest.raises(StoppedError):
        simulate(butane, tmp_path / "parts", time="0.4ps", resume="auto", stop=stop, **SHORT)
    resumed = simulate(butane, tmp_path / "parts", time="0.4ps", resume="auto", **SHORT)
    first, second = (read_trajectory(result.folder, butane) for result in (whole, resumed))
    np.testing.assert_array_equal(first.positions, second.positions)
    moves = whole.to_json()["torch"]["torsion_moves"]
    assert moves == resumed.to_json()["torch"]["torsion_moves"]
    assert moves["bonds"] == 1 and moves["tried"] == 8 * 22 * 3 and 0 < moves["taken"] < moves["tried"]
    blocks = 11
    assert whole.to_json()["energy_evaluations"] == 201 + 8 * (22 * (20 + 3) + blocks)
    still = simulate(butane, tmp_path / "still", time="0.4ps", **{**SHORT, "torsion_moves": None})
    assert still.to_json()["torch"]["torsion_moves"] is None


def test_where_no_bond_turns_nothing_is_tried_or_counted(tmp_path):
    methane = prepare(smiles="C")
    asked = {**SHORT, "time": "0.04ps"}
    moves, none = (
        simulate(methane, tmp_path / f"{number}", **{**asked, "torsion_moves": number}).to_json()
        for number in (3, 0)
    )
    assert moves["torch"]["torsion_moves"] == {"bonds": 0, "tried": 0, "taken": 0}
    assert moves["energy_evaluations"] == none["energy_evaluations"]


def test_a_budget_holds_the_moves(tmp_path, butane):
    wanted = SimulationSource(
        evaluations=20_000,
        temperatures=[300.0, 600.0],
        ladders=2,
        frames=50,
        equilibration=0.1,
        torsion_moves=10,
    )
    result = simulate_source(wanted, butane, tmp_path / "MD", seed=1, compile_energies=False)
    assert 0.9 * 20_000 < result.energy_evaluations < 20_000 + 201 + 4 * 50 and result.batched.moves_tried


def test_the_terminal_tells_how_many_moves_were_taken(tmp_path, butane, capsys):
    butane.save(tmp_path / "SYS")
    words = ["simulate", str(tmp_path / "SYS"), "--engine", "torch", "--replicas", "4", "--time", "0.02ps"]
    words += ["--save-interval", "0.01ps", "--equilibration", "0ps", "--no-compile"]
    assert main([*words, "-o", str(tmp_path / "A"), "--torsion-moves", "2"]) == 0
    assert "of 16 taken" in capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "B")]) == 0
    assert "taken" not in capsys.readouterr().out


def test_refused(tmp_path, monkeypatch, butane):
    butane.save(tmp_path / "SYS")
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "SYS", "-o", "MD", "--torsion-moves"]
    assert_refused([*words, "-1", "--engine", "torch"], "--torsion-moves -1", "negative")
    assert_refused([*words, "2", "--engine", "openmm"], "--torsion-moves", "--engine torch")
    record = BatchedSettings(temperatures=(300.0,), time=1.0, torsion_moves=2).model_dump(mode="json")
    assert json.loads(json.dumps(record))["torsion_moves"] == 2
