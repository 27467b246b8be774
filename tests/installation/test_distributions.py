"""A wheel and an sdist are built, hold what they should, and the wheel works where it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path

import pytest
from distributions import ROOT, SOURCES, call_backend, copy_sources
from extras import CHECKS

#: Folders of the tree -> packages of the wheel.
PACKAGES = dict(
    zip(SOURCES, ("boltzgen", "boltzgen_cli", "boltzgen_configs", "boltzgen_models"), strict=True)
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, the sdist, and the wheel that the unpacked sdist makes."""
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is made by setuptools 77 or later")
    folder = tmp_path_factory.mktemp("built")
    (folder / "tree").mkdir()
    tree = copy_sources(folder / "tree")
    wheel = call_backend("build_wheel", tree, folder / "wheel")
    sdist = call_backend("build_sdist", tree, folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return wheel, sdist, call_backend("build_wheel", unpacked, folder / "again")


def contents(wheel: Path) -> dict[str, bytes]:
    """Name -> bytes of every file of `wheel` but its list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_wheel_holds_every_file_and_nothing_else(built):
    """A package forgotten in pyproject.toml, or data without a pattern, would be missing for users alone."""
    files = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}": path.read_bytes()
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name: data for name, data in contents(built[0]).items() if ".dist-info/" not in name}
    assert sorted(found) == sorted(files)
    assert found == files


def test_the_wheel_of_the_sdist_is_the_wheel(built):
    assert contents(built[2]) == contents(built[0])


def test_the_wheel_says_what_it_is(built):
    (text,) = (data for name, data in contents(built[0]).items() if name.endswith("/METADATA"))
    said = HeaderParser().parsestr(text.decode())
    assert said["Name"] == "boltzgen-sampler" and said["License-Expression"] == "MIT"
    assert set(said.get_all("Provides-Extra")) == set(CHECKS) - {""}
    assert any(name.endswith("licenses/LICENSE") for name in contents(built[0]))


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A fresh environment with the wheel, and the packages of this one behind it; answers a function."""
    folder = tmp_path_factory.mktemp("fresh")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [*pip, "--quiet", "--no-deps", "--no-index", "--no-compile", str(built[0])]
    subprocess.run(words, check=True, env=environment, capture_output=True)
    (site,) = (venv / "lib").glob("python*/site-packages")
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in sorted(ours)))  # theirs are not read
    environment["PATH"] = f"{venv / 'bin'}:{environment.get('PATH', '')}"

    def run(words: Sequence[str]) -> str:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run, site


def test_the_installed_program_answers(installed):
    run, site = installed
    assert "prepare" in run(["boltzgen", "--help"])
    told = run(["boltzgen", "doctor"])
    assert str(site / "boltzgen") in told.replace("\n", "") or "site-packages" in told
    assert "peptide" in run(["boltzgen", "models"]).lower()


def test_the_installed_library_finds_its_data(installed):
    """Configurations, models, the demo's data, the bibliography: from the wheel, not from this tree."""
    run, site = installed
    program = f"""
import boltzgen as bg, boltzgen, boltzgen_cli, boltzgen_configs, boltzgen_models
from pathlib import Path
for package in (boltzgen, boltzgen_cli, boltzgen_configs, boltzgen_models):
    assert Path(package.__file__).is_relative_to({str(site)!r}), package.__file__
from boltzgen.config.shipped import shipped_configs
assert shipped_configs() and all(path.is_file() for path in shipped_configs().values())
from importlib import metadata
assert metadata.version("boltzgen-sampler") == bg.__version__
assert {{point.name for point in metadata.entry_points(group="boltzgen.flows")}} >= {{"coupling", "nflows"}}
assert len(bg.cite().keys) > 20
found = bg.prepare(sequence="ACE-ALA-NME", check=True)
assert found.system.n_atoms == 22
"""
    run(["python", "-c", program])
