"""``boltzgen simulate --engine torch``: exact averages, order of frames, resume, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import assert_refused
from toy_molecules import CHAIN_BONDS, chain, exact_energy

from boltzgen.data.hdf5 import read_hdf5
from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics import batched_run
from boltzgen.dynamics.settings import BatchedSettings, usual_replicas
from boltzgen.errors import InputError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.workflows.simulation.simulate import simulate

LADDER = (300.0, 450.0, 650.0)
RUN = {
    "engine": "torch",
    "temperatures": LADDER,
    "timestep": "2fs",
    "friction": 10.0,
    "seed": 7,
    "equilibration": "2ps",
    "save_interval": "0.2ps",
    "exchange_interval": "0.1ps",
    "compile_energies": False,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The chain: 40 ladders, 20 saves each."""
    folder = tmp_path_factory.mktemp("torch") / "MD"
    return simulate(chain(), folder, time="4ps", replicas=120, **RUN), read_trajectory(folder, chain())


def test_mean_energies_are_exact(run):
    """Errors from the scatter of 40 independent walks; 4 sigma, each below 5 %; the rungs are 40 % apart."""
    _, trajectory = run
    for kelvin in LADDER:
        walks = trajectory.at(kelvin).energies.reshape(40, 20).mean(axis=1)
        sigma = walks.std(ddof=1) / np.sqrt(40)
        assert sigma < 0.05 * exact_energy(kelvin)
        assert walks.mean() == pytest.approx(exact_energy(kelvin), abs=4 * sigma), kelvin


