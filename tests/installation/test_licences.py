"""Every package that boltzgen brings has a licence that is known and fits; SBOM and page say the same."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import metadata

from licences import (
    CALLED,
    OF_CALLED_PROGRAMS,
    OF_THE_PACKAGE_ALONE,
    PAGE,
    PERMISSIVE,
    ROOT,
    SBOM,
    closure,
    licence,
    normal,
    page,
    parts,
    pins,
)

RECORD = json.loads(SBOM.read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
AGAIN = "run tests/installation/licences.py in an environment with all extras"


def test_the_bill_is_the_lock_file():
    """Every pin of constraints.txt with its version, and no other package."""
    assert {one["name"]: one["version"] for one in RECORD["components"]} == pins(), AGAIN


def test_every_licence_is_known_and_fits():
    for one in RECORD["components"]:
        (found,) = one["licenses"]
        called = OF_CALLED_PROGRAMS if one["name"] in CALLED else set()
        assert set(parts(found["expression"])) <= PERMISSIVE | OF_THE_PACKAGE_ALONE | called, one["name"]
        try:
            version = metadata.version(one["name"]).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if version == one["version"]:
            assert licence(one["name"]) == found["expression"], f"{one['name']}: {AGAIN}"


def test_what_is_needed_is_all_in_the_bill():
    """The closure of the dependencies as installed here: a new one, also of another package, fails."""
    needed = closure(PROJECT["dependencies"])
    required = {one["name"] for one in RECORD["components"] if one["scope"] == "required"}
    if sys.version_info[:2] == (3, 11):
        assert {name for name in needed if not name.startswith(("nvidia", "cuda", "triton"))} == required, (
            AGAIN
        )
    assert required <= set(pins())


def test_the_page_says_what_the_bill_says():
    assert PAGE.read_text(encoding="utf-8") == page(RECORD), AGAIN


def test_what_is_installed_fits_together():
    """``pip check`` finds no fault with a package of ours; others in the same environment are not ours."""
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    done = subprocess.run(words, capture_output=True, text=True)
    ours = {"boltzgen-sampler", *pins()}
    faults = [line for line in done.stdout.splitlines() if line and normal(line.split()[0]) in ours]
    assert not faults, "\n".join(faults)
