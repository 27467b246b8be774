"""Scoped guards of what belongs to the caller: streams of random numbers, loggers, environment, threads.

A library leaves the process of its caller as it found it. What a foundation changes on its way is put back
here. `tests/ground/test_callers_state.py` runs every verb and compares the states before and after.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path


def user_cache(name: str) -> Path:
    """The folder `name` of boltzgen in the user's cache (XDG); RuntimeError where there is no home."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "boltzgen" / name


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """While it lasts the logger `name` (and those below it) says errors only; its level is put back."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def numpy_stream_kept() -> Iterator[None]:
    """NumPy's global stream of random numbers goes on afterwards where it stood, reseeded or not."""
    import numpy as np

    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


@contextmanager
def environment_kept() -> Iterator[None]:
    """The variables of the environment are afterwards what they were."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def usable_caches() -> Iterator[None]:
    """Where Matplotlib is imported: its cache is in a temporary folder if home cannot be written."""
    with environment_kept():
        for variable, usual in (("XDG_CACHE_HOME", ".cache"), ("XDG_CONFIG_HOME", ".config")):
            if not _takes_files(os.environ.get(variable) or os.path.join("~", usual)):
                os.environ[variable] = os.path.join(_home_for_now(), usual)
        if "MPLCONFIGDIR" in os.environ and not _takes_files(os.environ["MPLCONFIGDIR"]):
            del os.environ["MPLCONFIGDIR"]
        yield


def _takes_files(folder: str) -> bool:
    folder = os.path.expanduser(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return False
    return True


@cache
def _home_for_now() -> str:
    """A folder that this process removes at its end."""
    folder = tempfile.mkdtemp(prefix="boltzgen-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def recursion_limit_kept() -> Iterator[None]:
    """The interpreter's limit of recursion is afterwards what it was."""
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """While it lasts torch computes with `number` threads; None: with as many as before."""
    import torch

    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pool_of_single_threads(workers: int, name: str) -> ThreadPoolExecutor:
    """A pool of `workers` threads, in each of which torch keeps to one thread.

    Torch's number of threads belongs to a thread, but setting it anywhere is also what every later thread
    of the process begins with. So all workers begin here, and then the caller's number is set again.
    """
    import torch

    threads = torch.get_num_threads()
    met = threading.Barrier(workers + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the process's number when it first asks: now, not later
        met.wait()

    pool = ThreadPoolExecutor(workers, name, initializer=begin)
    for _ in range(workers):
        pool.submit(int)  # begins a thread as long as none is idle, and none is before all have met
    met.wait()
    torch.set_num_threads(threads)
    return pool
