"""The face for Python: what `import boltzgen as bg` offers, how light it is, and that its examples run."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from helpers import ROOT

import boltzgen as bg


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
    program = (
        "import sys, time; start = time.perf_counter(); import boltzgen; took = time.perf_counter() - start; "
        "print(took, [m for m in ('torch', 'numpy', 'openmm', 'pydantic', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    took, heavy = done.stdout.split(maxsplit=1)
    assert float(took) < 0.3 and heavy.strip() == "[]"


def test_type_checkers_see_the_face(tmp_path):
    program = tmp_path / "uses.py"
    program.write_text(
        "import boltzgen as bg\n"
        "reveal_type(bg.load_samples('OUT').log_w)\n"
        "bg.free_energy_states('OUT')\n"
        "bg.smaple\n"
    )
    words = ["-m", "mypy", "--no-error-summary", str(program)]  # the options, and the cache, of the gate
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    told = done.stdout
    assert "ndarray" in told and 'Missing positional argument "states_file"' in told, told + done.stderr
    assert 'has no attribute "smaple"' in told
