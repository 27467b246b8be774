"""A wheel and an sdist of the working tree, made by setuptools itself: no network, nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What of the tree goes into the wheel, and is enough to make it.
SOURCES = ("boltzgen", "cli", "configs", "models")
BESIDE = ("pyproject.toml", "README.md", "LICENSE")


def copy_sources(folder: Path) -> Path:
    """A copy in `folder` of what the distribution is made of, without what Python leaves beside it."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in BESIDE:
        shutil.copy(ROOT / name, folder / name)
    return folder


def call_backend(hook: str, sources: Path, out: Path) -> Path:
    """What the build backend's `hook` makes in `out` of the tree `sources`; RuntimeError with its words."""
    out.mkdir(parents=True, exist_ok=True)
    program = f"import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(out.resolve())],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{hook}: {done.stdout}{done.stderr}")
    return out.resolve() / done.stdout.strip().splitlines()[-1]


def build_wheel(out: Path) -> Path:
    """A wheel of the working tree, in `out`."""
    with tempfile.TemporaryDirectory() as folder:
        return call_backend("build_wheel", copy_sources(Path(folder)), out)
