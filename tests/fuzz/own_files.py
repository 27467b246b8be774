"""Files of boltzgen's own formats, damaged at random, through every reader: `faults(seconds, seed)`.

Each file of a small SYS, MD, RUN and OUT is changed by `mutate(data, rng)` (bytes of any format) or
`mutate_json` (the tree of a JSON file), without the hashes that would refuse it at once, and read. A reader
may refuse it with an InputError that names a file below its folder, or take it; anything else is a fault:
another exception, more than `LONGEST` seconds, more than `MOST_MEMORY`. The seed of a fault makes it again.

    python tests/fuzz/own_files.py --seconds 60 --seed 1

Nothing is written outside a temporary folder. HDF5 goes through libhdf5; a crash of that ends the run.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cases")]

from boltzgen.config.build import build_flow  # noqa: E402
from boltzgen.config.model import load_model, save_model  # noqa: E402
from boltzgen.config.settings import load_settings  # noqa: E402
from boltzgen.data.dataset import Dataset  # noqa: E402
from boltzgen.data.trajectory import read_trajectory, write_trajectory  # noqa: E402
from boltzgen.ensemble.store import load_ensemble, summary  # noqa: E402
from boltzgen.errors import BoltzgenError  # noqa: E402
from boltzgen.free_energy.states import read_states  # noqa: E402
from boltzgen.system.molecular_system import MolecularSystem  # noqa: E402
from boltzgen.system.prepare import prepare  # noqa: E402
from boltzgen.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from boltzgen.training.metrics import read_metrics  # noqa: E402
from boltzgen.training.settings import TrainingSettings  # noqa: E402
from boltzgen.workflows.installation.cite import cite  # noqa: E402
from boltzgen.workflows.sampling.sample import sample  # noqa: E402
from boltzgen.workflows.simulation.simulate import simulate  # noqa: E402

#: Seconds that a reader may take, and bytes of this process.
LONGEST, MOST_MEMORY = 10.0, 2 * 2**30

#: Keys under which manifests keep hashes.
HASHES = ("content_sha256", "sha256", "files")

#: What stands for a part of a JSON tree.
ODD = [
    None,
    True,
    -1,
    0,
    1e300,
    2**63,
    "",
    "x",
    "../../x",
    "a\0b",
    "x" * 5000,
    [],
    {},
    [[]],
    {"x": 1},
    [1, "x"],
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """`data` with some of it changed, left out, doubled, or cut off."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not content:
            return bytes(rng.randrange(256) for _ in range(rng.randrange(20)))
        place, length = rng.randrange(len(content)), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[place] = rng.randrange(256)
        elif kind == 2:
            del content[place : place + length]
        elif kind == 3:
            content[place:place] = content[place : place + length] * rng.choice((1, 2, 50))
        elif kind == 4:
            content[place : place + length] = rng.choice((b"\xff", b"\0", b"\x7f", b"9", b"[", b"{")) * length
        elif kind == 5:
            other = rng.randrange(len(content))
            content[place : place + length] = content[other : other + length]
        elif rng.random() < 0.2:
            del content[place:]
    return bytes(content)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """The JSON text `data` with a part of its tree replaced, left out, or given another key."""
    tree = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        places = [(holder, key) for holder, key in _places(tree)]
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[key + "x"] = holder.pop(key)
        else:
            holder[key] = rng.choice(ODD)
    return json.dumps(tree).encode()


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found, ahead = [], [tree]
    while ahead:
        holder = ahead.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                ahead.append(holder[key])
    return found


def read_system(folder: Path) -> None:
    system = MolecularSystem.load(folder)
    system.openmm_topology()


def read_samples(folder: Path) -> None:
    summary(load_ensemble(folder))


def read_run(folder: Path) -> None:
    load_settings(TrainingSettings, folder / "config.yaml")
    read_metrics(folder / "metrics.jsonl")


def read_simulation(folder: Path) -> None:
    """A run that goes on where it is partial, the frames of one that is complete."""
    simulate(folder.parent / "SYS", folder, platform="Reference", **SHORT)
    read_trajectory(folder)


SHORT: dict[str, Any] = {
    "temperatures": [300, 400],
    "time": "0.4ps",
    "save_interval": "0.1ps",
    "equilibration": "0.1ps",
    "exchange_interval": "0.1ps",
}

#: Folder -> its files that are damaged, and the readers.
READERS: dict[str, tuple[tuple[str, ...], tuple[Callable[[Path], Any], ...]]] = {
    "SYS": (("system.json",), (read_system, cite)),
    "MD": (("manifest.json", "temperature-300K.h5"), (read_trajectory, cite)),
    "BEGUN": (("manifest.json", "checkpoint.npz"), (read_simulation,)),
    "COMPACT": (("manifest.json", "frames.npz"), (read_trajectory,)),
    "OUT": (("manifest.json", "samples.npz", "samples.dcd"), (read_samples, cite)),
    "RUN": (("config.yaml", "metrics.jsonl"), (read_run, cite)),
    "RUN/model": (("model.json", "weights.safetensors"), (load_model, cite)),
    "RUN/checkpoints/step-00000003": (("state.json", "state.safetensors"), (load_checkpoint,)),
    "DATASET": (("dataset.json",), (Dataset.load, cite)),
    "STATES": (("states.yaml", "states.json"), (lambda folder: _both(folder),)),
}


