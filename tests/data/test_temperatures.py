"""A trajectory that says its temperature is believed, or refused with both numbers; others must be told."""

from __future__ import annotations

import warnings

import h5py
import mdtraj
import numpy as np
import pytest
from between_cases import butane_frames
from cases.toy_molecules import halopropane
from scipy.io import netcdf_file
from small_model import FLOW, MODEL

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.data.hdf5 import write_hdf5
from boltzgen.data.temperatures import settled_temperatures, stated_temperatures
from boltzgen.data.trajectory import read_trajectory, read_trajectory_at, require_temperature
from boltzgen.errors import InputError
from boltzgen.progress import silent
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.free_energy.between import between
from boltzgen.workflows.roads.frames import divide
from boltzgen.workflows.sampling.check import check
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.load import load_trajectory
from boltzgen.workflows.training.frames import targets_and_frames
from boltzgen.workflows.training.train import train
from boltzgen_cli import main


@pytest.fixture(scope="module")
def molecule():
    return halopropane()


@pytest.fixture(scope="module")
def frames(molecule):
    """Twelve places that pass the checks: the reference with noise smaller than bonds have at 300 K."""
    noise = np.random.default_rng(4).normal(0.0, 0.002, (12, molecule.n_atoms, 3))
    return (molecule.reference_positions + noise).astype(np.float32)


@pytest.fixture
def written(molecule, frames, tmp_path):
    """A file as others write it, which states `kelvin` for each frame in the way of its format."""

    def write(suffix, kelvin=None):
        path = tmp_path / f"elsewhere.{suffix}"
        mdtraj.Trajectory(frames, molecule.mdtraj_topology()).save(str(path))
        if kelvin is None:
            return path
        values = np.broadcast_to(np.asarray(kelvin, float), len(frames))
        if suffix == "h5":
            with h5py.File(path, "a") as file:
                file["temperature"] = values.astype(np.float32)
        elif suffix == "nc":
            with netcdf_file(path, "a", mmap=False) as file:
                file.createVariable("temp0", "d", ("frame",))[:] = values
        else:
            with netcdf_file(path, "a", mmap=False) as file:
                file.createDimension("remd_dimension", 2)
                file.createVariable("remd_dimtype", "i", ("remd_dimension",))[:] = [3, 1]
                both = file.createVariable("remd_values", "d", ("frame", "remd_dimension"))
                both[:] = np.stack([np.full(len(values), 7.0), values], axis=1)
        return path

    return write


