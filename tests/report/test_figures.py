"""What figures show: one error bar a number, its interval; surfaces that end, wells that are whole."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from boltzgen.free_energy.importance import expectation
from boltzgen.free_energy.populations import populations, state_free_energies
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.surface import HIGHEST_KT, free_energy_surface
from boltzgen.free_energy.thermodynamics import thermodynamics
from boltzgen.free_energy.work import WorkSamples, bennett
from boltzgen.report import drawing
from boltzgen.report import estimates as figures
from boltzgen.report.axes import Subject
from boltzgen.report.ramachandran import Panel, bins_for, ramachandran_figure
from boltzgen.report.surface import surface_figure
from boltzgen.report.transfer import transfer_figure

SUBJECT = Subject("KG", "ff14SB, OBC1", 310.0)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to be looked into."""
    kept: list[matplotlib.figure.Figure] = []
    real = drawing.save

    def save(figure, path):
        kept.append(figure)
        return real(figure, path)

    for module in ("estimates", "surface", "ramachandran", "transfer"):
        monkeypatch.setattr(f"boltzgen.report.{module}.save", save)
    return kept


def statistics() -> Statistics:
    return Statistics(np.random.default_rng(1), n_bootstrap=60)


def skewed():
    """A difference whose interval is lopsided, one without an error bar, one that is not known."""
    rng = np.random.default_rng(29)
    x, log_w = rng.normal(size=2000), 0.1 * rng.normal(size=2000)
    log_w[np.flatnonzero(x > 0)[:3]] = 12.0
    masks = {"left": x < 0, "right": x > 0, "one": np.arange(2000) == 5, "never": np.zeros(2000, bool)}
    pairs = [("left", "right"), ("left", "one"), ("left", "never")]
    return state_free_energies(log_w, masks, pairs, statistics()), populations(log_w, masks)


def bars(axis, along: str) -> list[tuple[float, float]]:
    """The ends of the lines of `axis` that stand for error bars, from the value to an end and back."""
    data = [line.get_xdata() if along == "x" else line.get_ydata() for line in axis.lines]
    return [(min(d), max(d)) for d in map(np.asarray, data) if len(d) == 2 and min(d) < max(d)]


def words(figure) -> str:
    """Every text of `figure`."""
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_the_bar_that_is_shown_is_the_interval_of_skewed_numbers(tmp_path, drawn):
    estimates, shares = skewed()
    figures.states_figure(tmp_path / "s.png", shares, estimates, subject=SUBJECT)
    left, right = drawn[0].axes[:2]
    lopsided = estimates[0]
    low, high = lopsided.interval95
    assert abs(high - lopsided.value) > 3 * abs(low - lopsided.value)
    found = bars(right, "x")
    assert found and all(low <= a and b <= high for a, b in found)
    assert min(a for a, _ in found) == pytest.approx(low) and max(b for _, b in found) == pytest.approx(high)
    known = [s for s in shares if s.interval95[0] is not None]
    assert known and np.allclose(bars(left, "x"), [np.multiply(100, s.interval95) for s in known])
    # no bar where there is none; the circle is then open
    open_circles = [line for line in right.lines if line.get_markerfacecolor() == "white"]
    assert len(open_circles) == 1 and open_circles[0].get_xdata()[0] == pytest.approx(estimates[1].value)
    assert "not known" in words(drawn[0])


def test_every_figure_says_what_it_is_of(tmp_path, drawn):
    rng = np.random.default_rng(3)
    x, log_w = rng.normal(size=4000), 0.3 * rng.normal(size=4000)
    degrees = 60 * x % 360 - 180
    thermal = thermodynamics(log_w, 20 + x, statistics())
    work = WorkSamples(x[:300] + 1), WorkSamples(x[300:600] - 1)
    one = bennett(*work, statistics(), A="A", B="B", estimator="BAR")
    figures.estimates_figure(tmp_path / "a.png", thermal, subject=SUBJECT)
    mean = expectation(log_w, np.cos(x), statistics(), name="cos(phi:2)")
    observed = figures.Observed("cos(phi:2)", "1", np.cos(x), log_w, mean)
    figures.observables_figure(tmp_path / "b.png", [observed], subject=SUBJECT)
    figures.work_figure(
        tmp_path / "c.png", [one], {"BAR": (x[:300], x[300:])}, answer=0.1, label="ΔG (kT)", subject=SUBJECT
    )
    figures.overlap_figure(tmp_path / "d.png", [one], ["A", "B"], np.eye(2), subject=SUBJECT)
    figures.states_figure(tmp_path / "e.png", skewed()[1], skewed()[0], subject=SUBJECT)
    torsion = {"periodic": True, "names": ["phi"], "units": ["degrees"]}
    line = free_energy_surface(log_w, degrees, np.linspace(-180, 180, 25), statistics(), **torsion)
    surface_figure(tmp_path / "f.png", line, subject=SUBJECT)
    edges = np.linspace(-180, 180, 13)
    both = np.stack([degrees, np.roll(degrees, 7)], axis=1)
    two = {"periodic": True, "names": ["phi", "psi"], "units": ["degrees"] * 2}
    surface_figure(
        tmp_path / "g.png",
        free_energy_surface(log_w, both, [edges] * 2, statistics(), **two),
        subject=SUBJECT,
    )
    ramachandran_figure(tmp_path / "h.png", [Panel("flow", *both.T)], subject=SUBJECT)
    rows = [{"molecule": "M", "stage": "adapted", "atoms": 9, "ess": 0.1, "ess_standard_error": None}]
    transfer_figure(
        tmp_path / "i.png", [{**rows[0], "gap_per_atom": None, "seconds": 2.0}], 100, subject=SUBJECT
    )
    assert len(drawn) == 9
    for number, figure in enumerate(drawn):
        told = words(figure)
        for word in ("KG", "ff14SB", "OBC1", "310 K"):
            assert word in told.replace("\n", " "), (number, word)
        assert "phi" not in told and "psi" not in told, told
    for number in (0, 2, 3, 4, 5, 6, 7):  # energies
        assert "kJ/mol" in words(drawn[number]) and "kcal/mol" in words(drawn[number]), number
    for path in sorted(tmp_path.glob("*.png")):
        with Image.open(path) as picture:
            assert min(picture.size) > 300 and picture.convert("L").getextrema() == (0, 255)


