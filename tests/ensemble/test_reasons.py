"""Every reason of a verdict ends with a remedy that exists; no two of one ensemble contradict each other."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from boltzgen import remedies
from boltzgen.data import convergence
from boltzgen.ensemble.coverage import PROBE, check_coverage
from boltzgen.ensemble.diagnostics import COVERED, NO_COVERAGE, VERDICTS, diagnose, findings, worst
from boltzgen.free_energy.combination import difference, paired_difference
from boltzgen.free_energy.importance import expectation
from boltzgen.free_energy.populations import state_free_energies
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.surface import free_energy_surface
from boltzgen.free_energy.thermodynamics import thermodynamics
from boltzgen.free_energy.work import WorkSamples, bennett
from boltzgen.trust.determinant import DeterminantCheck
from boltzgen_cli.main import app
from boltzgen_cli.terminal.fields import Words

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"verdict": "ok", "reasons": []}

#: What a remedy is: words, then one command or key between backticks, which is the last of the reason.
ENDS = re.compile(r"; [^`;]+`[^`]+`$")

DRAWS = ("`sample(MODEL, SYS, output=OUT, number=", "`proposal_temperatures`")


def statistics(coverage=None) -> Statistics:
    return Statistics(np.random.default_rng(3), n_bootstrap=60, coverage=coverage)


def require_sound(reasons, several: bool = False) -> None:
    """Each of `reasons` has one remedy at its end; none asks for draws that another says do not help."""
    for reason in reasons:
        assert ENDS.search(reason), reason
        assert reason.count("`") == 2, reason
    if not several and any(remedies.USELESS in reason for reason in reasons):
        assert not [r for r in reasons if any(word in r for word in DRAWS)], reasons
    assert not ("not checked" in str(reasons) and "coverage judged" in str(reasons)) or several


def test_every_remedy_is_a_command_or_a_key_of_the_terminal():
    words = Words(app, ["sample"])
    for remedy in (*remedies.REMEDIES, remedies.draw_in_all(42000)):
        assert ENDS.search(f"x; {remedy}"), remedy
        shown = words.render(remedy)
        key = remedy.rsplit("`", 2)[1]
        if key == "simulation.evaluations":  # of a configuration, which the terminal writes in the same way
            assert shown == remedy
        elif "(" in key:
            assert re.search(r"`boltzgen [a-z-]+ [^`]*`$|`boltzgen selftest`$", shown), shown
        else:
            assert re.search(r"--[a-z-]+$", shown), shown
    assert words.render(remedies.draw_in_all(42000)).endswith(
        "draw about 42 000 in all by `boltzgen sample MODEL SYS -o OUT -n 42000 --overwrite`"
    )


def pairs(tree: ast.AST):
    """Pairs (verdict, text) that are written down as such, and the text."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Tuple) or len(node.elts) != 2:
            continue
        first, second = node.elts
        choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
        if all(isinstance(c, ast.Constant) and c.value in VERDICTS for c in choices) or (
            isinstance(first, ast.Name) and first.id == "verdict" and isinstance(second, ast.JoinedStr)
        ):
            yield second


def test_every_reason_in_the_source_ends_with_a_remedy():
    """What stands last in the text of a finding is a value, from `remedies`, and never a word of its own."""
    found = 0
    for room in ("ensemble", "free_energy", "trust", "workflows"):
        for path in sorted((ROOT / "boltzgen" / room).rglob("*.py")):
            for text in pairs(ast.parse(path.read_text(encoding="utf-8"))):
                found += 1
                where = f"{path.name}:{text.lineno}: {ast.unparse(text)}"
                assert not isinstance(text, ast.Constant), where
                if isinstance(text, ast.JoinedStr):
                    assert isinstance(text.values[-1], ast.FormattedValue), where
    assert found > 20


@pytest.mark.parametrize("size", [1, 2, 7, 400])
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0, 6.0])
@pytest.mark.parametrize("k_hat", [None, 0.1, 0.55, 1.2])
def test_the_reasons_of_an_ensemble(size, spread, k_hat):
    """All combinations of tail, share, count, coverage and visits."""
    log_w = np.random.default_rng(size).normal(size=size) * spread
    lost = check_coverage(
        np.zeros(50), np.r_[np.zeros(60), np.full(60, 40.0)], source="MD", statistical_inefficiency=1.0
    )
    few = check_coverage(np.zeros(50), np.zeros(40), source=PROBE, statistical_inefficiency=3.0)
    counts = ({"a": 0.0, "b": 45.0}, {"a": 4.0, "b": 500.0}, None)
    for coverage, n_effective in itertools.product((None, GOOD, COVERED, lost, few), counts):
        found = findings(log_w, k_hat=k_hat, coverage=coverage, n_effective=n_effective)
        verdict, reasons = worst(found)
        require_sound(reasons)
        assert verdict == "ok" or reasons
        assert worst([(verdict, reason) for reason in reasons])[1] == reasons  # nothing is left to settle
        if coverage is COVERED:
            assert not any("sample(" in reason or "adapt(" in reason for reason in reasons)


