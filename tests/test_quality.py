"""Gates on the sources: ruff, mypy, size of files, what may not be written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("boltzgen", "cli", "configs", "docs", "models", "tests")


def python_files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_ruff():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", *(str(ROOT / folder) for folder in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_formatted():
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--quiet", *(str(ROOT / f) for f in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, "run `ruff format`: " + done.stdout + done.stderr


def test_mypy():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_type_checkers_see_the_face(tmp_path):
    """After the gate, whose cache makes it short: side by side each would read everything."""
    program = tmp_path / "uses.py"
    program.write_text(
        "import boltzgen as bg\n"
        "reveal_type(bg.load_samples('OUT').log_w)\n"
        "bg.free_energy_states('OUT')\n"
        "bg.smaple\n"
    )
    words = ["-m", "mypy", "--no-error-summary", str(program)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    told = done.stdout
    assert "ndarray" in told and 'Missing positional argument "states_file"' in told, told + done.stderr
    assert 'has no attribute "smaple"' in told


def test_no_folder_with_more_than_20_modules():
    """A stranger finds the room, and in it the file; tests and benchmarks included."""
    from collections import Counter

    modules = Counter(str(path.parent.relative_to(ROOT)) for path in python_files())
    assert {folder: number for folder, number in modules.items() if number > 20} == {}


def test_no_file_over_400_lines():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"^\s*except\s*:", "a bare except hides faults"),
        (r"except (Base)?Exception[^\n]*:\n\s+(pass|continue)\b", "a swallowed exception hides faults"),
        (r"\b(TODO|FIXME|XXX)\b", "an issue is the place for what is left to do"),
        (
            r"\byaml\.load\(|\bpickle\.load|weights_only=False|(?<![\w.])eval\(|(?<![\w.])exec\(",
            "runs code from files",
        ),
        (r"^from \S+ import \*", "names come from nowhere"),
    ],
)
def test_not_written(pattern, why):
    found = [
        f"{path.relative_to(ROOT)}: {match.group(0).strip()}"
        for path in python_files()
        if path != Path(__file__).resolve()
        for match in re.finditer(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert found == [], why


def test_no_tracked_file_tells_a_path_of_a_machine():
    """Published runs hold paths relative to the run; see `boltzgen.provenance.relative_to_run`."""
    machine = re.compile(rb"(?<![\w./~-])/(?:work|root|home|Users|scratch|tmp/w)/\w")
    assert machine.search(b'"data=/home/someone/MD"') and not machine.search(b"https://example.org/home/page")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    found = [
        f"{path.relative_to(ROOT)}: {match.group(0).decode()}"
        for path in files
        if path.is_file() and path != Path(__file__).resolve()
        for match in machine.finditer(path.read_bytes())
    ]
    assert found == []


def test_every_module_says_what_it_is():
    import ast

    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if path.name != "conftest.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_package_list_is_complete():
    """The explicit list of pyproject.toml names every folder that holds Python files."""
    import tomllib

    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    library = {path.parent.relative_to(ROOT) for path in (ROOT / "boltzgen").rglob("*.py")}
    terminal = {path.parent.relative_to(ROOT / "cli") for path in (ROOT / "cli").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in library}
    expected |= {".".join(("boltzgen_cli", *folder.parts)) for folder in terminal}
    expected |= {"boltzgen_configs", "boltzgen_models"}
    assert set(setup["packages"]) == expected


def test_frozen_records_are_not_changed():
    """A frozen record fills its own fields in `__post_init__`; later `dataclasses.replace` makes another."""
    import ast

    def tricks(tree: ast.AST, inside: str = "") -> list[int]:
        found = []
        for node in ast.iter_child_nodes(tree):
            here = node.name if isinstance(node, ast.FunctionDef) else inside
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
            own = inside == "__post_init__" and text.startswith("object.__setattr__(self,")
            if (text.startswith("object.__setattr__(") and not own) or ".__dict__[" in text[:60]:
                found.append(node.lineno)
            found += tricks(node, here)
        return found

    sources = [path for path in python_files() if path.relative_to(ROOT).parts[0] in ("boltzgen", "cli")]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources
        for line in tricks(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert wrong == []
    assert tricks(ast.parse("def f(x):\n    object.__setattr__(x, 'a', 1)\n    x.__dict__['a'] = 1")) == [
        2,
        3,
    ]
