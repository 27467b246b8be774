"""Words of the command line stay there: the library names arguments, each face reads its own words."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from helpers import ROOT, assert_refused

import boltzgen
from boltzgen.errors import InputError, UnsupportedError
from boltzgen_cli.main import app
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import OPTIONS
from boltzgen_cli.terminal.fields import FUNCTIONS, Words, speaking

LIBRARY = sorted((ROOT / "boltzgen").rglob("*.py"))

#: Files that write commands to paste: `run`, and the report of a benchmark. Lines of another program.
_WRITERS = ("roads/walk.py", "roads/asking.py", "roads/run.py", "transfer/table.py", "conformers/of_run.py")
COMMANDS = {ROOT / "boltzgen" / "workflows" / name for name in _WRITERS}
OTHER_PROGRAMS = ("`pdbfixer ", "-at sybyl`")

#: What stands between backticks in messages and is no argument of a verb: names of functions in Python.
NO_ARGUMENTS = {"energy_plain", "periodic"}

#: What the command line does around the function of a verb: a limit of time, an end before the beginning, the
#: verdict of the result, and the options of all verbs.
TERMINAL_ALONE = {"max_time", "dry_run", "strict", *OPTIONS}

VERBS = Words(app, []).verbs


def test_no_option_of_the_command_line_stands_in_the_library():
    found = []
    for path in LIBRARY:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            named = re.search(r"(^|[^\w-])(--[a-z]|-[on] [A-Z{]|with -[on]\b|`boltzgen [a-z])", line)
            if named and path not in COMMANDS and not any(other in line for other in OTHER_PROGRAMS):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Strings of a module that are no docstrings; what an f-string puts in is ``X``."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skipped = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield node.lineno, "".join(parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_what_messages_name_is_an_argument_or_a_verb():
    known = {name for parameters in VERBS.values() for name in parameters} | NO_ARGUMENTS
    words = Words(app, [])
    seen, unknown = set(), []
    for path in LIBRARY:
        for line, text in texts(path):
            for token in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
                found = re.match(r"([a-z]\w*)(=|$)", token)
                call = re.match(r"([a-z]\w*)\(", token)
                seen |= {found[1]} if found else set()
                right = found is None or found[1] in known
                if call:
                    right = words.render(f"`{token}`").startswith("`boltzgen ")
                    right = right and call[1] in boltzgen.__all__
                if not right:
                    unknown.append(f"{path.relative_to(ROOT)}:{line}: `{token}`")
    assert not unknown, "\n".join(unknown)
    assert {"ph", "overwrite", "ml_options", "timestep", "data", "resume", "systems"} <= seen


def work_of(verb: str) -> set[str]:
    """Names of the arguments of the functions of `boltzgen.workflows` that a verb's module imports."""
    import typer.main

    command = typer.main.get_command(app)
    for word in verb.split():
        command = command.commands[word]
    source = ast.parse(inspect.getsource(inspect.unwrap(command.callback)).lstrip())
    found: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("boltzgen.workflows."):
            module = importlib.import_module(node.module)
            for alias in node.names:
                function = getattr(module, alias.name)
                found |= set(inspect.signature(function).parameters) if callable(function) else set()
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_python_calls_each_argument_as_the_table_says(verb):
    from boltzgen.system.options import PrepareOptions

    known = work_of(verb) | TERMINAL_ALONE
    if verb == "prepare":
        known |= {field.name for field in fields(PrepareOptions)}
    assert known > TERMINAL_ALONE
    assert set(VERBS[verb]) - known == set()