def test_draws_give_way_to_the_remedy_of_the_flow():
    few = ("caution", f"the ensemble rests on 30 effective samples; {remedies.draw_in_all(900)}")
    thin = ("caution", f"thin in places; {remedies.HOTTER}")
    heavy = ("unreliable", f"k-hat 1.20 is above 0.7; {remedies.ADAPT}")
    assert worst([few, thin])[1] == [few[1], thin[1]]
    reasons = worst([few, heavy, thin])[1]
    assert reasons[0] == heavy[1] and all(r.endswith(remedies.ADAPT) for r in reasons)
    assert worst([few, heavy], several=True)[1] == [heavy[1], few[1]]
    # what two ensembles share gives way, what is said of the other alone does not
    assert remedies.consistent([few], beside=[heavy]) == [
        ("caution", f"the ensemble rests on 30 effective samples; {remedies.ADAPT}")
    ]


STATE = {"target": 0.5, "target_error": 0.01, "reweighted": 0.1, "reweighted_error": 0.01}


def test_the_reasons_of_coverage():
    rng, seen = np.random.default_rng(2), set()
    own = {"even": rng.normal(size=300) * 0.1, "heavy": rng.normal(size=300) * 4}
    target = {
        "even": rng.normal(size=200) * 0.1,
        "lost": np.r_[np.zeros(150), np.full(50, 30.0)],
        "thin": np.r_[np.zeros(190), np.full(10, 3.6)],
    }
    for a, b, source, g in itertools.product(own, target, (PROBE, "MD"), (1.0, 3.0, 15.0)):
        states = [{"name": "trans", **STATE}]
        record = check_coverage(own[a], target[b], source=source, statistical_inefficiency=g, states=states)
        require_sound(record["reasons"])
        seen |= {re.sub(r"[\d.e+-]+", "", reason)[:30] for reason in record["reasons"]}
        require_sound(worst(findings(own[a], k_hat=0.9, coverage=record))[1])
    assert len(seen) >= 5, seen


def test_the_reasons_of_estimates():
    rng = np.random.default_rng(8)
    heavy = rng.normal(size=300) * 3
    x = rng.normal(size=300)
    masks = {"a": x < 0.4, "b": x > 2.2, "c": x > 90}
    pairs_of_states = [("a", "b"), ("a", "c")]
    for log_w, coverage in itertools.product((heavy, 0.1 * heavy), (None, GOOD, COVERED)):
        for estimate in state_free_energies(log_w, masks, pairs_of_states, statistics(coverage)):
            require_sound(estimate.reasons)
        require_sound(expectation(log_w, x**3, statistics(coverage)).reasons)
        require_sound(free_energy_surface(log_w, x, np.linspace(-3, 3, 40), statistics(coverage)).reasons)
        require_sound(free_energy_surface(log_w, x, np.linspace(50, 60, 4), statistics(coverage)).reasons)
        for estimate in thermodynamics(log_w, 20 + 3 * x, statistics(coverage)):
            require_sound(estimate.reasons)
    paired = paired_difference(heavy, 0.1 * heavy, statistics(), A="A", B="B", estimator="x")
    require_sound(paired.reasons, several=True)
    one, two = (expectation(w, x, statistics(), name="e", unit="kT") for w in (heavy, 0.1 * heavy))
    require_sound(difference(one, two, name="d", A=None, B=None, estimator="x").reasons, several=True)


@pytest.mark.parametrize("gap", [0.0, 3.0, 30.0, 900.0])
@pytest.mark.parametrize("size", [4, 60, 500])
def test_the_reasons_of_bar(gap, size):
    rng = np.random.default_rng(5)
    a, b = (WorkSamples(rng.normal(size=size) + gap) for _ in range(2))
    found = bennett(a, b, statistics(), A="A", B="B", estimator="BAR", findings=[("caution", NO_COVERAGE)])
    require_sound(found.reasons, several=True)


def test_the_reasons_of_data_and_of_determinants():
    halves = {"z": 9.0, "state": "t", "torsion": [0, 1, 2, 3], "first": 0.2, "second": 0.7}
    found = {"halves": halves, "round_trips": 1, "independent_frames": 20.0}
    require_sound(convergence._judged(found, [])[1])
    require_sound([DeterminantCheck(rows=3, flow=1.0, coordinates=None, tolerance=1e-6).reason()])


def test_a_forward_ess_says_on_how_many_frames_it_rests():
    rng = np.random.default_rng(4)
    own, frames = rng.normal(size=4000) * 0.4, rng.normal(size=260) * 0.4
    enough = check_coverage(own, frames, source="MD", statistical_inefficiency=2.0)
    assert 0.5 < enough["forward_ess"] < 1 and enough["n_independent"] == 130
    found = diagnose(own, enough)
    assert found.forward_ess == enough["forward_ess"] and found.forward_ess_frames == 130
    few = check_coverage(own, frames, source="MD", statistical_inefficiency=20.0)
    assert few["forward_ess"] is None and "13 independent frames, and 30" in few["unknown"]["forward_ess"]
    found = diagnose(own, few)
    assert found.forward_ess is None and found.forward_ess_frames == 13
    assert "13 independent frames" in found.unknown["forward_ess"]
    # a number that an older version left in a record is not quoted either
    assert diagnose(own, {**few, "forward_ess": 0.7}).forward_ess is None
    assert diagnose(own, {**GOOD, "forward_ess": 0.7}).forward_ess == 0.7