def test_scales_beside_kt_have_its_factors(tmp_path, drawn):
    figures.states_figure(tmp_path / "s.png", skewed()[1], skewed()[0], subject=SUBJECT)
    axes = drawn[0].axes
    kt, others = axes[1], axes[2:]
    for axis, factor in zip(others, (0.0083144626 * 310, 0.0083144626 * 310 / 4.184), strict=True):
        assert np.allclose(axis.get_xlim(), np.array(kt.get_xlim()) * factor, rtol=1e-6)
    figures.states_figure(tmp_path / "m.png", skewed()[1], skewed()[0], subject=Subject("double-well"))
    assert len(drawn[1].axes) == 2


def well(n=20_000):
    """Torsions (n, 2) with a well across 180 degrees and nothing near 0."""
    rng = np.random.default_rng(5)
    return (np.array([180.0, -170.0]) + 25 * rng.normal(size=(n, 2)) + 180) % 360 - 180


def test_a_well_at_180_degrees_is_drawn_whole(tmp_path, drawn):
    x = well()
    edges = np.linspace(-180, 180, 37)
    given = {"periodic": True, "units": ["degrees"]}
    line = free_energy_surface(np.zeros(len(x)), x[:, 0], edges, statistics(), names=["psi"], **given)
    surface_figure(tmp_path / "line.png", line, subject=SUBJECT)
    axis = drawn[0].axes[0]
    low, high = axis.get_xlim()
    assert high - low == pytest.approx(360) and -30 <= low <= 30
    (curve,) = [line for line in axis.lines if len(line.get_xdata()) == 36]
    seen = np.flatnonzero(np.isfinite(curve.get_ydata()))
    assert np.all(np.diff(seen) == 1) and len(seen) > 8
    assert [tick.get_text() for tick in axis.get_xticklabels()].count("180") == 1
    assert set(np.diff(axis.get_xticks())) == {60.0}
    ramachandran_figure(tmp_path / "map.png", [Panel("flow", *x.T)], subject=SUBJECT)
    panel = drawn[1].axes[0]
    for limits, ticks in ((panel.get_xlim(), panel.get_xticks()), (panel.get_ylim(), panel.get_yticks())):
        assert limits[1] - limits[0] == pytest.approx(360) and -40 <= limits[0] <= 40
        assert set(np.diff(ticks)) == {60.0}
    shown = np.ma.getmaskarray(panel.images[0].get_array())
    assert shown[0].all() and shown[:, 0].all() and not shown.all()


def test_a_surface_ends_at_ten_kt_and_leaves_poor_bins_blank(tmp_path, drawn):
    rng = np.random.default_rng(8)
    x = rng.uniform(0, 8, 8000)
    log_w = np.where(x < 1, 0.0, np.where(x < 2, -14.0, -3.0))
    x = np.r_[x, np.full(5, 8.5)]
    log_w = np.r_[log_w, np.zeros(5)]
    found = free_energy_surface(log_w, x, np.arange(10.0), statistics(), names=["x0"], units=[""])
    assert found.free_energy[1] > HIGHEST_KT and found.n_effective[8] < 10
    assert np.isfinite(found.shown).tolist() == [True, False, *[True] * 6, False]
    surface_figure(tmp_path / "s.png", found)
    axis = drawn[0].axes[0]
    assert axis.get_ylim()[1] <= HIGHEST_KT
    (curve,) = [line for line in axis.lines if len(line.get_xdata()) == 9]
    assert np.isfinite(curve.get_ydata()).tolist() == np.isfinite(found.shown).tolist()


def test_populations_are_percent_and_rare_ones_on_a_logarithm(tmp_path, drawn):
    masks = {"a": np.arange(5000) < 4000, "b": np.arange(5000) >= 4000}
    figures.states_figure(tmp_path / "a.png", populations(np.zeros(5000), masks), [], subject=SUBJECT)
    rare = {"a": np.arange(5000) < 4990, "b": np.arange(5000) >= 4990, "c": np.zeros(5000, bool)}
    figures.states_figure(tmp_path / "b.png", populations(np.zeros(5000), rare), [], subject=SUBJECT)
    plain, logarithm = (figure.axes[0] for figure in drawn)
    assert plain.get_xscale() == "linear" and plain.get_xlim() == (0.0, 100.0)
    assert logarithm.get_xscale() == "log" and "not seen" in words(drawn[1])
    assert "population (%)" in words(drawn[0])


def test_bins_of_a_map_follow_its_samples():
    panels = {n: Panel("x", np.zeros(n), np.zeros(n)) for n in (50, 3000, 30_000, 200_000)}
    assert [bins_for([panel]) for panel in panels.values()] == [18, 24, 36, 60]
    assert bins_for([panels[50], panels[200_000]]) == 18
    heavy = Panel("x", np.zeros(30_000), np.zeros(30_000), np.r_[30.0, np.zeros(29_999)])
    assert bins_for([heavy]) == 18
