"""What `run` prints of its answer: tables for a screen, the verdict in any case, what there is so far."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from boltzgen.errors import EXIT_PARTIAL, PartialError
from boltzgen.workflows.roads.answer import Run, _verdict
from boltzgen.workflows.roads.asking import Asked
from boltzgen_cli import main

ENDS = {"kT": [1.1, 2.9], "kJ/mol": [2.7, 7.2]}


def answer(joint: int, torsions: int) -> Run:
    """An answer of so many joint states, and torsions of two wells each."""
    shares = [("free_energy", f"all {k}") for k in range(joint)]
    shares += [(f"TORSIONS/{t}", f"turn{t} {side}") for t in range(torsions) for side in "ab"]
    content = {
        "road": {"name": "draw", "reason": "it is known"},
        "sentences": ["At 300 K many words."],
        "populations": [
            {"result": result, "name": name, "population": 0.25, "interval95": [0.2, None], "n": 9}
            | {"n_effective": 8.0}
            for result, name in shares
        ],
        "mirror_images": [
            {"result": result, "name": "a or b", "population": 0.5, "interval95": [0.4, 0.6], "n": 18}
            | {"n_effective": 16.0}
            for result, name in shares
            if name.endswith("a")
        ],
        "free_energies": [
            {"result": result, "name": f"to {name}", "value": {"kT": 2.0, "kJ/mol": 5.0}, "interval95": ENDS}
            for result, name in shares
        ],
        "precision": {"asked_kT": 0.1, "reached_kT": None},
        "samples": 90,
        "n_effective": 30.0,
        "status": "complete",
        "verdict": "caution",
        "reasons": ["few samples; draw more"],
        "next": [],
        "seconds": 3.0,
    }
    return Run(content, Path("DIR"))


@pytest.fixture
def printed(monkeypatch, capsys):
    """Run `boltzgen run` on an answer, or an error: (exit code, standard output, standard error)."""

    def call(found, *words):
        def run(*_, **__):
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setitem(sys.modules, "boltzgen.workflows.roads.run", SimpleNamespace(run=run))
        code = main.main(["run", "--sequence", "AGS", *words])
        return (code, *capsys.readouterr())

    return call


def test_joint_states_are_few_and_sentences_stay_in_the_file(printed):
    code, out, err = printed(answer(joint=17, torsions=6))
    assert code == 0 and "many words" not in out + err
    assert out.count("turn") == 2 * 2 * 6 and out.count("all ") == 4 and out.count("a or b") == 6
    assert "joint states: the likeliest 4 of 17" in out and "kJ/mol" not in out
    assert "verdict: caution\n- few samples; draw more\n" in err


def test_of_many_reasons_the_worst_are_told(printed):
    found = answer(joint=2, torsions=1)
    many = Run(
        {**found.to_json(), "reasons": [f"reason {k}" for k in range(18)], "next": ["wait"]}, Path("DIR")
    )
    _, _, err = printed(many, "--quiet")
    told = err.splitlines()
    assert told[1:5] == [f"- reason {k}" for k in range(4)] and told[-1] == "- wait" and len(told) == 7
    assert told[5].startswith("- and 14 more reasons, in DIR/answer.json")


@pytest.mark.parametrize(("joint", "torsions", "shown"), [(3, 0, 6), (7, 0, 14), (0, 3, 0)])
def test_states_asked_for_or_of_one_torsion_are_all_shown(printed, joint, torsions, shown):
    _, out, _ = printed(answer(joint, torsions))
    assert out.count("all ") == shown and out.count("turn") == 4 * torsions and "joint" not in out


def test_without_states_it_says_so(printed):
    _, out, err = printed(answer(0, 0))
    assert "populations" not in out and "No torsion has more than one well" in err


def test_the_verdict_is_told_when_quiet(printed):
    _, _, err = printed(answer(2, 1), "--quiet")
    assert err == "verdict: caution\n- few samples; draw more\n"


def test_what_there_is_when_the_time_is_over(printed):
    found = answer(2, 1)
    code, out, err = printed(PartialError("the time was over", result=found))
    assert code == EXIT_PARTIAL and "turn0 a" in out
    assert err.index("verdict: caution") < err.index("boltzgen: the time was over")
    code, out, err = printed(PartialError("the time was over", result=found), "--json")
    content = json.loads(out)
    assert code == EXIT_PARTIAL and content["result"] == found.to_json() and content["exit_code"] == code
    code, out, err = printed(PartialError("nothing yet"))
    assert code == EXIT_PARTIAL and out == "" and err == "boltzgen: nothing yet\n"


def test_the_poorest_states_give_the_first_reasons():
    def estimate(b, verdict, effective):
        reasons = () if verdict == "ok" else (f"{b} rests on {effective}",)
        return SimpleNamespace(A="a", B=b, verdict=verdict, n_effective=effective, reasons=reasons)

    rows = [("b", "caution", 50.0), ("c", "unreliable", 30.0), ("d", "caution", 7.0), ("e", "caution", None)]
    found = {
        "free_energy": SimpleNamespace(estimates=[estimate(*row) for row in [*rows, ("f", "caution", 1.0)]])
    }
    asked = Asked({"free_energy": {}}, {"free_energy": [["a", name] for name in "bcde"]})
    worst, reasons = _verdict("caution", ("coverage was not checked",), asked, found)
    assert worst == "unreliable" and reasons == [
        "c rests on 30.0",
        "coverage was not checked",
        "e rests on None",
        "d rests on 7.0",
        "b rests on 50.0",
    ]
