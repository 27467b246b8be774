"""`dynamics/` and its workflow: exact averages, exact acceptance, nothing lost on resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_molecules import CHAIN_BONDS, bond_grid, chain, exact_energy, halopropane

from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics import replica_exchange
from boltzgen.dynamics.exchange import ExchangeRecord, log_acceptance, swaps_of_round
from boltzgen.dynamics.openmm_engine import choose_platform
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.system.platforms import platform_names
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.simulation.asked import parse_temperatures
from boltzgen.workflows.simulation.options import parse_time
from boltzgen.workflows.simulation.simulate import simulate

LADDER = (300.0, 420.0, 600.0)
QUICK = {
    "platform": "Reference",
    "equilibration": "2ps",
    "save_interval": "0.1ps",
    "exchange_interval": "0.1ps",
}


def exact_energies(temperature: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws of the chain's energy."""
    grids = (bond_grid(length, k, temperature) for length, k in CHAIN_BONDS)
    return sum(rng.choice(energy, size=count, p=p) for energy, p in grids)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Replica exchange of the chain: three temperatures, 4000 frames each."""
    folder = tmp_path_factory.mktemp("chain") / "MD"
    result = simulate(
        chain(), folder, temperatures=LADDER, time="400ps", timestep="2fs", friction=10.0, seed=11, **QUICK
    )
    return result, read_trajectory(folder, chain())


def test_mean_energy_is_exact_at_every_temperature(long_run):
    """Within 4 sigma; the sigma is below 4 %, so a temperature off by one rung (40 %) cannot pass."""
    _, trajectory = long_run
    for temperature in LADDER:
        energies = trajectory.at(temperature).energies
        sigma = energies.std() * np.sqrt(statistical_inefficiency(energies) / len(energies))
        exact = exact_energy(temperature)
        assert sigma < 0.04 * exact
        assert abs(energies.mean() - exact) < 4.0 * sigma, (temperature, energies.mean(), exact, sigma)


def test_energy_variance_is_exact(long_run):
    """The heat capacity too: the spread of the energy, within 15 % (a wrong thermostat by 20 K is inside,
    a wrong ensemble, such as constant energy, is not)."""
    _, trajectory = long_run
    rng = np.random.default_rng(3)
    for temperature in LADDER:
        exact = exact_energies(temperature, 200_000, rng).std()
        assert trajectory.at(temperature).energies.std() == pytest.approx(exact, rel=0.15)


def test_acceptance_is_what_the_energies_say(long_run):
    """E[min(1, exp(dbeta dU))] from independent exact draws, against the counted fraction, 4 sigma."""
    result, _ = long_run
    rng = np.random.default_rng(5)
    for pair in result.to_json()["exchange"]["pairs"]:
        low, high = pair["low_K"], pair["high_K"]
        u_low, u_high = exact_energies(low, 200_000, rng), exact_energies(high, 200_000, rng)
        exact = np.minimum(1.0, np.exp((1 / low - 1 / high) / GAS_CONSTANT * (u_low - u_high))).mean()
        attempts = pair["attempts"]
        assert attempts == pytest.approx(2000, abs=2)
        sigma = np.sqrt(exact * (1 - exact) / attempts) * 1.5  # attempts 0.2 ps apart are slightly correlated
        assert abs(pair["acceptance"] - exact) < 4.0 * sigma, (pair, exact, sigma)


def test_rows_never_part(long_run):
    """Stored energies are those of the stored positions; each replica is at one temperature a time."""
    _, trajectory = long_run
    bonds = np.diff(trajectory.positions.astype(float), axis=1)
    lengths = np.linalg.norm(bonds, axis=-1)
    energies = sum(0.5 * k * (lengths[:, i] - r0) ** 2 for i, (r0, k) in enumerate(CHAIN_BONDS))
    np.testing.assert_allclose(trajectory.energies, energies, atol=2e-3)
    replicas = np.stack([trajectory.at(t).replicas for t in LADDER])
    assert replicas.shape == (3, 4000)
    assert (np.sort(replicas, axis=0) == np.arange(3)[:, None]).all()
    assert len({tuple(column) for column in replicas.T}) == 6, "every permutation of replicas occurs"


def test_manifest(long_run):
    result, trajectory = long_run
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert manifest == result.to_json()
    assert manifest["schema"] == "boltzgen.trajectory/1"
    assert manifest["status"] == "complete"
    assert manifest["seed"] == 11
    assert manifest["system"]["fingerprint"] == chain().fingerprint == trajectory.system_fingerprint
    assert manifest["frames"] == {"300": 4000, "420": 4000, "600": 4000}
    assert manifest["exchange"]["round_trips"] > 50
    assert set(manifest["statistical_inefficiency"]) == {
        f"{kind}@{t:g}K" for kind in ("energy", "torsions", "size") for t in LADDER
    }
    assert not (result.folder / "blocks").exists()


def shape_of(value):
    """The keys and types of a JSON value: of a list, those of its first entry."""
    if isinstance(value, dict):
        return {key: shape_of(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return type(value).__name__


def test_manifest_follows_the_golden_file(tmp_path):
    """Keys, their order and their types are a promise to readers of MD folders (docs/files.md)."""
    result = simulate(chain(), tmp_path / "MD", time="3ps", command=["boltzgen", "simulate"], **SHORT)
    golden = json.loads((Path(__file__).parents[1] / "golden" / "trajectory_manifest.json").read_text())
    found = json.loads((result.folder / "manifest.json").read_text())
    assert list(found) == list(golden)
    assert shape_of(found) == shape_of(golden)


def test_mdtraj_reads_it(long_run):
    mdtraj = pytest.importorskip("mdtraj")
    pytest.importorskip("tables")
    result, trajectory = long_run
    loaded = mdtraj.load(str(result.folder / "temperature-420K.h5"))
    np.testing.assert_array_equal(loaded.xyz, trajectory.at(420).positions)
    np.testing.assert_allclose(loaded.time[:3], [0.1, 0.2, 0.3], rtol=1e-6)
    assert loaded.topology.n_bonds == len(CHAIN_BONDS)
    with mdtraj.formats.HDF5TrajectoryFile(str(result.folder / "temperature-420K.h5")) as file:
        frames = file.read()
    np.testing.assert_allclose(frames.potentialEnergy, trajectory.at(420).energies)
    assert (frames.temperature == 420.0).all()


# resume ---------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(replica_exchange, "_BLOCK_WORK", 2.0e5)


SHORT = {"temperatures": (300.0, 500.0), "timestep": "2fs", "seed": 4, **QUICK}


def same(first, second) -> None:
    for name in ("positions", "energies", "temperatures", "replicas"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


@pytest.mark.usefixtures("small_blocks")
def test_stopped_and_resumed_equals_uninterrupted(tmp_path):
    whole = simulate(chain(), tmp_path / "whole", time="30ps", **SHORT)
    for _ in range(3):
        stop = StopRequest()
        stop.ask()
        with pytest.raises(StoppedError, match="stopped on request after"):
            simulate(chain(), tmp_path / "parts", time="30ps", resume="auto", stop=stop, **SHORT)
        manifest = json.loads((tmp_path / "parts" / "manifest.json").read_text())
        assert manifest["status"] == "partial"
    with pytest.warns(UserWarning, match="partial"):
        partial = read_trajectory(tmp_path / "parts")
    assert 0 < len(partial) < 600
    resumed = simulate(chain(), tmp_path / "parts", time="30ps", resume="auto", **SHORT)
    same(read_trajectory(whole.folder), read_trajectory(resumed.folder))
    assert resumed.to_json()["exchange"] == whole.to_json()["exchange"]
    assert resumed.frames == 300


@pytest.mark.usefixtures("small_blocks")
def test_killed_run_goes_on(tmp_path):
    """A run that dies without any last words has its blocks on disk; nothing is lost or written twice."""
    whole = simulate(chain(), tmp_path / "whole", time="30ps", **SHORT)
    calls = []

    def die(done, total, values=None):
        calls.append(done)
        if len(calls) == 3:
            raise MemoryError("as if killed")

    with pytest.raises(MemoryError):
        simulate(chain(), tmp_path / "killed", time="30ps", progress=die, **SHORT)
    assert len(list((tmp_path / "killed" / "blocks").iterdir())) == 3
    shutil.copytree(tmp_path / "killed" / "blocks", tmp_path / "left")
    with pytest.raises(InputError, match="no frames yet"):
        read_trajectory(tmp_path / "killed")
    resumed = simulate(chain(), tmp_path / "killed", time="30ps", resume="auto", **SHORT)
    same(read_trajectory(whole.folder), read_trajectory(resumed.folder))
    # Killed while the blocks were being removed: those that are in the HDF5 files already change nothing.
    shutil.copytree(tmp_path / "left", tmp_path / "killed" / "blocks")
    longer = simulate(chain(), tmp_path / "killed", time="31ps", resume="auto", **SHORT)
    assert longer.frames == 310
    for temperature in SHORT["temperatures"]:
        after = read_trajectory(longer.folder).at(temperature)
        same(after[:300], read_trajectory(whole.folder).at(temperature))


@pytest.mark.usefixtures("small_blocks")
def test_a_complete_run_can_be_lengthened(tmp_path):
    first = simulate(chain(), tmp_path / "MD", time="10ps", **SHORT)
    before = read_trajectory(first.folder).at(500)
    longer = simulate(chain(), tmp_path / "MD", time="15ps", resume="auto", **SHORT)
    after = read_trajectory(longer.folder).at(500)
    assert (len(before), len(after)) == (100, 150)
    same(before, after[:100])
    assert len(np.unique(after.energies)) == 150
    again = simulate(chain(), tmp_path / "MD", time="15ps", resume="auto", **SHORT)
    assert again.frames == 150
    with pytest.raises(InputError, match="already holds 15 ps"):
        simulate(chain(), tmp_path / "MD", time="10ps", resume="auto", **SHORT)


def test_resume_refuses_another_run(tmp_path):
    simulate(chain(), tmp_path / "MD", time="2ps", **SHORT)
    with pytest.raises(InputError, match="begun with seed = 4"):
        simulate(chain(), tmp_path / "MD", time="4ps", resume="auto", **{**SHORT, "seed": 5})
    with pytest.raises(InputError, match="another system"):
        simulate(halopropane(), tmp_path / "MD", time="4ps", resume="auto", **SHORT)
    with pytest.raises(InputError, match='`resume="auto"`'):
        simulate(chain(), tmp_path / "MD", time="4ps", **SHORT)


def test_same_seed_same_frames_and_another_seed_others(tmp_path):
    runs = [
        simulate(chain(), tmp_path / name, time="3ps", **{**SHORT, "seed": seed})
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    a, b, c = (read_trajectory(run.folder) for run in runs)
    same(a, b)
    assert not np.allclose(a.energies, c.energies)


def test_one_temperature_is_langevin(tmp_path):
    result = simulate(chain(), tmp_path / "MD", temperatures=350, time="3ps", **QUICK)
    assert result.to_json()["exchange"] is None
    trajectory = read_trajectory(result.folder, chain())
    assert len(trajectory) == 30
    assert (trajectory.temperatures == 350).all()


def test_unequal_intervals(tmp_path):
    """Frames every 0.2 ps, exchanges every 0.1 ps, and the other way round."""
    options = {**SHORT, "time": "8ps", "equilibration": "0ps"}
    often = simulate(chain(), tmp_path / "a", **{**options, "save_interval": "0.2ps"})
    rarely = simulate(chain(), tmp_path / "b", **{**options, "exchange_interval": "0.4ps"})
    assert (often.frames, often.to_json()["exchange"]["pairs"][0]["attempts"]) == (40, 80)
    assert (rarely.frames, rarely.to_json()["exchange"]["pairs"][0]["attempts"]) == (80, 20)


def test_broken_dynamics_is_a_failed_run(tmp_path):
    import openmm

    from boltzgen.system.molecular_system import MolecularSystem

    good = chain()
    system = openmm.XmlSerializer.deserialize(good.system_xml)
    system.getForce(0).setBondParameters(0, 0, 1, 0.15, 1.0e9)
    bad = MolecularSystem(
        **{
            **{f: getattr(good, f) for f in ("name", "atomic_numbers", "masses", "bonds", "topology_pdb")},
            "reference_positions": good.reference_positions,
            "system_xml": openmm.XmlSerializer.serialize(system),
        }
    )
    with pytest.raises(BoltzgenError, match="shorter `timestep`"):
        simulate(bad, tmp_path / "MD", time="20ps", **SHORT)
    manifest = json.loads((tmp_path / "MD" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "`timestep`" in manifest["reason"]
    with pytest.raises(InputError, match="failed"):
        read_trajectory(tmp_path / "MD")


# exchange as bookkeeping ----------------------------------------------------------------------


def test_log_acceptance():
    assert log_acceptance(-10.0, -20.0, 300.0, 400.0) == 0.0
    expected = -(1 / 300 - 1 / 400) / 8.31446261815324e-3 * 7.0
    assert log_acceptance(-20.0, -13.0, 300.0, 400.0) == pytest.approx(expected, rel=1e-12)
    assert log_acceptance(np.nan, 1.0, 300.0, 400.0) == -np.inf


def test_swaps_keep_detailed_balance():
    """Two rungs and two configurations: the chain's occupation of the swapped state is Boltzmann's."""
    rng = np.random.default_rng(0)
    temperatures, energy_of = np.array([300.0, 450.0]), np.array([5.0, 8.5])
    index = np.array([0, 1])
    swapped = 0
    for round_index in range(40_000):
        _, accepted = swaps_of_round(round_index, energy_of, temperatures, index, rng)
        for _, cold, hot in accepted:
            index[cold], index[hot] = index[hot], index[cold]
        swapped += int(index[0] == 1)
    beta = 1.0 / (GAS_CONSTANT * temperatures)
    straight = np.exp(-beta[0] * 5.0 - beta[1] * 8.5)
    crossed = np.exp(-beta[0] * 8.5 - beta[1] * 5.0)
    exact = crossed / (straight + crossed)
    rho = (
        1.0 - np.exp(log_acceptance(5.0, 8.5, 300.0, 450.0)) - 1.0
    )  # second eigenvalue of the two-state chain
    sigma = np.sqrt(exact * (1 - exact) / 40_000 * (1 + rho) / (1 - rho))
    assert sigma < 0.005
    assert abs(swapped / 40_000 - exact) < 4 * sigma + 1e-4


def test_pairs_alternate():
    rng = np.random.default_rng(1)
    temperatures = np.array([300.0, 350.0, 400.0, 450.0, 500.0])
    first, _ = swaps_of_round(0, np.zeros(5), temperatures, np.arange(5), rng)
    second, accepted = swaps_of_round(1, np.zeros(5), temperatures, np.array([4, 3, 2, 1, 0]), rng)
    assert (first, second) == ([0, 2], [1, 3])
    assert accepted == [(1, 3, 2), (3, 1, 0)]


def test_round_trips_of_a_scripted_walk():
    record = ExchangeRecord.empty(3)
    walk = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0), (0, 2, 1), (0, 1, 2), (1, 0, 2), (2, 0, 1)]
    for rungs in walk:
        record = record.after([0], [], np.array(rungs))
    # replica 0 goes cold, hot, cold, hot; replica 1 cold, hot, cold; replica 2 hot, cold, hot
    assert record.half_trips.tolist() == [3, 2, 2]
    assert record.round_trips == 3
    assert record.attempts.tolist() == [9, 0]


def test_platforms():
    system = chain()
    chosen = choose_platform(system.openmm_system(), system.reference_positions)
    assert chosen in platform_names()
    assert (
        choose_platform(system.openmm_system(), system.reference_positions, name="reference") == "Reference"
    )


def test_parsing():
    assert parse_time("2ns", "time") == 2000.0
    assert parse_time("500 ps", "time") == 500.0
    assert parse_time("1fs", "time") == pytest.approx(1e-3)
    assert parse_time(7.5, "time") == 7.5
    assert parse_temperatures("300,366.5, 446K") == (300.0, 366.5, 446.0)