def _both(folder: Path) -> None:
    for name in ("states.yaml", "states.json"):
        read_states(folder / name, None, 2)


def make(folder: Path) -> None:
    """Small files of every kind in `folder`, manifests without hashes."""
    from small_model import FLOW, MODEL

    source = ROOT / "boltzgen" / "examples" / "butane"
    prepare(source / "system.xml", coordinates=source / "butane.pdb").save(folder / "SYS")
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    simulate(folder / "SYS", folder / "MD", platform="Reference", **SHORT)
    shutil.copytree(folder / "MD", folder / "BEGUN")
    write_trajectory(folder / "COMPACT", read_trajectory(folder / "MD"))
    tensors = build_flow(FLOW, seed=1).state_dict()
    record: dict[str, Any] = {"counters": {"step": 3}, "last_evaluation": {"ess": 0.5}, "systems": ["f00d"]}
    stored = Checkpoint({f"flow/{name}": value for name, value in tensors.items()}, record)
    save_checkpoint(folder / "RUN" / "checkpoints", 3, stored)
    sample(folder / "RUN", folder / "SYS", folder / "OUT", 50)
    lines = "system: SYS\nflow: {kind: coupling, layers: 2}\nreverse_kl: {weight: [[0, 1.0], [1, 0.5]]}\n"
    (folder / "RUN" / "config.yaml").write_text(lines)
    (folder / "RUN" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": null}\n')
    states: dict[str, Any] = {
        "states": [{"name": "left", "where": {"x0": [-9, 0]}}, {"name": "right", "where": "rest"}],
        "differences": [["left", "right"]],
    }
    (folder / "STATES").mkdir()
    for name in ("states.yaml", "states.json"):
        (folder / "STATES" / name).write_text(json.dumps(states))
    one: dict[str, Any] = {
        "name": "butane",
        "split": "train",
        "source": {"smiles": "CCCC"},
        "system": "molecules/butane/SYS",
        "data": None,
        "status": "complete",
        "fingerprint": "f00d",
        "graph": "beef",
        "atoms": 14,
        "frames": 0,
        "evaluations": 0,
        "preparation": {},
        "simulation": None,
        "sha256": {},
        "convergence": {},
    }
    (folder / "DATASET").mkdir()
    content = {"schema": "boltzgen.dataset/1", "status": "complete", "config": {}, "molecules": [one]}
    (folder / "DATASET" / "dataset.json").write_text(json.dumps(content))
    for path in folder.rglob("*.json"):
        held = json.loads(path.read_text())
        kept = {k: v for k, v in held.items() if k not in HASHES or (k == "files" and isinstance(v, list))}
        path.write_text(json.dumps(kept))


def faults(
    seconds: float,
    seed: int,
    told: Callable[[str], None] = print,
    change: Callable[[bytes, random.Random], bytes] = mutate,
) -> tuple[int, list[str]]:
    """How many damaged files were read in `seconds`, and a line for each fault: seed, file, what happened.

    change: what damages bytes; `mutate_json` has its share of the JSON files in any case.
    """
    found: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made"
        make(made)
        members = [(folder, name) for folder, (names, _) in READERS.items() for name in names]
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            number += 1
            folder, name = members[number % len(members)]
            rng = random.Random(f"{seed} {number}")
            home = Path(place) / "copy"
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(made, home, symlinks=True)
            path = home / folder / name
            in_tree = path.suffix == ".json" and rng.random() < 0.7
            path.write_bytes((mutate_json if in_tree else change)(path.read_bytes(), rng))
            for read in READERS[folder][1]:
                if line := _fault(read, home / folder, place):
                    found.append(f"{seed} {number} {folder}/{name} {line}")
                    told(found[-1])
    return number, found


def _fault(read: Callable[[Path], Any], folder: Path, place: str) -> str:
    """What was wrong with reading `folder`; empty where nothing was."""
    start, before, wrong = time.monotonic(), _peak(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(folder)
    except BoltzgenError as error:
        if place not in str(error) or "\n" in str(error):
            wrong = f"names no file: {error}"
    except Exception as error:  # noqa: BLE001  (this is what is looked for)
        last = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    if (spent := time.monotonic() - start) > LONGEST:
        wrong += f" took {spent:.0f} s"
    if (taken := _peak() - before) > MOST_MEMORY:
        wrong += f" took {taken / 2**30:.1f} GiB"
    return wrong


def _peak() -> int:
    """The most bytes that this process ever held: what ran in it before is no fault of what is read."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    count, wrong = faults(asked.seconds, asked.seed)
    print(f"{count} damaged files, {len(wrong)} faults")
    sys.exit(bool(wrong))
