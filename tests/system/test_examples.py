"""The molecules that come prepared: their energies, their shape, and that ``example:NAME`` finds them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import openmm
import pytest
import torch
from helpers import ROOT, assert_refused
from openmm import app, unit

from boltzgen.errors import InputError
from boltzgen.generator import read_target
from boltzgen.system.examples import EXAMPLE, shipped_systems, system_folder
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem

#: Internal coordinates as the papers count them, total charge, stereocentres.
EXPECTED = {
    "alanine-dipeptide-fab": (60, 0, 1),
    "alanine-dipeptide-sbg": (60, 0, 1),
    "capped-tri-alanine": (120, 0, 3),
    "capped-penta-alanine": (180, 0, 5),
    "elil": (219, -1, 5),
}

#: kJ/mol, of `positions_of("alanine-dipeptide-fab")`, by openmmtools 0.27.0 and OpenMM 8.6.1 (Reference).
FAB_ENERGIES = (-169.02000119883715, -87.44150287852972, 434.9777567688732)


def reference_energies(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    context = openmm.Context(
        system, openmm.VerletIntegrator(1e-3), openmm.Platform.getPlatformByName("Reference")
    )
    found = []
    for frame in positions:
        context.setPositions(frame)
        energy = context.getState(getEnergy=True).getPotentialEnergy()
        found.append(energy.value_in_unit(unit.kilojoule_per_mole))
    return np.array(found)


def positions_of(name: str) -> np.ndarray:
    """The reference structure and two distorted ones, (3, N, 3) nm."""
    reference = MolecularSystem.load(EXAMPLE + name).reference_positions
    index = np.arange(reference.size).reshape(reference.shape)
    return np.stack([reference + size * np.sin(1.7 * index + 0.4) for size in (0.0, 0.004, 0.011)])


def independent_system(name: str) -> openmm.System:
    """The System as somebody without this library builds it."""
    if name == "alanine-dipeptide-fab":
        from openmmtools.testsystems import AlanineDipeptideImplicit

        return AlanineDipeptideImplicit(constraints=None).system
    pdb = app.PDBFile(io.StringIO(MolecularSystem.load(EXAMPLE + name).topology_pdb))
    forcefield = app.ForceField("amber99sbildn.xml", "amber99_obc.xml")
    return forcefield.createSystem(pdb.topology, nonbondedMethod=app.NoCutoff, constraints=None)


def test_what_is_shipped_is_what_is_expected():
    assert sorted(shipped_systems()) == sorted(EXPECTED)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "alanine-dipeptide-fab"])
def test_energies_are_those_of_an_independent_system(name):
    _, target = read_target(EXAMPLE + name, isomers="reference")
    positions = positions_of(name)
    expected = reference_energies(independent_system(name), positions)
    assert np.ptp(expected) > 50.0
    np.testing.assert_allclose(target.potential.energy(torch.as_tensor(positions)), expected, rtol=1e-7)


def test_the_energies_of_fab_are_those_of_openmmtools():
    _, target = read_target("example:alanine-dipeptide-fab", isomers="reference")
    positions = positions_of("alanine-dipeptide-fab")
    if find_spec("openmmtools") is not None:
        found = reference_energies(independent_system("alanine-dipeptide-fab"), positions)
        np.testing.assert_allclose(FAB_ENERGIES, found, rtol=1e-9)
    np.testing.assert_allclose(target.potential.energy(torch.as_tensor(positions)), FAB_ENERGIES, rtol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_molecules_are_what_the_papers_describe(name):
    system = MolecularSystem.load(EXAMPLE + name)
    dimension, charge, centres = EXPECTED[name]
    assert 3 * system.n_atoms - 6 == dimension
    forces = system.openmm_system().getForces()
    [nonbonded] = [force for force in forces if isinstance(force, openmm.NonbondedForce)]
    charges = [nonbonded.getParticleParameters(i)[0]._value for i in range(system.n_atoms)]
    assert sum(charges) == pytest.approx(charge, abs=1e-4)
    assert system.openmm_system().getNumConstraints() == 0
    assert len(MolecularGraph.from_system(system).stereocentres) == centres
    assert system.provenance["translation_check"]["max_relative_energy_difference"] < 1e-10


@pytest.mark.parametrize("name", EXPECTED)
def test_alpha_carbons_are_left_handed_and_nothing_is_planar(name):
    system = MolecularSystem.load(EXAMPLE + name)
    topology, positions = system.mdtraj_topology(), system.reference_positions
    for residue in topology.residues:
        atoms = {atom.name: positions[atom.index] for atom in residue.atoms}
        if "CB" not in atoms:
            continue
        arms = [atoms[key] - atoms["CA"] for key in ("N", "C", "CB")]
        assert np.linalg.det(arms) > 1e-3, residue
    assert np.linalg.svd(positions - positions.mean(axis=0))[1][2] > 0.1


def test_every_shipped_file_is_small():
    files = [path for folder in shipped_systems().values() for path in folder.iterdir()]
    assert max(path.stat().st_size for path in files) < 100_000


def test_an_unknown_example_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match="Did you mean example:capped-penta-alanine"):
        system_folder("example:capped-pentaalanine")
    assert_refused(["simulate", "example:allil", "-o", tmp_path / "MD"], "example:allil", "example:elil")
    assert not (tmp_path / "MD").exists()
    assert system_folder(tmp_path) == tmp_path


def test_examples_resolve_from_an_installed_wheel(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    (tmp_path / "extra.cfg").write_text(f"[build]\nbuild_base = {tmp_path / 'build'}\n")
    elsewhere = {**os.environ, "DIST_EXTRA_CONFIG": str(tmp_path / "extra.cfg")}
    subprocess.run([*command, "-w", tmp_path, ROOT], check=True, capture_output=True, env=elsewhere)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import boltzgen; from boltzgen.system.molecular_system import MolecularSystem as S; "
        f"assert boltzgen.__file__.startswith({str(tmp_path)!r}); print(S.load('example:elil').n_atoms)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    told = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert told.stdout.split() == ["75"]
