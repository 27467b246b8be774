"""``boltzgen selftest``: it passes here, and it fails when something is wrong."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from boltzgen.coordinates import internal
from boltzgen.free_energy import partition, work
from boltzgen.potentials.model_systems import by_name
from boltzgen.workflows.exact_answers import selftest as module
from boltzgen.workflows.exact_answers.grid_density import GridDensity
from boltzgen.workflows.exact_answers.rows import Row
from boltzgen.workflows.exact_answers.selftest import selftest
from boltzgen.workflows.exact_answers.systems import energies
from boltzgen_cli import main

#: The package gives its function that name.
populations = importlib.import_module("boltzgen.free_energy.populations")

ROOT = Path(__file__).resolve().parents[3]

#: Every line of the table of exact references: how its rows begin, and how many there are with --quick.
EXPECTED = {
    "harmonic wells": 6,
    "Gaussian": 7,
    "double well": 7,
    "many-well": 3,
    "tilted double well": 2,
    "Mueller-Brown": 5,
    "LJ dimer": 6,
    "pair double well": 2,
    "butane drawn": 9,
    "butane fresh": 9,
}


@pytest.fixture
def only(monkeypatch):
    """Reduce the table to the cases named."""
    table = module.cases(quick=True)

    def choose(*names: str) -> None:
        monkeypatch.setattr(module, "cases", lambda quick: {name: table[name] for name in names})

    return choose


def test_every_row_passes_with_quick(tmp_path, capsys):
    path = tmp_path / "selftest.json"
    assert main.main(["selftest", "--quick", "-o", str(path)]) == 0
    found = json.loads(path.read_text())
    assert set(found) == {"schema", "version", "quick", "seed", "passed", "rows"}
    assert found["schema"] == "boltzgen.selftest/1"
    assert found["passed"] is True
    for start, count in EXPECTED.items():
        assert sum(row["system"].startswith(start) for row in found["rows"]) == count, start
    assert len(found["rows"]) == sum(EXPECTED.values())
    for row in found["rows"]:
        assert abs(row["z"]) < 4 and row["standard_error"] < 0.05 and row["passed"], row
        assert row["z"] == pytest.approx((row["value"] - row["exact"]) / row["standard_error"])
    assert {row["estimator"] for row in found["rows"]} == {"SNIS", "PSIS", "BAR", "MBAR", "Kish"}
    z = np.array([row["z"] for row in found["rows"]])
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5  # errors neither far too small nor far too large
    out = capsys.readouterr()
    assert "butane drawn 300 K: ln Z" in out.out and "-28.3211" in out.out
    assert "FAILED" not in out.out


def _shifted(function, by):
    return lambda *given: function(*given) + by


WRONG = {
    "ln Z is off by 0.1": ("tilted double well", partition, "_log_mean", _shifted(partition._log_mean, 0.1)),
    "a difference has the wrong sign": (
        "pair double well",
        populations._Pair,
        "value",
        lambda pair: -_VALUE(pair),
    ),
    "the Jacobian lacks its sines": (
        "butane from its terms",
        internal,
        "_log_volume",
        lambda plan, bond, distance, closing, sine, x, y: _VOLUME(
            plan, bond, distance, closing, sine**0, x, y
        ),
    ),
    "BAR solves another equation": ("double well", work, "_solve", lambda a, b: _SOLVE(a, b) + 0.1),
}
_VALUE, _VOLUME, _SOLVE = populations._Pair.value, internal._log_volume, work._solve


@pytest.mark.parametrize("what", WRONG)
def test_something_wrong_makes_the_verb_fail(what, only, monkeypatch, tmp_path, capsys):
    """Of two cases only that which uses the wrong thing fails; all pass in the test above."""
    case, owner, name, wrong = WRONG[what]
    only("Pareto shape", case)
    monkeypatch.setattr(owner, name, wrong)
    path = tmp_path / "selftest.json"
    assert main.main(["selftest", "--quick", "-o", str(path)]) == 1
    out = capsys.readouterr()
    assert "FAILED" in out.out
    assert "exact references were missed" in out.err and "z = " in out.err
    assert "Traceback" not in out.err
    rows = json.loads(path.read_text())["rows"]
    failed = [row["system"] for row in rows if not row["passed"]]
    assert failed and not any(system.startswith("Gaussian") for system in failed)


def test_a_case_that_raises_is_one_failed_row(only, monkeypatch):
    only("Pareto shape", "tilted double well")
    monkeypatch.setattr(partition, "_log_mean", lambda sums: 1 / 0)
    found = selftest(quick=True)
    assert [row.system for row in found.failures] == ["tilted double well"]
    assert "ZeroDivisionError" in found.failures[0].why
    assert len(found.rows) == 4  # the other case went on
    assert found.to_json()["rows"][-1]["value"] is None


def test_the_seed_decides(only):
    only("tilted double well")
    first, again, other = (selftest(quick=True, seed=seed).rows[0].value for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("value", "error", "why"),
    [
        (1.01, 0.01, ""),
        (1.05, 0.01, "z = +5.0"),
        (1.0, 0.06, "standard error 0.06"),
        (None, 0.01, "no value"),
        (1.0, None, "no value"),
        (1.0, 0.0, "no value"),
        (math.nan, 0.01, "no value"),
        (1.0, math.inf, "no value"),
    ],
)
def test_what_a_row_thinks_of_itself(value, error, why):
    row = Row("system", "quantity", "SNIS", 1.0, value, error)
    assert row.passed == (why == "")
    assert row.why.startswith(why)
    json.dumps(row.to_json(), allow_nan=False)


def test_output_that_cannot_be_a_file(tmp_path, capsys):
    assert main.main(["selftest", "--quick", "-o", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_rows_are_documented():
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    section = text.split("boltzgen.selftest/1")[1]
    keys = set(Row("s", "q", "SNIS", 1.0, 1.0, 0.1).to_json())
    assert keys >= {field.name for field in fields(Row)} - {"reason"}
    for key in keys:
        assert f"`{key}`" in section, key


@pytest.mark.parametrize("tempering", [0.6, 1.0])
def test_grid_density_is_normalised_and_exact(tempering):
    system = by_name("mueller-brown-0.05")
    edges = [np.linspace(-4, 3, 60), np.linspace(-2.5, 5, 50)]
    density = GridDensity(lambda x: energies(system, x), edges, tempering=tempering)
    x, log_q = density.draw(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(density.log_density(x), log_q)
    centres = np.stack(np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in edges], indexing="ij"), -1).reshape(-1, 2)
    cell = (edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0])
    assert np.exp(density.log_density(centres)).sum() * cell == pytest.approx(1.0)
    assert np.isneginf(density.log_density(np.array([[-4.1, 0.0], [0.0, 5.1]]))).all()
    counts = np.histogram2d(*x.T, bins=edges)[0].ravel()
    expected = len(x) * cell * np.exp(density.log_density(centres))
    common = expected > 5
    chi_squared = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert abs(chi_squared - common.sum()) < 5 * math.sqrt(2 * common.sum())


def test_equilibrium_draws_follow_the_target():
    """Mean and variance of a harmonic well, 40 000 draws, within four standard errors."""
    well = by_name("harmonic-well-4")
    density = GridDensity(lambda x: energies(well, x), [np.linspace(-5, 5, 1001)])
    x = density.equilibrium(40_000, np.random.default_rng(1))[:, 0]
    assert abs(x.mean()) < 4 * 0.5 / 200
    assert x.var() == pytest.approx(0.25, abs=4 * 0.25 * math.sqrt(2) / 200)


def test_the_coverage_study_runs(tmp_path, monkeypatch):
    """A few replicates: its table and figure; 40 intervals of 68 % that hold 12 to 38 exact values."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    study = importlib.import_module("coverage_study")
    cells = study.study(study.double_well(), 40, seed=1)
    assert [cell.estimator for cell in cells] == list(study.ESTIMATORS)
    for cell in cells:
        assert 12 / 40 <= cell.covered68 <= 38 / 40 and cell.covered95 >= 30 / 40
        assert cell.standard_error == pytest.approx(cell.spread, rel=0.5)
    assert study.table(cells).count("\n") == 2 + len(cells)
    study.figure(cells, tmp_path / "coverage.png")
    assert (tmp_path / "coverage.png").stat().st_size > 5000


def test_it_says_how_long_and_keeps_to_a_limit(only, tmp_path, monkeypatch, capsys):
    """Cases of a second each: the second of two is not begun where half a second is left."""
    only("pair double well", "double well")
    monkeypatch.setattr(module, "pace", lambda: 1.0)
    monkeypatch.setattr(module, "SECONDS", {"pair double well": 0.001, "double well": 1000.0})
    assert main.main(["selftest", "--quick", "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert "selftest: 2 cases; about 0:17 h (by the pace of this core)." in told
    path = tmp_path / "rows.json"
    assert main.main(["selftest", "--quick", "--max-time", "5m", "-o", str(path)]) == 75
    told = capsys.readouterr().err
    assert "1 cases were not begun (double well)" in told and "--quick" in told
    found = json.loads(path.read_text())
    assert found["missing"] == ["double well"] and not found["passed"] and len(found["rows"]) > 0
