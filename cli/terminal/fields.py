"""Arguments that the library names, in the words of the command line.

Messages, reasons and notes of the library name arguments between backticks, as a Python caller writes them
(`boltzgen.errors` says how). Here a verb's own parameters give the words of the terminal:

    `ph`                             --ph
    `source`                         INPUT                 an argument is named as its usage line does
    `resume="auto"`                  --resume auto
    `seed=-1`                        --seed -1
    `max_time='soon'`                --max-time 'soon'     single quotes are the shell's as well, and stay
    `minimize=True`                  --minimize            `minimize=False`: --no-minimize
    `temperatures=[300, 450]`        --temperature 300 --temperature 450
    `ml_options={'charge': '0'}`     --ml-option charge=0
    `simulate(SYS, output=MD)`       `boltzgen simulate SYS -o MD`

What a verb does not know is looked for in the other verbs, in the order of the road: a run may be told to
prepare its molecule anew. What none of them knows stays as it is written.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

#: Names in Python -> names of the verb's parameters, where the two differ, by the words of the verb.
DIFFERENT = {
    "prepare": {
        "platform": "bridge_platform",
        "workers": "bridge_workers",
        "ml_options": "ml_option",
        "free_rotations": "free_rotation",
    },
    "run": {
        "platform": "bridge_platform",
        "workers": "bridge_workers",
        "ml_options": "ml_option",
        "free_rotations": "free_rotation",
        "overrides": "override",
    },
    "train": {"run_folder": "output"},
    "transfer": {"n_bootstrap": "bootstrap"},
    "adapt": {"run_folder": "output"},
    "sample": {"proposal_temperatures": "proposal_temperature"},
    "conformers": {"n_bootstrap": "bootstrap"},
    "demo": {"folder": "output", "simulate_anew": "simulate"},
    "free-energy states": {"smoothed": "smooth", "n_bootstrap": "bootstrap"},
    "free-energy surface": {"smoothed": "smooth", "n_bootstrap": "bootstrap", "ranges": "span"},
    "free-energy observable": {"smoothed": "smooth", "n_bootstrap": "bootstrap"},
    "free-energy thermo": {
        "smoothed": "smooth",
        "n_bootstrap": "bootstrap",
        "states_file": "states",
        "relative_step": "step",
    },
    "free-energy between": {"n_bootstrap": "bootstrap"},
    "free-energy mbar": {"n_bootstrap": "bootstrap"},
}

#: Functions whose names are not the words of their verb with underscores between them.
FUNCTIONS = {
    "build_dataset": "dataset build",
    "load_dataset": "dataset list",
    "benchmark_transfer": "benchmark transfer",
    "observable": "free-energy observable",
    "thermodynamics": "free-energy thermo",
    "write_report": "report",
    "model_card": "models",
    "check_config": "config check",
}

_BACKTICKED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")

_running: ContextVar[Words | None] = ContextVar("_running", default=None)


@contextmanager
def speaking(app: typer.Typer, line: Sequence[str]) -> Iterator[None]:
    """Inside, `in_words` speaks for the verb of `app` that the command line `line` runs."""
    token = _running.set(Words(app, line))
    try:
        yield
    finally:
        _running.reset(token)


def in_words(text: str) -> str:
    """`text` of the library with its backticked arguments in the words of the running verb."""
    words = _running.get()
    return text if words is None or "`" not in text else words.render(text)


def command_line(call: str) -> str | None:
    """``boltzgen VERB ...`` for the call of a verb's function, to be pasted; None where no verb does it."""
    words = _running.get()
    found = None if words is None else words.command(call)
    return None if found is None else found.strip("`")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a verb: its word; what stands before a value (``-o``); the word that unsets a flag."""

    word: str
    short: str
    unset: str | None = None
    is_flag: bool = False
    repeated: bool = False
    positional: bool = False


class Words:
    """The verbs of `app` with their parameters, and the verb among them that `line` runs."""

    def __init__(self, app: typer.Typer, line: Sequence[str]) -> None:
        self._app, self._line = app, line

    @cached_property
    def verbs(self) -> Mapping[str, Mapping[str, Parameter]]:
        """``"free-energy states"`` -> Python name -> parameter, in the order of the road."""
        import typer.main

        return dict(_verbs(typer.main.get_command(self._app), ()))

    @cached_property
    def running(self) -> str:
        """The verb that the line runs; empty when it names none."""
        plain = [word for word in self._line if not word.startswith("-")]
        first = (" ".join(plain[:length]) for length in (1, 2))
        return next((words for words in first if words in self.verbs), "")

    def render(self, text: str) -> str:
        """`text` with each backticked argument and call of a verb replaced."""
        return _BACKTICKED.sub(lambda found: self._one(found[1]) or found[0], text)

    def command(self, call: str) -> str | None:
        """The command for `call`, between backticks; None where it is no call of a verb."""
        return self._one(call)

    def parameter(self, name: str) -> Parameter | None:
        """What Python calls `name`: of the running verb, else of the first that has it."""
        own = self.verbs.get(self.running, {})
        others = (known[name] for known in self.verbs.values() if name in known)
        return own[name] if name in own else next(others, None)

    def _one(self, text: str) -> str | None:
        """The words for what stood between two backticks; None where it is no argument of a verb."""
        try:
            call = ast.parse(f"_({text})", mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
        if not isinstance(call, ast.Call) or len(call.args) + len(call.keywords) != 1:
            return None
        source = f"_({text})"
        if call.keywords:
            keyword = call.keywords[0]
            found = self.parameter(keyword.arg or "")
            return None if found is None else _with_value(found, keyword.value, source)
        named = call.args[0]
        if isinstance(named, ast.Name):
            found = self.parameter(named.id)
            return None if found is None else found.word
        return self._command(named, source) if isinstance(named, ast.Call) else None

    def _command(self, call: ast.Call, source: str) -> str | None:
        """``boltzgen VERB ...`` in backticks for the call of a verb's function."""
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        verbs = {verb.replace(" ", "_").replace("-", "_"): verb for verb in self.verbs}
        verb = {**verbs, **FUNCTIONS}.get(name)
        if verb is None:
            return None
        given = [_each(value) for value in call.args]
        line = ["boltzgen", verb, *(_shown(value, source) for values in given for value in values)]
        for keyword in call.keywords:
            found = self.verbs[verb].get(keyword.arg or "")
            shown = None if found is None else _with_value(found, keyword.value, source)
            if shown is None:
                return None
            line.append(shown)
        return f"`{' '.join(line)}`"


