"""Versions without imports, and records that tell no path of the machine that made them."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata

import pytest

import boltzgen
from boltzgen.provenance import VERSION, relative_to_run, versions


def test_versions_are_those_at_work():
    found = versions("python", "numpy", "boltzgen", "no-such-distribution", "boltzgen-sampler")
    assert list(found) == ["python", "numpy", "boltzgen", "no-such-distribution", "boltzgen-sampler"]
    assert found["python"] == platform.python_version()
    assert found["numpy"] == metadata.version("numpy")
    assert found["no-such-distribution"] is None
    assert found["boltzgen"] == found["boltzgen-sampler"] == VERSION == boltzgen.__version__


def test_versions_import_nothing():
    work = (
        "import sys; from boltzgen.provenance import versions; versions('torch', 'numpy', 'openmm', 'h5py');"
        "print(sorted({'torch', 'numpy', 'openmm', 'h5py'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", work], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    {
        "beside the run": ("/runs/five/MD", "../MD"),
        "the run": ("/runs/five/RUN", "."),
        "in the run": ("/runs/five/RUN/model", "model"),
        "further away": ("/runs/six/MD 2/x", "../../six/MD 2/x"),
        "elsewhere": ("/disk/of/someone/MD", "MD"),
        "override": ("data=/runs/five/MD", "data=../MD"),
        "list": ("data=[/runs/five/A,/runs/five/B]", "data=[../A,../B]"),
        "relative": ("data=../MD", "data=../MD"),
        "unit": ("kJ/mol", "kJ/mol"),
        "quotient": ("a / b, 1/2", "a / b, 1/2"),
        "address": ("see https://example.org/runs/five", "see https://example.org/runs/five"),
        "number": (3, 3),
        "null": (None, None),
        "nested": ({"a": [{"b": "/runs/five/MD"}]}, {"a": [{"b": "../MD"}]}),
        "command": (
            {"command": ["/opt/bin/boltzgen", "train", "-o", "/runs/five/RUN"]},
            {"command": ["boltzgen", "train", "-o", "."]},
        ),
    }.values(),
)
def test_paths_become_relative_to_the_run(given, expected):
    assert relative_to_run(given, "/runs/five/RUN") == expected


def test_a_run_named_by_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert relative_to_run({"data": str(tmp_path / "MD" / "a")}, "RUN") == {"data": "../MD/a"}
