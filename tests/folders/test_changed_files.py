"""One flipped bit in a file that has a hash is refused, naming file and remedy; old folders load."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_refused
from small_model import FLOW, MODEL

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model, save_model
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.digests import CONTENT
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import BoltzgenError, InputError, UnreliableError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from boltzgen.workflows.sampling.check import check
from boltzgen.workflows.sampling.merge import merge
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.simulate import simulate

SHORT = {"temperatures": [300, 400], "time": "0.4ps", "save_interval": "0.1ps", "equilibration": "0.1ps"}

#: Files by their folder, and how the folder is read.
READERS = {
    "OUT": (load_ensemble, ("samples.npz", "samples.dcd", "topology.pdb")),
    "SYS": (MolecularSystem.load, ("system.xml", "topology.pdb")),
    "MD": (read_trajectory, ("temperature-300K.h5", "temperature-400K.h5")),
    "COMPACT": (read_trajectory, ("frames.npz",)),
    "RUN/model": (load_model, ("weights.safetensors",)),
    "RUN/checkpoints/step-00000003": (load_checkpoint, ("state.safetensors",)),
}

#: What a JSON file says that decides numbers: folder, file, keys down to it, and another value.
STATED = {
    "mass": ("SYS", "system.json", ("masses_dalton", 0), 15.5),
    "position": ("SYS", "system.json", ("reference_positions_nm", 1, 2), 0.125),
    "temperature of samples": ("OUT", "manifest.json", ("temperature_K",), 300.5),
    "inefficiency": ("MD", "manifest.json", ("statistical_inefficiency", "energy@300K"), 1.5),
    "temperature of a model": ("RUN/model", "model.json", ("temperature_K",), 301.0),
    "counter": ("RUN/checkpoints/step-00000003", "state.json", ("counters", "step"), 4),
}


@pytest.fixture(scope="module")
def made(butane, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("changed")
    butane.save(folder / "SYS")
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    simulate(butane, folder / "MD", exchange_interval="0.1ps", platform="Reference", **SHORT)
    write_trajectory(folder / "COMPACT", read_trajectory(folder / "MD"))
    tensors = build_flow(FLOW, seed=1).state_dict()
    record = Checkpoint({f"flow/{name}": value for name, value in tensors.items()}, {"counters": {"step": 3}})
    save_checkpoint(folder / "RUN" / "checkpoints", 3, record)
    sample(folder / "RUN", folder / "SYS", folder / "OUT", 200)
    return folder


@pytest.mark.parametrize("refused", ["weights.safetensors", "model.json", "topology.pdb", "system.json"])
def test_a_set_that_cannot_be_written_whole_leaves_the_one_before(made, tmp_path, monkeypatch, refused):
    folder = "SYS" if refused in ("topology.pdb", "system.json") else "RUN/model"
    shutil.copytree(made / folder, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    fsync = os.fsync

    def full(handle: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if name.name.startswith(f".{Path(refused).stem}.") and name.suffix == Path(refused).suffix:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), refused)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BoltzgenError, match="the disk is full"):
        if folder == "SYS":
            replace(MolecularSystem.load(tmp_path / "copy"), name="another").save(tmp_path / "copy")
        else:
            save_model(tmp_path / "copy", build_flow(FLOW, seed=3), {**MODEL, "temperature_K": 310.0})
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == before


def flip(path: Path, byte: int) -> None:
    """One bit of the file changed, the third of one byte."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("folder", "name"), [(f, n) for f, (_, names) in READERS.items() for n in names])
def test_a_flipped_bit_is_refused(made, tmp_path, folder, name):
    read = READERS[folder][0]
    shutil.copytree(made / folder, tmp_path / "copy")
    read(tmp_path / "copy")
    size = (tmp_path / "copy" / name).stat().st_size
    for byte in np.linspace(size // 3, size - 1, 3).astype(int):
        flip(tmp_path / "copy" / name, byte)
        with pytest.raises(InputError, match=r"copy.* anew|do not belong together") as caught:
            read(tmp_path / "copy")
        assert str(tmp_path / "copy") in str(caught.value) and "\n" not in str(caught.value)
        flip(tmp_path / "copy" / name, byte)
    read(tmp_path / "copy")


@pytest.mark.parametrize("what", STATED)
def test_a_changed_statement_is_refused_and_a_folder_without_hashes_is_not(made, tmp_path, what):
    folder, name, keys, value = STATED[what]
    read = READERS[folder][0]
    shutil.copytree(made / folder, tmp_path / "copy")
    path = tmp_path / "copy" / name
    record = json.loads(path.read_text())
    *above, last = keys
    inner = record
    for key in above:
        inner = inner[key]
    assert inner[last] != value
    inner[last] = value
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="not what was written") as caught:
        read(tmp_path / "copy")
    assert str(path) in str(caught.value) and "anew" in str(caught.value)
    old = {key: content for key, content in record.items() if key not in (CONTENT, "sha256")}
    if isinstance(old.get("files"), dict):
        del old["files"]
    path.write_text(json.dumps(old))
    read(tmp_path / "copy")


def test_check_reports_what_others_refuse(made, tmp_path):
    """The samples of a changed DCD are read by `check` alone, which calls them unreliable."""
    shutil.copytree(made, tmp_path / "made")
    out = tmp_path / "made" / "OUT"
    flip(out / "samples.dcd", (out / "samples.dcd").stat().st_size - 6)
    asked = {"model": tmp_path / "made" / "RUN", "system": tmp_path / "made" / "SYS"}
    with pytest.raises(UnreliableError, match=r"samples\.dcd was changed"):
        check(out, strict=True, **asked)
    sample(tmp_path / "made" / "RUN", tmp_path / "made" / "SYS", tmp_path / "MORE", 100, seed=2)
    with pytest.raises(InputError, match=r"samples\.dcd.*copy it anew.*`check\(OUT\)`"):
        merge([out, tmp_path / "MORE"], tmp_path / "ALL")
    assert not (tmp_path / "ALL").exists()
    words = ["export", out, "--format", "dcd", "-o", tmp_path / "x.dcd"]
    assert_refused(words, "samples.dcd", "copy it anew")


def test_a_changed_manifest_stays_changed_after_check(made, tmp_path):
    shutil.copytree(made, tmp_path / "made")
    out = tmp_path / "made" / "OUT"
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "n": 201}))
    asked = {"model": tmp_path / "made" / "RUN", "system": tmp_path / "made" / "SYS"}
    for _ in range(2):
        with pytest.raises(UnreliableError, match=r"manifest\.json was changed"):
            check(out, strict=True, **asked)
    with pytest.raises(InputError, match="not what was written"):
        load_ensemble(out)


def test_a_simulation_does_not_go_on_with_changed_frames(made, tmp_path, butane):
    shutil.copytree(made / "MD", tmp_path / "MD")
    flip(tmp_path / "MD" / "temperature-400K.h5", -1)
    words = {**SHORT, "time": "0.6ps"}
    with pytest.raises(InputError, match=r"temperature-400K\.h5.*copy it anew"):
        simulate(
            butane, tmp_path / "MD", exchange_interval="0.1ps", platform="Reference", resume="auto", **words
        )
    flip(tmp_path / "MD" / "temperature-400K.h5", -1)
    longer = simulate(
        butane, tmp_path / "MD", exchange_interval="0.1ps", platform="Reference", resume="auto", **words
    )
    assert longer.frames == 6 and len(read_trajectory(tmp_path / "MD")) == 12
