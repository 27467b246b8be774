"""The floors of the house: imports point down only, and heavy foundations enter where they may.

Draws the import graph by reading the sources, without importing anything. Imports inside functions
count; imports under ``if TYPE_CHECKING`` count for the floors too (a type is a dependency). No modules
import each other in a circle, in functions neither; and a record's module is so pure that not even types lead
back to it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = {
    "cli": 11,
    "workflows": 10,
    "config": 9,
    "trust": 8,
    "training": 7,
    "report": 7,
    "interop": 7,
    "wells": 7,
    "refine": 6,
    "generator": 5,
    "free_energy": 5,
    "flows": 4,
    "dynamics": 4,
    "conditioning": 3,
    "coordinates": 2,
    "potentials": 2,
    "ensemble": 2,
    "data": 2,
    "system": 1,
    "ground": 0,
}
#: Modules of floor 0; they stand alone or on each other, without a cycle.
GROUND = {
    "units",
    "errors",
    "checks",
    "digests",
    "extensions",
    "disk",
    "files",
    "contents",
    "folders",
    "guards",
    "interrupts",
    "loaders",
    "notebook",
    "progress",
    "settings",
    "provenance",
    "remedies",
    "shares",
    "streams",
}

#: Modules of the records that many others read, write, join or draw.
RECORDS = (
    "boltzgen.conditioning.context",
    "boltzgen.data.record",
    "boltzgen.ensemble.diagnostics",
    "boltzgen.ensemble.ensemble",
    "boltzgen.free_energy.estimate",
    "boltzgen.system.molecular_system",
)

#: Foundations and the files that may import them (a folder: any file in it).
FOUNDATIONS = {
    "openmm": (
        "boltzgen/system/",
        "boltzgen/dynamics/openmm_engine.py",
        "boltzgen/potentials/from_openmm/",
        "boltzgen/interop/openmm_force.py",
    ),
    "nflows": ("boltzgen/interop/nflows.py",),
    "pdbfixer": ("boltzgen/system/",),
    "PeptideBuilder": ("boltzgen/system/",),
    "parmed": ("boltzgen/system/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "yaml": ("boltzgen/config/settings.py", "boltzgen/loaders/yaml_text.py"),
    "pickle": (),
    "openmmtools": (),
    "bgflow": ("boltzgen/interop/bgflow.py",),
}


def sources() -> list[Path]:
    return sorted(
        path for folder in ("boltzgen", "cli", "configs", "models") for path in (ROOT / folder).rglob("*.py")
    )


def name_of(path: Path) -> str:
    """Dotted module name; the mapped packages under their installed names."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts[0] = {"cli": "boltzgen_cli", "configs": "boltzgen_configs", "models": "boltzgen_models"}.get(
        parts[0], parts[0]
    )
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path: Path) -> tuple[tuple[str, int, str], ...]:
    """All imports of the file `path`, parsed once; see `_imports`."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int, str]]:
    """(absolute dotted name, line, when: ``"eager"``, ``"lazy"`` (in a function) or ``"types"``)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    when = {
        id(child): "lazy"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    when |= {
        id(child): "types" for node in ast.walk(tree) if _is_type_checking(node) for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, when.get(id(node), "eager")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, when.get(id(node), "eager")


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def room_of(dotted: str) -> str | None:
    """The room a dotted name belongs to; None for what is not ours, and for the light root package."""
    parts = dotted.split(".")
    if parts[0] == "boltzgen_cli":
        return "cli"
    if parts[0] != "boltzgen" or len(parts) == 1 or parts[1] == "__version__":
        return None
    if parts[1] in GROUND:
        return "ground"
    assert parts[1] in FLOORS, f"{dotted}: a room that has no floor; add it to the design and to this test"
    return parts[1]


def breaches(edges: list[tuple[str, str, str]]) -> list[str]:
    """Edges (module, imported name, place) that do not point to a lower floor."""
    wrong = []
    for module, target, place in edges:
        here, there = room_of(module), room_of(target)
        if here is None or there is None or here == there:
            continue
        if FLOORS[there] >= FLOORS[here]:
            wrong.append(f"{place}: {here} (floor {FLOORS[here]}) imports {target} (floor {FLOORS[there]})")
    return wrong


def all_edges() -> list[tuple[str, str, str]]:
    return [
        (name_of(path), target, f"{path.relative_to(ROOT)}:{line}")
        for path in sources()
        for target, line, _ in imported(path)
    ]


def test_imports_point_down():
    assert breaches(all_edges()) == []


def test_the_command_line_knows_workflows_and_ground_only():
    allowed = {"cli", "workflows", "ground", None}
    wrong = [
        f"{place} imports {target}"
        for module, target, place in all_edges()
        if module.startswith("boltzgen_cli") and room_of(target) not in allowed
    ]
    assert wrong == []


def test_a_breach_would_be_seen():
    up = ("boltzgen.system.graph.molecular_graph", "boltzgen.flows.coupling.Coupling", "x:1")
    beside = ("boltzgen.potentials.from_openmm.translate", "boltzgen.coordinates.base.Coordinates", "x:2")
    down = ("boltzgen.flows.coupling", "boltzgen.system.graph.molecular_graph.MolecularGraph", "x:3")
    assert [line[:3] for line in breaches([up, beside, down])] == ["x:1", "x:2"]


@pytest.mark.parametrize("foundation", FOUNDATIONS)
def test_foundations_enter_where_they_may(foundation):
    allowed = FOUNDATIONS[foundation]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for target, line, _ in imported(path)
        if target.split(".")[0] == foundation
        and not any(str(path.relative_to(ROOT)).startswith(place) for place in allowed)
    ]
    assert wrong == [], f"{foundation} is imported outside {allowed}"


def import_graph(*kinds: str) -> dict[str, set[str]]:
    """Module -> the other modules of ours that it imports in one of the ways `kinds`."""
    modules = {name_of(path): path for path in sources()}
    return {
        name: {
            owner
            for target, _, when in imported(path)
            if when in kinds and (owner := _owner(target, modules)) not in (None, name)
        }
        for name, path in modules.items()
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of `graph`, the first of them again at the end; none when there is none."""
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph[name]):
            if found := walk(target, (*trail, name)):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, ()))), [])


def test_no_cycles_when_modules_are_imported():
    assert circle(import_graph("eager")) == []


def test_imports_of_all_kinds_make_no_circle():
    assert circle(import_graph("eager", "lazy")) == []


def test_a_circle_would_be_seen():
    """Closed by one import in a function, as ``Ensemble.load`` once did."""
    graph = import_graph("eager", "lazy")
    assert "boltzgen.ensemble.ensemble" in graph["boltzgen.ensemble.store"]
    graph["boltzgen.ensemble.ensemble"].add("boltzgen.ensemble.store")
    found = circle(graph)
    assert found[0] == found[-1] and {"boltzgen.ensemble.ensemble", "boltzgen.ensemble.store"} <= set(found)


def test_imports_in_functions_are_told_from_others(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(
        "import a\nif TYPE_CHECKING:\n    import b\n\ndef f():\n    import c\n    from d import e, g\n"
    )
    assert sorted(imported(path)) == [
        ("a", 1, "eager"),
        ("b", 3, "types"),
        ("c", 6, "lazy"),
        ("d.e", 7, "lazy"),
        ("d.g", 7, "lazy"),
    ]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_never_imports_what_reads_writes_or_joins_it(record):
    graph = import_graph("eager", "lazy", "types")
    reached: set[str] = set()
    ahead = set(graph[record])
    while ahead:
        name = ahead.pop()
        assert record not in graph[name], f"{record} imports {name}, which imports it (perhaps for its types)"
        reached.add(name)
        ahead |= graph[name] - reached


def _owner(target: str, modules: dict[str, Path]) -> str | None:
    """The module that `target` (a module or a name in one) lives in."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        if (candidate := ".".join(parts[:length])) in modules:
            return candidate
    return None