def test_functions_named_otherwise_are_in_the_face():
    assert set(FUNCTIONS) <= set(boltzgen.__all__)
    assert set(FUNCTIONS.values()) <= set(VERBS)


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("prepare", "`ph=15` is outside; give `ph`.", "--ph 15 is outside; give --ph."),
        ("prepare", "give `source` or `smiles='C#N'`", "give INPUT or --smiles 'C#N'"),
        ("prepare", '`smiles="C C"`, `sequence="GA"`', "--smiles 'C C', --sequence GA"),
        ("prepare", "`minimize=True`, `minimize=False`", "--minimize, --no-minimize"),
        ("prepare", "`bridge=True` but `bridge=False`", "--bridge but `bridge=False`"),
        ("prepare", "`platform='CUDA'` and `workers=0`", "--bridge-platform 'CUDA' and --bridge-workers 0"),
        ("simulate", "`platform='CUDA'` of `SYS`", "--platform 'CUDA' of `SYS`"),
        ("simulate", "prepare it with `minimize=True`", "prepare it with --minimize"),
        ("simulate", "`temperatures=[300, 450]`", "--temperatures 300,450"),
        ("free-energy mbar OUT", "`temperatures=[-5]`, `systems`", "--temperature -5, --system"),
        ("free-energy mbar", "`temperatures=[300, 450]`", "--temperature 300 --temperature 450"),
        ("free-energy thermo", "`states_file` `relative_step=2`", "--states --step 2"),
        ("prepare", "`ml_options={'a': 'b c', \"d\": '1'}`", "--ml-option 'a=b c' --ml-option d=1"),
        ("train x.yaml", '`resume="auto"` `run_folder`', "--resume auto --output"),
        ("dataset build c", "`rebuild=['AA', 'B B']`", "--rebuild AA --rebuild 'B B'"),
        (
            "sample",
            "make it with `prepare(INPUT, output='S')`",
            "make it with `boltzgen prepare INPUT -o 'S'`",
        ),
        ("", "`check(..., probe=True)`, `doctor()`", "`boltzgen check ... --probe`, `boltzgen doctor`"),
        ("", "`build_dataset(CONFIG, rebuild=['x'])`", "`boltzgen dataset build CONFIG --rebuild x`"),
        ("", "`free_energy_between()`", "`boltzgen free-energy between`"),
        ("train", "`nothing=1`, `grep -v x > y`, ``ph``, `ph", "`nothing=1`, `grep -v x > y`, ``ph``, `ph"),
        ("train", "`sample(colour=1)` `f(x)(seed)` `seed, ph`", "`sample(colour=1)` `f(x)(seed)` `seed, ph`"),
        ("", f"`{'(' * 500}`", f"`{'(' * 500}`"),
    ],
)
def test_each_kind_of_text(line, text, expected):
    assert Words(app, line.split()).render(text) == expected


def test_everything_that_is_printed_has_the_words_of_the_verb(capsys):
    console.console.cache_clear()
    reason = "give frames of another run as `data`"
    with speaking(app, ["sample", "RUN", "SYS"]):
        console.message(reason)
        console.table("", ("verdict",), [(reason,)])
        console.key_values("", {"note": reason})
    console.console.cache_clear()
    console.message(reason)
    printed = capsys.readouterr()
    assert printed.out.count("as --data") == 2 and "`" not in printed.out
    assert printed.err.splitlines() == ["give frames of another run as --data", reason]


def test_an_error_knows_its_field():
    assert InputError("`ph=15` is outside 0 to 14.").field == "ph"
    assert InputError("`data` is for molecules.").field == "data"
    assert InputError("`ml_options={'charge': 'x'}` is no number.").field == "ml_options"
    assert InputError("a.pdb: no such file; check `coordinates`.").field is None
    assert InputError("`sample()` first").field is None
    told = str(UnsupportedError("`constraints='hbonds'` is not supported."))
    assert UnsupportedError(told).field == "constraints"  # as it comes back from a worker process


def _python(name: str):
    module, function = name.split(":")
    return getattr(importlib.import_module(f"boltzgen.workflows.{module}"), function)


