"""What is shipped, and what ``boltzgen doctor`` finds."""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from importlib import metadata, resources

import pytest
from helpers import ROOT, assert_refused

from boltzgen.config.shipped import find_config, shipped_configs
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.workflows.installation.doctor import NAMESAKE, doctor

SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MEGABYTE = 1e6


@pytest.mark.parametrize(
    ("package", "folder"),
    [("boltzgen", "boltzgen"), ("boltzgen_configs", "configs"), ("boltzgen_models", "models")],
)
def test_every_data_file_is_packaged(package, folder):
    patterns = [
        pattern.replace("**/", "*") for pattern in SETUP["tool"]["setuptools"]["package-data"][package]
    ]
    files = [
        str(path.relative_to(ROOT / folder))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    missing = [
        name
        for name in files
        if not any(fnmatch.fnmatch(name, pattern.replace("**/", "*")) for pattern in patterns)
    ]
    assert missing == []


def test_the_demo_data_stay_small():
    total = sum(
        path.stat().st_size for path in (ROOT / "boltzgen" / "demo_data").rglob("*") if path.is_file()
    )
    assert total <= 10 * MEGABYTE


def test_the_distribution_cannot_be_uploaded_by_mistake():
    assert SETUP["project"]["name"] == "boltzgen-sampler"
    assert "Private :: Do Not Upload" in SETUP["project"]["classifiers"]


@pytest.mark.parametrize("package", ["boltzgen", "boltzgen_configs", "boltzgen_models"])
def test_data_packages_are_importable(package):
    assert resources.files(package).joinpath("__init__.py").is_file()


def test_constraints_satisfy_the_declared_ranges():
    from packaging.requirements import Requirement

    pins = dict(
        line.strip().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
        if "==" in line
    )
    extras = SETUP["project"]["optional-dependencies"].values()
    for text in [*SETUP["project"]["dependencies"], *(item for extra in extras for item in extra)]:
        requirement = Requirement(text)
        assert requirement.name.lower() in pins, f"{requirement.name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pins[requirement.name.lower()]), text


#: Names at import whose distribution has another name.
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "Bio": "biopython",
    "arviz_stats": "arviz-stats",
    "pydantic_core": "pydantic",
}  # pydantic brings its core

#: Packages that no extra can name; people install them from their repositories, or with conda.
NOT_ON_THE_INDEX = {"bgflow", "openff"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    from packaging.requirements import Requirement
    from test_imports import imported, sources

    found = {target.split(".")[0] for path in sources() for target, _, _ in imported(path)}
    ours = {name for name in found if name.startswith("boltzgen")}
    found = {DISTRIBUTIONS.get(name, name).lower() for name in found - ours - set(sys.stdlib_module_names)}
    declared = {Requirement(text).name.lower() for text in SETUP["project"]["dependencies"]}
    extras = SETUP["project"]["optional-dependencies"]
    optional = {Requirement(text).name.lower() for name in extras if name != "dev" for text in extras[name]}
    assert declared <= found
    assert found <= declared | optional | NOT_ON_THE_INDEX


def test_every_configuration_is_short_and_says_what_it_is_for():
    for name, path in shipped_configs().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert sum(not line.startswith("  {smiles:") for line in lines) < 30, f"{name}, but for its molecules"
        assert lines[0].startswith("#") and lines[1].startswith("#"), (
            f"{name}: purpose, expected result, time"
        )


def test_configurations_are_found_by_name_and_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: 2\n")
    assert find_config(path) == path
    for name, shipped in shipped_configs().items():
        assert find_config(name) == shipped
    with pytest.raises(InputError, match="neither a file nor a shipped configuration"):
        find_config("absent-configuration")
    with pytest.raises(InputError, match="a folder"):
        find_config(tmp_path)


def fake_versions(**installed):
    def version(name):
        if name in installed:
            if installed[name] is None:
                raise metadata.PackageNotFoundError(name)
            return installed[name]
        return metadata.version(name)

    return version


def test_doctor_finds_the_namesake():
    report = doctor(fake_versions(**{NAMESAKE: "0.2.3"}))
    with pytest.raises(BoltzgenError, match=r"boltzgen' 0\.2\.3 \(a protein-design tool\).*uninstall"):
        report.raise_for_faults()


def test_doctor_finds_a_missing_foundation():
    report = doctor(fake_versions(**{NAMESAKE: None, "rdkit": None}))
    assert report.faults == ("rdkit is not installed: run pip install rdkit.",)
    assert report.facts["rdkit"] == "missing"


def test_doctor_is_content_here():
    report = doctor(fake_versions(**{NAMESAKE: None}))
    report.raise_for_faults()
    assert "Reference" in report.facts["OpenMM platforms"]


def test_doctor_names_every_extra(monkeypatch):
    """From what is installed, not from a list of its own; `dev` is for those who have a clone."""
    declared = [
        'tblite>=0.8; extra == "qm"',
        "ase>=3.23 ; extra=='qm'",
        'some.thing==0.14.*; python_version > "3" and extra == "later-one"',
        'pytest>=8; extra == "dev"',
        "numpy>=2.0",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: declared)
    facts = doctor(fake_versions(tblite="0.8.7", ase="3.29.1", **{NAMESAKE: None})).facts
    assert facts["extra qm"] == "tblite 0.8.7, ase 3.29.1"
    assert facts["extra later-one"] == "not installed (pip install 'boltzgen-sampler[later-one]')"
    assert "extra dev" not in facts


def test_doctor_exit_code(monkeypatch):
    monkeypatch.setattr(
        "boltzgen.workflows.installation.doctor.doctor",
        lambda: doctor(fake_versions(**{NAMESAKE: "0.2.3"})),
    )
    assert_refused(["doctor"], "protein-design", code=1)
