"""Shared by all tests: the packages of the clone, threads, seeds, and small molecules."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {"boltzgen_cli": "cli", "boltzgen_configs": "configs", "boltzgen_models": "models"}


def _make_clone_importable() -> None:
    """In a clone without an installation, give the mapped packages their names (also to subprocesses)."""
    if all(importlib.util.find_spec(name) for name in ("boltzgen", *MAPPED)):
        return
    folder = Path(tempfile.mkdtemp(prefix="boltzgen-paths-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, source in {"boltzgen": "boltzgen", **MAPPED}.items():
        (folder / name).symlink_to(ROOT / source)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


_make_clone_importable()


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Global generators start alike in every test; code under test takes its own generators."""
    import random

    import numpy as np
    import torch

    random.seed(20261)
    np.random.seed(20261)
    torch.manual_seed(20261)


@pytest.fixture(scope="session")
def alanine_dipeptide():
    """ACE-ALA-NME, amber99sbildn.xml with amber99_obc.xml: the molecule of the demo."""
    from boltzgen.system.prepare import prepare

    return prepare(
        ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb",
        forcefield=("amber99sbildn.xml",),
        implicit="amber99_obc.xml",
    )


@pytest.fixture(scope="session")
def butane():
    """The bonded-only butane of four united atoms, whose ln Z is known exactly."""
    from boltzgen.system.prepare import prepare

    folder = ROOT / "boltzgen" / "examples" / "butane"
    return prepare(folder / "system.xml", coordinates=folder / "butane.pdb")


@pytest.fixture(scope="session")
def command_server(tmp_path_factory):
    """Runs commands without their seconds of imports: for tests of what they do, not of processes."""
    from command_server import CommandServer

    server = CommandServer(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture
def no_collection():
    """For tests that interrupt this very process: an exception raised while a finalizer runs is lost."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also in a shell's background job, which begins with the signal ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def pytest_configure(config) -> None:
    """Xdist takes the groups in the order of the tests, which is made below."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With ``-n``, and nothing else asked for, whole files are shared out."""
    from shares import Shares

    return Shares(config, log) if config.getoption("dist") in ("load", "loadgroup") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items) -> None:
    """Files come first, those of many tests before others, then pages, from many commands to none.

    At the end only short groups are left, and no process waits long for another.
    """
    if not hasattr(config, "workerinput"):
        return
    from shares import group_of

    groups: dict[str, list] = {}
    for item in items:
        groups.setdefault(group_of(item.nodeid), []).append(item)
    work = {group: (group.endswith(".md]"), -_work(members)) for group, members in groups.items()}
    items[:] = [item for group in sorted(groups, key=work.__getitem__) for item in groups[group]]


def _work(members: list) -> int:
    """How much a group has to do: commands and programs of a page, tests of a file."""
    page = members[0].callspec.params.get("document") if hasattr(members[0], "callspec") else None
    if len(members) > 1 or page is None:
        return len(members)
    return len(re.findall(r"^(?:\$ boltzgen|```python)", page.read_text(encoding="utf-8"), re.MULTILINE))
