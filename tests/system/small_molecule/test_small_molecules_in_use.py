"""Small molecules with the rest of the house: translation, straight angles, the bridge, a flow."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rdkit.Chem import rdForceFieldHelpers
from small_molecule_cases import as_rdkit

from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.system.prepare import prepare
from boltzgen.workflows.preparation.prepare import prepare as work
from boltzgen_cli.main import main


@pytest.mark.parametrize("options", [{}, {"implicit": "obc2"}, {"forcefield": ("mmff94s",)}])
def test_the_translation_agrees_with_reference(tmp_path, options):
    """Nitrile, carboxylate and ring: linear angles, out-of-plane bends and hydrogen bonds are all there."""
    summary = work(None, tmp_path / "SYS", smiles="N#CC1CC1(O)C(=O)[O-]", **options)
    record = summary.system.provenance["translation_check"]
    assert record["max_relative_energy_difference"] < 1e-9
    assert record["max_relative_force_difference"] < 1e-9


@pytest.mark.parametrize("smiles", ["CC#N", "CC#CC", "C=C=C", "C#Cc1ccccc1"])
def test_exactly_straight_angles_agree_with_reference(smiles):
    """At 180 degrees the forces of both sides are rounding errors; all other conformations are compared."""
    record = work(None, check=True, smiles=smiles).system.provenance["translation_check"]
    assert record["max_relative_energy_difference"] < 1e-9
    assert record["max_relative_force_difference"] < 1e-9


def test_the_bridge_takes_it_too(tmp_path):
    """A minimised molecule in single precision: what is left of its forces must not fail the comparison."""
    summary = work(None, tmp_path / "SYS", smiles="CCO", bridge=True)
    assert summary.warnings == ()
    assert "bridge" in summary.translation and "agrees" in summary.translation


def test_the_torch_energy_is_rdkits():
    """Around both engines at once: RDKit against the torch translation, values and gradients."""
    smiles = "CC(=O)Nc1ccc(O)cc1"
    system = prepare(smiles=smiles)
    molecule = as_rdkit(system, smiles)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
    positions = 10.0 * np.array(system.reference_positions)
    positions = positions + 0.1 * np.random.default_rng(5).normal(size=(3, *positions.shape))
    ours = torch.tensor(0.1 * positions, requires_grad=True)
    energies = translate(system).energy(ours)
    energies.sum().backward()
    for row, energy, gradient in zip(positions, energies.tolist(), ours.grad.numpy(), strict=True):
        flat = row.ravel().tolist()
        assert energy / 4.184 == pytest.approx(field.CalcEnergy(flat), abs=1e-4)
        expected = 41.84 * np.array(field.CalcGrad(flat)).reshape(-1, 3)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-2)


CONFIG = """\
# Ethanol on energies alone.
# Seconds.
system: SYS
flow: {kind: coupling, layers: 2, hidden: 16, embedding: 8, encoder_blocks: 1, bins: 4}
reverse_kl: {weight: 1.0, batch_size: 32}
optimizer: {steps: 5}
evaluation: {every: 5, samples: 64}
"""


def test_ethanol_from_smiles_to_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yaml").write_text(CONFIG)
    words = "simulate SYS -o MD --time 0.02ps --equilibration 0.01ps --save-interval 0.01ps"
    assert main(["prepare", "--smiles", "CCO", "-o", "SYS"]) == 0
    assert main([*words.split(), "--exchange-interval", "0.01ps"]) == 0
    assert main(["train", "train.yaml", "-o", "RUN", "--seed", "3"]) == 0
    assert main(["sample", "RUN", "SYS", "-n", "64", "-o", "OUT", "--seed", "1"]) == 0
    summary = json.loads((tmp_path / "OUT" / "summary.json").read_text())
    assert summary["kept"] == 64  # the base sits where the bonded terms are lowest, so samples are sound
    samples = np.load(tmp_path / "OUT" / "samples.npz")
    good = samples["valid"]
    # equipartition alone gives 10.5 kT; a single bond off by a tenth of its length costs about as much
    assert np.median(samples["u"][good]) < 20.0