def _verbs(command: Any, before: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Parameter]]]:
    for name, below in getattr(command, "commands", {}).items():
        words = (*before, name)
        if hasattr(below, "commands"):
            yield from _verbs(below, words)
        else:
            known = {parameter.name: _parameter(parameter) for parameter in below.params}
            for python, name in DIFFERENT.get(" ".join(words), {}).items():
                known[python] = known.pop(name)
            yield " ".join(words), known


def _parameter(parameter: Any) -> Parameter:
    """From a parameter of Click, recognised by what it offers (Typer carries its own copy of Click)."""
    if parameter.param_type_name == "argument":
        word = str(parameter.metavar or parameter.name.upper()).rstrip(".")
        return Parameter(word, word, positional=True)
    word = next(one for one in parameter.opts if one.startswith("--"))
    return Parameter(
        word,
        min(parameter.opts, key=len),
        unset=next(iter(parameter.secondary_opts), None),
        is_flag=bool(parameter.is_flag),
        repeated=bool(parameter.multiple),
    )


def _with_value(parameter: Parameter, value: ast.expr, source: str) -> str | None:
    """The option followed by `value`, as the shell takes it; None for a value that no option can have."""
    if parameter.is_flag:
        return {"True": parameter.word, "False": parameter.unset}.get(_shown(value, source))
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        entries = [
            f"{_plain(key, source)}={_plain(entry, source)}" for key, entry in pairs if key is not None
        ]
    elif isinstance(value, ast.List | ast.Tuple):
        entries = [_plain(entry, source) for entry in value.elts]
        entries = entries if parameter.repeated else [",".join(entries)]
    else:
        shown = _shown(value, source)
        return shown if parameter.positional else f"{parameter.short} {shown}"
    return " ".join(f"{parameter.short} {shlex.quote(entry)}" for entry in entries)


def _each(value: ast.expr) -> list[ast.expr]:
    """The entries of a list that is given by position (``KEY=VALUE`` words), else the value itself."""
    return value.elts if isinstance(value, ast.List) else [value]


def _shown(value: ast.expr, source: str) -> str:
    """`value` as `source` writes it; a string in double quotes, which are Python's, as the shell takes it."""
    written = ast.get_source_segment(source, value) or ""
    return shlex.quote(_plain(value, source)) if written.startswith('"') else written


def _plain(value: ast.expr, source: str) -> str:
    """The text itself of a string, anything else as `source` writes it."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return ast.get_source_segment(source, value) or ""