def test_rows_stand_walk_after_walk_and_belong_together(run):
    result, trajectory = run
    lengths = np.linalg.norm(np.diff(trajectory.positions.astype(float), axis=1), axis=-1)
    energies = sum(0.5 * k * (lengths[:, i] - r0) ** 2 for i, (r0, k) in enumerate(CHAIN_BONDS))
    np.testing.assert_allclose(trajectory.energies, energies, atol=5e-3)
    replicas = np.stack([trajectory.at(t).replicas.reshape(40, 20) for t in LADDER])
    assert (replicas // 3 == np.arange(40)[None, :, None]).all()
    assert (np.sort(replicas % 3, axis=0) == np.arange(3)[:, None, None]).all()
    assert len(np.unique(replicas[0, 0])) > 1, "replicas climb"
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert manifest == result.to_json()
    assert manifest["frames"] == {"300": 800, "450": 800, "650": 800}
    assert manifest["torch"]["walks"] == 40
    assert manifest["torch"]["restarts"] == 0
    assert manifest["energy_evaluations"] == 201 + 120 * (3000 + 1)
    assert all(abs(z) < 5.0 for z in manifest["torch"]["drift"].values())
    assert 0.2 < manifest["exchange"]["pairs"][0]["acceptance"] < 1.0
    assert manifest["exchange"]["pairs"][0]["attempts"] == 40 * 20


def test_time_begins_anew_with_each_walk(run):
    h5py = pytest.importorskip("h5py")
    with h5py.File(run[0].folder / "temperature-450K.h5") as file:
        time = file["time"][()].reshape(40, 20)
    np.testing.assert_allclose(time, np.tile(0.2 * np.arange(1, 21), (40, 1)), rtol=1e-6)
    assert len(read_hdf5(run[0].folder / "temperature-450K.h5")[0]) == 800


def same(first, second) -> None:
    for name in ("positions", "energies", "temperatures", "replicas"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_resumed_equals_uninterrupted_and_can_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(batched_run, "BLOCK_WORK", 1.0)  # a block for each save
    short = {**RUN, "replicas": 9, "equilibration": "0.04ps", "save_interval": "0.04ps"}
    short["exchange_interval"] = "0.02ps"
    whole = simulate(chain(), tmp_path / "whole", time="0.4ps", **short)
    for _ in range(2):
        stop = StopRequest()
        stop.ask()
        with pytest.raises(StoppedError, match="frames at each temperature"):
            simulate(chain(), tmp_path / "parts", time="0.4ps", resume="auto", stop=stop, **short)
    resumed = simulate(chain(), tmp_path / "parts", time="0.4ps", resume="auto", **short)
    same(read_trajectory(whole.folder), read_trajectory(resumed.folder))
    assert resumed.to_json()["exchange"] == whole.to_json()["exchange"]
    before = read_trajectory(whole.folder).at(650).energies.reshape(3, 10)
    longer = simulate(chain(), whole.folder, time="0.6ps", resume="auto", **short)
    after = read_trajectory(longer.folder).at(650)
    np.testing.assert_array_equal(after.energies.reshape(3, 15)[:, :10], before)
    assert (after.replicas.reshape(3, 15) // 3 == np.arange(3)[:, None]).all()
    with pytest.raises(InputError, match='`engine="torch"`'):
        simulate(chain(), whole.folder, engine="openmm", time="4ps", resume="auto", temperatures=LADDER)
    with pytest.raises(InputError, match="begun with replicas = 9"):
        simulate(chain(), whole.folder, time="4ps", resume="auto", **{**short, "replicas": 12})


def test_one_temperature_and_heavy_hydrogens(tmp_path, alanine_dipeptide):
    options = {"engine": "torch", "replicas": 3, "time": "0.02ps", "save_interval": "0.01ps", "seed": 2}
    more = {"equilibration": "0ps", "compile_energies": False, "temperatures": 350}
    light, heavy = (
        simulate(alanine_dipeptide, tmp_path / str(mass), hydrogen_mass=mass, **options, **more)
        for mass in (None, 3.0)
    )
    assert light.to_json()["exchange"] is None
    assert light.frames == 6
    first, second = (read_trajectory(result.folder, alanine_dipeptide) for result in (light, heavy))
    assert not np.allclose(first.positions, second.positions, atol=1e-4)


def test_a_hybrid_is_simulated(tmp_path, monkeypatch):
    """OpenMM refuses it; torch runs it, and the stored energies are the hybrid's."""
    import torch

    from boltzgen.potentials.of_system import potential_of
    from boltzgen.workflows.preparation.prepare import prepare

    monkeypatch.setattr(batched_run, "MINIMISATION_STEPS", 8)
    folder = tmp_path / "SYS"
    prepare(sequence="ACE-ALA-NME", output=folder, implicit="obc1", ml="xtb-ala2-small")
    options = {"replicas": 2, "time": "0.004ps", "save_interval": "0.002ps", "equilibration": "0ps"}
    result = simulate(folder, tmp_path / "MD", engine="torch", precision="double", **options)
    from boltzgen.system.molecular_system import MolecularSystem

    system = MolecularSystem.load(folder)
    frames = read_trajectory(result.folder, system)
    energies = potential_of(system).energy(torch.as_tensor(frames.positions).double())
    np.testing.assert_allclose(frames.energies, energies.detach().numpy(), atol=0.05)


REFUSED = {
    "replicas no multiple": (["--temperatures", "300,400", "--replicas", "7"], "multiple", "6 would do"),
    "no replicas": (["--replicas", "0"], "multiple"),
    "timestep too long": (["--timestep", "5fs"], "too long"),
    "platform": (["--platform", "CPU"], "--device"),
    "no such device": (["--device", "abacus"], "--device"),
    "precision": (["--precision", "half"], "single or double"),
    "heavy": (["--hydrogen-mass", "40"], "dalton"),
    "engine": (["--engine", "gromacs"], "openmm or torch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input(case, tmp_path, monkeypatch):
    chain().save(tmp_path / "SYS")
    monkeypatch.chdir(tmp_path)
    words, *sentences = REFUSED[case]
    assert_refused(["simulate", "SYS", "-o", "MD", "--engine", "torch", *words], *sentences)
    assert not (tmp_path / "MD").exists()


def test_options_of_torch_need_torch(tmp_path, monkeypatch):
    chain().save(tmp_path / "SYS")
    monkeypatch.chdir(tmp_path)
    words = ["simulate", "SYS", "-o", "MD", "--replicas", "12", "--engine", "openmm"]
    assert_refused(words, "--replicas", "--engine torch")


def test_usual_replicas_are_whole_ladders():
    for rungs in (1, 5, 6, 17, 200):
        replicas = usual_replicas(rungs)
        assert replicas % rungs == 0
        assert 128 <= replicas < 128 + rungs
    settings = BatchedSettings(temperatures=LADDER, time=5.0, replicas=12)
    assert (settings.walks, settings.n_frames) == (4, 40)
