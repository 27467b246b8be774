"""The face for Python: what `import boltzgen as bg` offers, how light it is, and that its examples run."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from typing import get_type_hints

import pytest
from helpers import ROOT

import boltzgen as bg
from boltzgen.system.options import PrepareOptions
from boltzgen.workflows.preparation.options import PrepareKeywords
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.sampling.options import CheckKeywords, CheckOptions, SampleKeywords, SampleOptions
from boltzgen.workflows.simulation.options import SimulateKeywords, SimulateOptions
from boltzgen.workflows.training.options import AdaptKeywords, AdaptOptions
from boltzgen.workflows.transfer.options import TransferKeywords, TransferOptions


def declared_to_type_checkers() -> dict[str, tuple[str, str]]:
    """Name -> (module, name there), from the imports that only type checkers read."""
    tree = ast.parse((ROOT / "boltzgen" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_lists_of_names_agree():
    assert declared_to_type_checkers() == bg._PLACES
    assert set(bg.__all__) == {*bg._PLACES, "__version__"} and len(set(bg.__all__)) == len(bg.__all__)
    assert dir(bg) == sorted(bg.__all__)


@pytest.mark.parametrize("name", bg.__all__)
def test_every_name_is_there_and_explains_itself(name):
    found = getattr(bg, name)
    if name != "__version__":
        assert found.__doc__ and (found.__name__ == name or bg._PLACES[name][1] == found.__name__)
    with pytest.raises(AttributeError, match="has no attribute 'smaple'"):
        _ = bg.smaple


def test_importing_loads_nothing_heavy():
    """Some seventy modules of the standard library, no more; time itself decides nothing here."""
    program = (
        "import sys; before = set(sys.modules); import boltzgen; "
        "print(len(set(sys.modules) - before), "
        "[m for m in ('torch', 'numpy', 'openmm', 'pydantic', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded, heavy = done.stdout.split(maxsplit=1)
    assert int(loaded) < 120 and heavy.strip() == "[]"


#: The order in which the examples make what the next ones use; a name that makes nothing may stand anywhere.
ROAD = (
    "prepare",
    "load_system",
    "simulate",
    "load_trajectory",
    "train",
    "run",
    "sample",
    "load_samples",
    "load_generator",
    "check",
    "reweight",
    "merge",
    "export",
    "adapt",
    "free_energy_states",
    "free_energy_surface",
    "observable",
    "thermodynamics",
    "free_energy_between",
    "free_energy_mbar",
    "conformers",
    "transfer",
    "write_report",
    "build_dataset",
    "load_dataset",
    "benchmark_transfer",
    "releases",
    "model_card",
    "show",
    "check_config",
    "cite",
    "glossary",
    "doctor",
    "selftest",
    "demo",
)


def test_the_road_walks_along_every_function():
    assert sorted(ROAD) == sorted(name for name in bg.__all__ if inspect.isfunction(getattr(bg, name)))


def test_examples_run(tmp_path, monkeypatch):
    """Each example as it stands in its docstring, one after the other in one folder."""
    monkeypatch.setattr(defaults, "BASE_EVALUATIONS", 30_000)  # what `run` simulates where no time is given
    monkeypatch.setattr(defaults, "EVALUATIONS_A_TORSION", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text("seed: 3\n")
    told: list[str] = []
    for name in ROAD:
        text = inspect.getdoc(getattr(bg, name)) or ""
        example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
        assert len(example.examples) > 1, f"{name} has no example"
        doctest.DocTestRunner().run(example, out=told.append)
        if told:  # what comes after needs it
            pytest.fail("".join(told), pytrace=False)


@pytest.mark.parametrize("name", ROAD)
def test_docstrings_say_what_comes_out_and_what_goes_wrong(name):
    text = inspect.getdoc(getattr(bg, name)) or ""
    sections = re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)
    assert ("Example" in sections and "Returns" in sections) or name == "model_card"
    assert "Raises" in sections or name == "doctor"
    for parameter in inspect.signature(getattr(bg, name)).parameters:
        assert parameter in text or parameter in ("stop", "progress", "listen"), f"{name}: {parameter}"


KEYWORDS = {
    PrepareOptions: PrepareKeywords,
    SimulateOptions: SimulateKeywords,
    AdaptOptions: AdaptKeywords,
    SampleOptions: SampleKeywords,
    CheckOptions: CheckKeywords,
    TransferOptions: TransferKeywords,
}


@pytest.mark.parametrize("record", KEYWORDS, ids=lambda record: record.__name__)
def test_keywords_are_the_fields_of_the_record(record):
    fields, keywords = get_type_hints(record), get_type_hints(KEYWORDS[record])
    assert list(fields) == list(keywords)
    if record is not PrepareOptions:  # it turns lists and mappings into its own types
        assert fields == keywords


def test_signatures_show_every_option_with_its_default():
    shown = inspect.signature(bg.sample).parameters
    assert (
        "options" not in shown
        and shown["temperature"].default is None
        and shown["dtype"].default == "float64"
    )
    assert inspect.signature(bg.prepare).parameters["ph"].default == 7.0
    with pytest.raises(TypeError, match="temprature"):
        bg.sample("RUN", "SYS", "OUT", 10, temprature=300.0)