#: Function, its arguments, the field of its error; the command, what it says.
REFUSALS = [
    (
        "preparation.prepare:prepare",
        (None, "S"),
        {"sequence": "GA", "ph": 15.0},
        "ph",
        "prepare --sequence GA -o S --ph 15",
        "--ph 15.0 is outside",
    ),
    (
        "preparation.prepare:prepare",
        (None, "S"),
        {"sequence": "GA", "platform": "CUDA"},
        "platform",
        "prepare --sequence GA -o S --bridge-platform CUDA",
        "--bridge-platform CUDA goes with --bridge,",
    ),
    ("preparation.prepare:prepare", (), {"sequence": "GA"}, None, "prepare --sequence GA", "--check to look"),
    (
        "preparation.prepare:prepare",
        (None, "S"),
        {"sequence": "GA", "ml_region": "resid 1"},
        "ml_region",
        "prepare --sequence GA -o S --ml-region resid",
        "--ml-region goes with --ml NAME, for example --ml gfn2.",
    ),
    (
        "simulation.simulate:simulate",
        ("SYS", "MD"),
        {"timestep": "5fs"},
        "timestep",
        "simulate SYS -o MD --timestep 5fs",
        "--timestep '5fs' is too long",
    ),
    (
        "simulation.simulate:simulate",
        ("SYS", "MD"),
        {"torsion_moves": 3, "engine": "openmm"},
        "torsion_moves",
        "simulate SYS -o MD --torsion-moves 3 --engine openmm",
        "--torsion-moves is for the torch engine; add --engine torch,",
    ),
    (
        "simulation.simulate:simulate",
        ("SYS", "MD"),
        {"temperatures": [400, 300]},
        "temperatures",
        "simulate SYS -o MD --temperatures 400,300",
        "--temperatures 400,300 must rise",
    ),
    (
        "training.train:train",
        ("alanine-dipeptide-demo",),
        {"device": "tpu"},
        "device",
        "train alanine-dipeptide-demo --device tpu",
        "--device 'tpu' is not known",
    ),
    (
        "training.adapt:adapt",
        ("absent", "SYS", "R"),
        {},
        None,
        "adapt absent SYS -o R",
        "`boltzgen train CONFIG -o absent`",
    ),
    (
        "sampling.sample:sample",
        ("M", "SYS", "O", 3),
        {"device": "cuda:"},
        "device",
        "sample M SYS -o O -n 3 --device cuda:",
        "--device 'cuda:' is not known",
    ),
    (
        "sampling.check:check",
        ("absent",),
        {},
        None,
        "check absent",
        "what `boltzgen sample ... -o absent` writes",
    ),
    (
        "sampling.reweight:reweight",
        ("OUT", "O"),
        {},
        None,
        "reweight OUT -o O",
        "give --to SYS, --temperature T, or both",
    ),
    (
        "sampling.reweight:reweight",
        ("OUT", "O"),
        {"until_ess": -1.0},
        "until_ess",
        "reweight OUT -o O --until-ess -1",
        "--until-ess -1: give",
    ),
    ("sampling.merge:merge", (["A", "B"], "A"), {}, None, "merge A B -o A", "name a new one as --output."),
    (
        "sampling.export:export",
        ("OUT", "x.dcd", "dcd"),
        {"temperatures": "300"},
        "temperatures",
        "export OUT -o x.dcd --format dcd --temperatures 300",
        "--temperatures is for u_nk",
    ),
    (
        "free_energy.states:free_energy_states",
        ("absent", "s.yaml"),
        {},
        None,
        "free-energy states absent --states s.yaml",
        "`boltzgen sample ... -o absent`",
    ),
    (
        "free_energy.averages:observable",
        ("OUT",),
        {},
        None,
        "free-energy observable OUT",
        "or a file as --values.",
    ),
    (
        "free_energy.averages:thermo",
        ("absent",),
        {},
        None,
        "free-energy thermo absent",
        "`boltzgen sample ... -o absent`",
    ),
    (
        "free_energy.surface:surface",
        ("OUT", ["x0"]),
        {"output": "x.csv"},
        None,
        "free-energy surface OUT --along x0 -o x.csv",
        "--output names the JSON file",
    ),
    (
        "free_energy.between:between",
        ("A", "B"),
        {"samples": 1},
        "samples",
        "free-energy between A B --samples 1",
        "--samples 1: give 0",
    ),
    (
        "free_energy.mbar:mbar",
        (["A"],),
        {"temperatures": [-5.0]},
        "temperatures",
        "free-energy mbar A --temperature -5",
        "--temperature -5: temperatures are in K",
    ),
    (
        "datasets.build:load_dataset",
        (".",),
        {},
        None,
        "dataset list .",
        "`boltzgen dataset build CONFIG -o .`",
    ),
    (
        "two_energies.transfer:transfer",
        ("list.smi", "T"),
        {"energy_to": "water"},
        "energy_to",
        "transfer list.smi -o T --to water",
        "--to water is no energy",
    ),
    (
        "transfer.benchmark:benchmark_transfer",
        ("M", "D", "B"),
        {"device": "tpu"},
        "device",
        "benchmark transfer M D -o B --device tpu",
        "--device 'tpu' is not known",
    ),
    (
        "exact_answers.selftest:selftest",
        (),
        {"output": "."},
        None,
        "selftest -o .",
        "--output needs the name of a file",
    ),
    ("installation.demo:demo", ("file",), {}, None, "demo -o file", "--output needs the name of a folder"),
]


@pytest.mark.parametrize(
    ("function", "given", "named", "field", "line", "expected"), REFUSALS, ids=[case[4] for case in REFUSALS]
)
def test_both_faces_read_their_own_words(
    tmp_path, monkeypatch, function, given, named, field, line, expected
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        _python(function)(*given, **named)
    assert caught.value.field == field
    assert not re.search(r"--[a-z]|(^|\s)-[a-z] |boltzgen [a-z]", str(caught.value)), str(caught.value)
    message = assert_refused(line.split(), expected)
    assert not re.search(r"`[a-z_]+(=[^`]*)?`", message), message
    assert not list(tmp_path.glob("[!f]*"))
