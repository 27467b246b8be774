"""Populations of rotatable torsions against frames: a wrong one is named, a right one passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from molecules import from_smiles

from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.generator import Target
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.prepare import prepare
from boltzgen.trust.rotamers import rotamer_columns, rotamer_comparison
from boltzgen.workflows.installation.demo import SHIPPED


@pytest.fixture(scope="module")
def target(alanine_dipeptide) -> Target:
    return Target.from_system(alanine_dipeptide)


@pytest.fixture(scope="module")
def frames():
    return read_trajectory(SHIPPED / "MD").at(300.0)


def as_ensemble(target: Target, positions: np.ndarray, log_w: np.ndarray) -> Ensemble:
    """Frames of a simulation with weights made up for the test."""
    return Ensemble.from_densities(
        positions,
        -log_w,
        np.zeros(len(log_w)),
        temperature=300.0,
        measure="shape",
        system_fingerprint="x",
        domain="x",
        topology_pdb="",
    )


def halves(frames) -> tuple[np.ndarray, torch.Tensor]:
    return frames.positions[::2], torch.as_tensor(np.array(frames.positions[1::2]), dtype=torch.float64)


def test_two_halves_of_one_simulation_agree(target, frames):
    """phi and psi are compared, methyls are not; interleaved frames differ by less than 3 sigma."""
    drawn, others = halves(frames)
    compared = rotamer_comparison(target, as_ensemble(target, drawn, np.zeros(len(drawn))), others, 1.5)
    assert len(compared) == 2
    record = check_coverage(np.zeros(len(drawn)), np.zeros(len(others)), source="x", states=compared)
    assert not [reason for reason in record["reasons"] if "combined sigma" in reason]
    assert any(0.005 < state["target"] < 0.1 for state in compared)


def test_a_population_that_is_off_is_named(target, frames):
    drawn, others = halves(frames)
    plain = rotamer_comparison(target, as_ensemble(target, drawn, np.zeros(len(drawn))), others, 1.5)
    rare = int(np.argmin([state["target"] for state in plain]))
    column = np.flatnonzero(target.coordinates.table.circular)
    values = target.coordinates.encode(torch.as_tensor(np.array(drawn), dtype=torch.float64))[0].numpy()
    shares = (values[:, column] > 0).mean(axis=0)
    favoured = values[:, column[int(np.argmin(np.abs(shares - plain[rare]["reweighted"])))]] > 0
    log_w = np.where(favoured, 3.3, 0.0)
    compared = rotamer_comparison(target, as_ensemble(target, drawn, log_w), others, 1.5)
    record = check_coverage(log_w, np.zeros(len(others)), source="x", states=compared)
    assert record["verdict"] == "unreliable"
    assert compared[rare]["name"] in " ".join(record["reasons"])


def columns_of(target: Target) -> list[frozenset[int]]:
    """The ends of the middle bond of each column."""
    axes = target.coordinates.table.atoms[:, 1:3].tolist()
    return [frozenset(axes[column]) for column in rotamer_columns(target)]


@pytest.mark.parametrize("smiles", ["CO", "COC", "CN", "CC(C)(C)C", "FC(F)(F)C=O"])
def test_symmetric_torsions_have_no_states_wherever_the_tree_begins(smiles):
    """The root of these is an atom of a symmetric group, so that its torsion places some other atom."""
    target = Target.from_system(prepare(smiles=smiles))
    assert not columns_of(target) and target.coordinates.table.circular.any()


def test_a_hydroxyl_and_a_chain_have_states_and_model_systems_none():
    propanol = columns_of(Target.from_system(prepare(smiles="CCCO")))
    assert sorted(map(sorted, propanol)) == [[1, 2], [2, 3]]
    assert rotamer_columns(Target.from_model("double-well")) == []


def test_a_methyl_without_its_symmetry_has_states():
    """These bonds rest at the lengths of the reference, each hydrogen's own: the energy tells them apart."""
    system = from_smiles("CCCO")
    assert len(MolecularGraph.from_system(system).rotors) == 1
    assert frozenset((0, 1)) in columns_of(Target.from_system(system))


def test_free_isomers_have_states(alanine_dipeptide):
    strict, free = (
        set(columns_of(Target.from_system(alanine_dipeptide, isomers=isomers)))
        for isomers in ("reference", "free")
    )
    names = [name.atom for name in alanine_dipeptide.atom_names]
    assert len(strict) == 2 and strict < free
    assert [sorted(names[atom] for atom in axis) for axis in free - strict] == [["C", "N"], ["C", "N"]]
