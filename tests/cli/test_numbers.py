"""Every number that a verb takes: tiny, negative, huge or none at all, it gives a result or one sentence.

The options are found by walking the application, so that a new one is tried as well. Most are refused before
anything is read; where a number can be used, the command ends on the folders, which are not there.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import types
import typing

import numpy as np
import pytest
import typer

from boltzgen.ensemble.resample import equal_weight_rows
from boltzgen.errors import InputError
from boltzgen.refine.refinement import Refinement
from boltzgen.trust.probe import check_probe
from boltzgen.workflows.free_energy.results import statistics_of
from boltzgen.workflows.free_energy.surface import _bins
from boltzgen_cli.main import app, main

#: What a verb needs besides the number; no path is there, so that nothing is computed.
WORDS = {
    "run": ("none.pdb", "-o", "DIR"),
    "prepare": ("none.pdb", "-o", "SYS"),
    "simulate": ("none", "-o", "MD", "--engine", "torch"),
    "train": ("none.yaml", "-o", "RUN"),
    "dataset build": ("none.yaml", "-o", "DATA"),
    "adapt": ("none", "none", "-o", "RUN"),
    "sample": ("none", "none", "-o", "OUT", "-n", "5", "--refine", "smc"),
    "check": ("none",),
    "reweight": ("none", "-o", "OUT"),
    "export": ("none", "--format", "dcd", "-o", "a.dcd"),
    "conformers": ("none", "-o", "WELLS"),
    "free-energy states": ("none", "--states", "none.yaml", "-o", "a.json"),
    "free-energy surface": ("none", "--along", "phi", "-o", "a.json"),
    "free-energy observable": ("none", "--of", "rg", "-o", "a.json"),
    "free-energy thermo": ("none", "-o", "a.json"),
    "free-energy between": ("none", "none2", "-o", "a.json"),
    "free-energy mbar": ("none", "-o", "a.json"),
    "benchmark transfer": ("none", "none", "-o", "BENCH"),
    "transfer": ("none.smi", "-o", "TRANSFER"),
}
#: Verbs that would work for long whatever their seed; the seed's bounds are the parser's.
ALONE = {"demo", "selftest"}

WHOLE = ("0", "-1", "1" + "0" * 30, "nan")
REAL = ("0", "1e-300", "1e300", "nan", "-inf")


def leaves(command, path=()):
    """(words, command) of every verb."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def kinds_of(hint) -> set[type]:
    """The plain types in an annotation such as ``list[float] | None``."""
    inner = typing.get_args(hint)
    if not inner:
        return {hint}
    if typing.get_origin(hint) in (list, typing.Union, types.UnionType):
        return set().union(*(kinds_of(one) for one in inner))
    return set()


def numbers():
    """(verb, option, values) of every option that takes a number."""
    for verb, command in leaves(typer.main.get_command(app)):
        hints = typing.get_type_hints(inspect.unwrap(command.callback))
        for option in command.params:
            found = kinds_of(hints.get(option.name)) & {int, float}
            if found and verb not in ALONE:
                yield verb, option.opts[0], WHOLE if int in found else REAL


CASES = list(numbers())


def test_the_walk_finds_what_is_there():
    assert {verb for verb, *_ in CASES} == set(WORDS)
    assert ("sample", "--proposal-temperature", REAL) in CASES and ("check", "--rows", WHOLE) in CASES
    assert len(CASES) > 40


@pytest.mark.parametrize("verb, option, values", CASES, ids=[f"{verb} {option}" for verb, option, _ in CASES])
def test_a_number_gives_one_sentence(verb, option, values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in values:
        words = [*verb.split(), *WORDS[verb], f"{option}={value}"]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        told = [line for line in err.getvalue().splitlines() if line.startswith("boltzgen: ")]
        assert code == 2 and len(told) == 1, f"{words}: {code}, {err.getvalue()}"
        assert "unexpected" not in told[0] and "fault of boltzgen" not in told[0], f"{words}: {told[0]}"
        assert list(tmp_path.iterdir()) == [], words


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: statistics_of(10**9, 0), "n_bootstrap"),
        (lambda: equal_weight_rows(np.zeros(3), 10**9, np.random.default_rng(0)), "number"),
        (lambda: Refinement.of("smc", 10**9), "refine_budget"),
        (lambda: check_probe(None, 10**30), "budget"),
        (lambda: _bins([10**9], 1), "bins"),
        (lambda: _bins([300, 300], 2), "bins"),
    ],
)
def test_numbers_that_no_array_holds_are_refused_first(call, argument):
    with pytest.raises(InputError, match=f"^`{argument}=.*(at most|more than)"):
        call()