def read(path, molecule, temperature=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_trajectory(path, molecule, temperature=temperature)


SAYING = ("h5", "nc", "ncdf")


def says_temperature(path):
    try:
        require_temperature(path, None, "give it as `x`.")
    except InputError as error:
        assert str(path) in str(error) and str(error).endswith("give it as `x`.")
        return False
    return True


@pytest.mark.parametrize("suffix", SAYING)
def test_what_a_file_says_is_believed(suffix, written, molecule):
    ladder = np.repeat([300.0, 450.0], 6)
    for kelvin in (450.0, ladder):
        path = written(suffix, kelvin)
        for told in (None, 450.0):
            np.testing.assert_array_equal(
                read(path, molecule, told).temperatures, np.broadcast_to(kelvin, 12)
            )
        assert says_temperature(path)
        path.unlink()


@pytest.mark.parametrize("suffix", SAYING)
def test_a_contradiction_is_refused_with_both_numbers(suffix, written, molecule):
    path = written(suffix, 450.0)
    for reader in (read, read_trajectory_at):
        with pytest.raises(InputError, match=r"at 450 K, and 300 K was asked"):
            reader(path, molecule, 300.0)


@pytest.mark.parametrize("suffix", ["h5", "nc", "dcd", "xtc"])
def test_a_file_that_says_nothing_must_be_told(suffix, written, molecule):
    path = written(suffix)
    assert not says_temperature(path)
    with pytest.raises(InputError, match="does not say its temperature"):
        read(path, molecule)
    assert (read(path, molecule, 410.0).temperatures == 410.0).all()
    with pytest.raises(InputError, match="none is assumed; give it in K as `data_temperature`"):
        read_trajectory_at(path, molecule, 410.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (read_trajectory_at(path, molecule, 410.0, told=410.0).temperatures == 410.0).all()
        with pytest.raises(InputError, match="410 K; it has 350 K"):
            read_trajectory_at(path, molecule, 410.0, told=350.0)
    with pytest.raises(InputError, match="`data_temperature=-7"):
        read_trajectory_at(path, molecule, 410.0, told=-7.0)


def test_zeros_say_nothing_and_gaps_are_refused(written, molecule):
    assert stated_temperatures(written("h5", 0.0)) is None
    with pytest.raises(InputError, match="temperature of 11 of its 12 frames, not of frame 5"):
        read(written("nc", np.where(np.arange(12) == 5, np.nan, 450.0)), molecule, 450.0)


def test_kinetic_temperatures_are_not_the_thermostats(written, molecule):
    """OpenMM's reporters write the kinetic temperature of each frame: chi-squared about the thermostat's."""
    freedom = 3 * molecule.n_atoms - 3
    kinetic = 450.0 * np.random.default_rng(1).chisquare(freedom, 12) / freedom
    path = written("h5", kinetic)
    with pytest.raises(InputError, match="kinetic temperatures"):
        read(path, molecule)
    with pytest.raises(InputError, match=rf"says {kinetic.mean():.1f} K .* and 300 K was asked"):
        read(path, molecule, 300.0)
    assert (read(path, molecule, 450.0).temperatures == 450.0).all()
    with pytest.raises(InputError, match="not that of the thermostat; give it in K as `data_temperature`"):
        read_trajectory_at(path, molecule, 450.0)
    assert not says_temperature(path)


def test_numbers_of_temperatures_and_frames_agree(tmp_path):
    with pytest.raises(InputError, match="7 frames and 3 temperatures"):
        settled_temperatures(tmp_path / "x.h5", np.full(3, 310.0), None, 7)
    for wrong in (-3.0, np.nan, np.inf):
        with pytest.raises(InputError, match="positive"):
            settled_temperatures(tmp_path / "x.h5", None, wrong, 7)


def test_files_of_boltzgen_say_it(molecule, frames, tmp_path):
    path = tmp_path / "own.h5"
    pieces = [(frames, np.arange(12.0), np.zeros(12, int))]
    own = {"fingerprint": molecule.fingerprint, "save_interval": 1.0, "temperature": 450.0}
    write_hdf5(path, pieces, topology=molecule.mdtraj_topology(), **own)
    assert says_temperature(path)
    assert (read(path, molecule, 300.0).temperatures == 450.0).all()
    with pytest.raises(InputError, match=r"300 K; it has 450 K"):
        read_trajectory_at(path, molecule, 300.0)


def test_training_must_be_told_and_believes(written, molecule, tmp_path):
    molecule.save(tmp_path / "SYS")

    def temperatures(path, **keys):
        settings = TrainingSettings.model_validate(
            {"system": str(tmp_path / "SYS"), "data": str(path), "holdout": 0.0, **keys}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, found = targets_and_frames(settings, "cpu", tmp_path / "RUN", None, silent)
        return set(found.data[0].temperature.tolist())

    silent_file = written("dcd")
    with pytest.raises(InputError, match="data_temperature: 300"):
        temperatures(silent_file)
    assert temperatures(silent_file, data_temperature=410.0) == {410.0}
    stated = written("h5", 450.0)
    assert temperatures(stated) == {450.0}
    with pytest.raises(InputError, match="at 450 K, and 300 K was asked"):
        temperatures(stated, data_temperature=300.0)


#: Frames of a file that says nothing enter by each of these; the words name the key or option to give.
ROADS = ["train", "sample", "check", "between", "load_trajectory", "run"]


@pytest.fixture(scope="module")
def unsaid(tmp_path_factory, butane):
    """A prepared butane, an untrained model of it, samples at 310 K, and frames in an XTC file."""
    folder = tmp_path_factory.mktemp("unsaid")
    butane.save(folder / "SYS")
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    for name, seed in (("OUT", 0), ("OTHER", 1)):
        sample(folder / "RUN", folder / "SYS", folder / name, 50, seed=seed, temperature=310.0)
    frames = butane_frames(60, 310.0, np.random.default_rng(3)).astype(np.float32)
    mdtraj.Trajectory(frames, butane.mdtraj_topology()).save(str(folder / "frames.xtc"))
    return folder


def entered(road, folder, place, told):
    """The frames of ``frames.xtc`` enter by `road`; told: their temperature in K, or None."""
    frames, system = folder / "frames.xtc", folder / "SYS"
    words = {} if told is None else {"data_temperature": told}
    if road == "train":
        keys = [f"system={system}", f"data={frames}", "reverse_kl.weight=0", "optimizer.steps=1"]
        keys += ["likelihood={weight: 1.0, batch_size: 8}", "reverse_kl.temperatures=[310]"]
        keys += ["evaluation={every: 1, samples: 4, temperature: 310}"]
        train("butane", [*keys, *(f"{key}={value}" for key, value in words.items())], place)
    elif road == "sample":
        sample(folder / "RUN", system, place, 40, temperature=310.0, data=frames, **words)
    elif road == "check":
        check(folder / "OUT", rows=10, data=frames, **words)
    elif road == "between":
        both = {"data_a": frames, "samples": 20, "n_bootstrap": 10, "output": place / "between.json"}
        between(folder / "OUT", folder / "OTHER", **both, **words)
    elif road == "run":
        parts = [place / "MD", place / "CHECK"]
        divide(frames, system, parts, told)  # what `run` does with the frames that it is given
        assert load_trajectory(parts[1]).temperature_ladder.tolist() == [told]
    else:
        load_trajectory(frames, system, temperature=told)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.filterwarnings("ignore")
def test_no_road_assumes_a_temperature(road, unsaid, tmp_path):
    key = {"train": "'data_temperature'", "load_trajectory": "`temperature`"}.get(road, "`data_temperature`")
    with pytest.raises(InputError, match=rf"frames\.xtc does not say its temperature.*{key}"):
        entered(road, unsaid, tmp_path / "NEW", None)
    entered(road, unsaid, tmp_path / "NEW", 310.0)
    if road not in ("train", "load_trajectory", "run"):
        with pytest.raises(InputError, match="310 K; it has 350 K"):
            entered(road, unsaid, tmp_path / "AGAIN", 350.0)


@pytest.mark.parametrize("verb", ["sample RUN SYS -o NEW -n 5 --data", "check OUT --rows 5 --data"])
def test_the_command_line_names_its_option(verb, unsaid, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(unsaid)
    assert main.main([*verb.split(), "frames.xtc"]) == 2
    assert "give it in K as --data-temperature, for example --data-temperature 3" in capsys.readouterr().err
