"""Paths that nothing can be at, that are something else, or that leave the folder that names them."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pytest
from helpers import refusal

from boltzgen.config.settings import read_yaml
from boltzgen.data.dataset import Dataset
from boltzgen.data.hdf5 import read_hdf5
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.digests import file_digests
from boltzgen.ensemble.dcd import read_dcd
from boltzgen.errors import EXIT_USAGE
from boltzgen.files import is_there, read_json, sha256_file
from boltzgen.loaders.arrays import read_npy, read_npz
from boltzgen.loaders.tensors import read_tensors
from boltzgen_cli.main import main

READERS = {
    "json": read_json,
    "yaml": read_yaml,
    "npz": lambda path: read_npz(path, {}, missing="no such file; copy it anew.", remedy="copy it anew."),
    "npy": lambda path: read_npy(path, None, missing="no such file; copy it anew.", remedy="copy it anew."),
    "hdf5": read_hdf5,
    "safetensors": read_tensors,
    "dcd": read_dcd,
    "hash": sha256_file,
}


def harmful(tmp_path, name):
    """A path of the kind `name` below `tmp_path`."""
    path = tmp_path / "named"
    if name == "a folder":
        path.mkdir()
    elif name == "a pipe":
        os.mkfifo(path)
    elif name == "a device":
        path.symlink_to("/dev/zero")
    elif name == "a link to nothing":
        path.symlink_to(tmp_path / "gone")
    elif name == "a link in a circle":
        path.symlink_to(path)
    elif name == "below a file":
        path.write_text("x")
        path = path / "x"
    elif name == "a long name":
        path = tmp_path / ("x" * 256)
    elif name == "a long path":
        path = tmp_path / "/".join(["y" * 200] * 25)
    elif name == "NUL":
        path = tmp_path / "a\0b"
    elif name == "no permission":
        path.write_text("{}")
        path.chmod(0)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "name",
    [
        "nothing there",
        "a folder",
        "a pipe",
        "a device",
        "a link to nothing",
        "a link in a circle",
        "below a file",
        "a long name",
        "a long path",
        "NUL",
        "no permission",
    ],
)
def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path, reader, name):
    path = harmful(tmp_path, name)
    if name == "no permission" and os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    done = []

    def attempt():
        refusal(lambda: READERS[reader](path), tmp_path)
        done.append(True)

    thread = threading.Thread(target=attempt, daemon=True)  # reading from a pipe would never end
    thread.start()
    thread.join(20)
    assert done


def test_whether_something_is_there_is_answered_for_any_path(tmp_path):
    assert is_there(tmp_path)
    for name in ("a long name", "a long path", "NUL", "a link to nothing", "a link in a circle"):
        folder = tmp_path / name
        folder.mkdir()
        assert not is_there(harmful(folder, name))


def molecule(**changes):
    record = {
        "name": "ethanol",
        "split": "train",
        "source": {"smiles": "CCO"},
        "system": "molecules/ethanol/SYS",
        "data": "molecules/ethanol/MD",
        "status": "complete",
        "fingerprint": "f00d",
        "graph": "beef",
        "atoms": 9,
        "frames": 20,
        "evaluations": 1000,
        "preparation": {},
        "simulation": {"seed": 3},
        "sha256": {"molecules/ethanol/SYS/system.json": "00"},
        "convergence": {"verdict": "short"},
    }
    return {**record, **changes}


def dataset(folder, **changes):
    (folder / "molecules" / "ethanol").mkdir(parents=True, exist_ok=True)
    content = {"schema": "boltzgen.dataset/1", "status": "complete", "config": {}, "molecules": [molecule()]}
    (folder / "dataset.json").write_text(json.dumps({**content, **changes}))
    return folder


OUTSIDE = ("/etc", "../elsewhere", "molecules/../../elsewhere", "..", "", ".", "a\0b", "molecules\\ethanol")


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("key", ["system", "data", "sha256"])
def test_a_data_set_never_leaves_its_folder(tmp_path, key, outside):
    value = {outside: "00"} if key == "sha256" else outside
    folder = dataset(tmp_path / "DATASET", molecules=[molecule(**{key: value})])
    refusal(lambda: Dataset.load(folder), folder / "dataset.json")


def test_links_out_of_a_data_set_are_refused(tmp_path):
    folder = dataset(tmp_path / "DATASET")
    assert [one.name for one in Dataset.load(folder).molecules] == ["ethanol"]
    (tmp_path / "elsewhere").mkdir()
    (folder / "molecules" / "ethanol" / "SYS").symlink_to(tmp_path / "elsewhere")
    assert "link" in refusal(lambda: Dataset.load(folder), folder / "dataset.json")


HARMED = {
    "no molecules": {"molecules": None},
    "molecules of text": {"molecules": ["a"]},
    "molecules in a mapping": {"molecules": {"a": 1}},
    "an unknown key": {"molecues": []},
    "an unknown status": {"status": "done"},
    "another schema": {"schema": "boltzgen.dataset/9"},
    "no name": {"molecules": [{k: v for k, v in molecule().items() if k != "name"}]},
    "atoms of text": {"molecules": [molecule(atoms="9")]},
    "half an atom": {"molecules": [molecule(atoms=9.5)]},
    "negative frames": {"molecules": [molecule(frames=-1)]},
    "an unknown split": {"molecules": [molecule(split="all")]},
    "a source of numbers": {"molecules": [molecule(source={"smiles": 3})]},
    "a system without a folder": {"molecules": [molecule(system=None)]},
    "a simulation that is a list": {"molecules": [molecule(simulation=[])]},
}


@pytest.mark.parametrize("name", HARMED)
def test_a_damaged_record_of_a_data_set_is_refused(tmp_path, name):
    folder = dataset(tmp_path / "DATASET", **HARMED[name])
    refusal(lambda: Dataset.load(folder), folder / "dataset.json")


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"a"', b"", b"{"])
def test_a_record_that_is_something_else_is_refused(tmp_path, content):
    (tmp_path / "dataset.json").write_bytes(content)
    refusal(lambda: Dataset.load(tmp_path), tmp_path / "dataset.json")


@pytest.fixture
def frames(tmp_path):
    record = Trajectory(np.zeros((4, 3, 3)), np.arange(4.0), np.full(4, 310.0), np.zeros(4), "f00d", {})
    write_trajectory(tmp_path / "MD", record)
    read_trajectory(tmp_path / "MD")
    return tmp_path / "MD"


@pytest.mark.parametrize("name", ["../other.npz", "/etc/other.npz", "sub/frames.npz", "..", "", "a\0b.npz"])
def test_the_files_of_a_manifest_stand_beside_it(frames, name):
    path = frames / "manifest.json"
    record = json.loads(path.read_text())
    del record["content_sha256"], record["sha256"]
    path.write_text(json.dumps({**record, "files": [name]}))
    refusal(lambda: read_trajectory(frames), path)


def test_a_link_in_a_folder_of_frames_is_not_followed_out_of_it(frames):
    (frames / "frames.npz").rename(frames.parent / "elsewhere.npz")
    (frames / "frames.npz").symlink_to(frames.parent / "elsewhere.npz")
    assert "link" in refusal(lambda: read_trajectory(frames), frames)


def test_a_manifest_vouches_for_its_own_files_alone(frames):
    path = frames / "manifest.json"
    record = json.loads(path.read_text())
    del record["content_sha256"]
    (frames.parent / "other").write_text("x")
    digests = {"../other": file_digests(frames.parent, ["other"])["other"]}
    path.write_text(json.dumps({**record, "sha256": digests}))
    refusal(lambda: read_trajectory(frames), path)


HARMED_MANIFESTS = {
    "no status": {"status": None},
    "files in a mapping": {"files": {"frames.npz": 1}},
    "frames at no temperature": {"frames": {"warm": 4}},
    "frames of text": {"frames": {"310": "4"}},
    "no ladder": {"temperatures_K": []},
    "a ladder of text": {"temperatures_K": ["310"]},
    "a system of text": {"system": "ethanol"},
    "settings of text": {"settings": "fast"},
    "settings without a step": {"settings": {"time": 3.0}},
    "a step of nothing": {"settings": {"time": 3.0, "timestep": 0}},
    "an exchange of text": {"exchange": {"round_trips": "3"}},
    "an inefficiency of text": {"statistical_inefficiency": {"energy@310K": "x"}},
    "evaluations of text": {"energy_evaluations": "many"},
    "walks of text": {"torch": {"walks": "x"}},
    "a hash that is a number": {"sha256": {"frames.npz": {"bytes": 3, "sha256": 4}}},
}


@pytest.mark.parametrize("name", HARMED_MANIFESTS)
def test_a_damaged_manifest_of_frames_is_refused(frames, name):
    path = frames / "manifest.json"
    record = {**json.loads(path.read_text()), **HARMED_MANIFESTS[name]}
    record.pop("content_sha256")
    path.write_text(json.dumps(record))
    refusal(lambda: read_trajectory(frames), path)


@pytest.mark.parametrize(
    "verb", ["check", "cite", "train -o RUN", "sample SYS -n 3 -o OUT", "simulate -o MD"]
)
def test_the_command_line_names_a_path_that_nothing_can_be_at(tmp_path, monkeypatch, capsys, verb):
    """A verb looks whether something is there before it reads it; Python raises OSError at that."""
    monkeypatch.chdir(tmp_path)
    name, *more = verb.split()
    assert main([name, "x" * 300, *more]) == EXIT_USAGE
    told = capsys.readouterr().err
    assert "xxx" in told and "too long" in told and "fault of boltzgen" not in told
