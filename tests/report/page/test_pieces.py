"""Pieces of the page: plots, markup, distributions, superposition; each against something independent."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from report_cases import HOSTILE
from scipy import stats
from scipy.spatial.transform import Rotation

from boltzgen.report.page import (
    geometry,
    markup,
    origin,
    ramachandran,
    sources,
    states,
    training,
    viewer,
    weights,
)
from boltzgen.report.page.record import Material
from boltzgen.report.page.sources import Source
from boltzgen.report.page.svg import ORANGE, VIRIDIS, Axis, Plot, linear_axis, log_axis
from boltzgen.system.prepare import prepare


def plotted() -> Plot:
    plot = Plot(
        linear_axis(0.0, 10.0, HOSTILE), linear_axis(-1.0, 1.0, "y"), HOSTILE, "what it is of", note="note"
    )
    plot.legend((HOSTILE, "#000000", "line"))
    return plot


def paths(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [one.get("d", "") for one in root.iter("{http://www.w3.org/2000/svg}path")]


def test_a_plot_is_xml_and_its_words_are_escaped():
    plot = plotted()
    plot.line([0, 1, 2], [0, 0.5, 0.2], "#123456")
    root = ElementTree.fromstring(plot.svg)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert HOSTILE in texts and "what it is of" in texts and "note" in texts
    assert plotted().svg == plotted().svg


def test_lines_break_where_nothing_is_known_and_at_the_edge():
    plot = plotted()
    before = len(paths(plot.svg))
    plot.line([0, 1, 2, 3, 4, 5], [0, 0.5, np.nan, 0.1, 7.0, 0.2], "#123456")
    (line,) = [one for one in paths(plot.svg) if one.startswith("M") and "L" in one]
    assert len(paths(plot.svg)) == before + 1
    assert line.count("M") == 3 and line.count("L") == 1


def test_places_are_linear_in_the_values():
    plot = Plot(linear_axis(0.0, 10.0, "x"), linear_axis(0.0, 5.0, "y"))
    x, y = plot._places([0.0, 2.5, 10.0], [0.0, 1.25, 5.0])
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(0.25)
    assert (y[1] - y[0]) / (y[2] - y[0]) == pytest.approx(0.25) and y[2] < y[0]


@pytest.mark.parametrize("low, high", [(0.0, 10.0), (-3.0, 3.0), (1.05, 1.16), (-218.4, -217.2), (2.0, 2.0)])
def test_ticks_are_round_and_inside(low, high):
    axis = linear_axis(low, high, "x")
    places = [place for place, _ in axis.ticks]
    assert 2 <= len(places) <= 11 and all(axis.low - 1e-9 <= place <= axis.high + 1e-9 for place in places)
    assert np.ptp(np.diff(places)) < 1e-9
    assert [float(label.replace("−", "-")) for _, label in axis.ticks] == pytest.approx(places)


def test_logarithmic_axes():
    axis = log_axis(3e-4, 50.0, "x")
    assert (axis.low, axis.high) == pytest.approx((1e-4, 100.0))
    assert axis.share([1e-4, 1e-1, 100.0]) == pytest.approx([0, 0.5, 1])
    assert np.isnan(axis.share([0.0, -1.0])).all()


def test_cells_have_the_colour_of_their_value_and_blanks_have_none():
    values = np.full((2, 3), np.nan)
    values[0], values[1, 2] = [0.0, 0.0, 9.9], 4.9
    plot = Plot(Axis(0, 2, "x"), Axis(0, 3, "y"))
    plot.cells(np.arange(3.0), np.arange(4.0), values, 0.0, 10.0, VIRIDIS)
    root = ElementTree.fromstring(plot.svg)
    drawn = {
        one.get("fill"): one.get("d", "").count("M")
        for one in root.iter("{http://www.w3.org/2000/svg}path")
        if one.get("fill") in VIRIDIS
    }
    assert drawn == {VIRIDIS[0]: 1, VIRIDIS[19]: 1, VIRIDIS[9]: 1}  # two equal neighbours are one piece


def test_text_is_escaped_and_unseen_signs_are_shown():
    assert "<" not in markup.escaped(HOSTILE) and '"' not in markup.escaped(HOSTILE)
    assert markup.escaped("a\u202eb\x00c") == "a\ufffdb\ufffdc"
    assert markup.prose("run `x < y` now") == "run <code>x &lt; y</code> now"
    assert markup.tag("p", HOSTILE, title=HOSTILE).count("<") == 2
    assert HOSTILE not in markup.table((HOSTILE,), [(HOSTILE,)], HOSTILE)


def test_numbers_have_the_digits_of_their_errors():
    assert markup.measured(3.14159, 0.0712, "kT") == "3.142 ± 0.071 kT"
    assert markup.measured(None) == "not known" and markup.measured(2.0, None, "nm") == "2 nm"
    assert markup.percentage(0.98509, (0.98, 0.98896)) == "98.51 % (98.00 to 98.90)"
    assert markup.percentage(0.5, (0.3, 0.71)) == "50 % (30 to 71)"
    assert markup.percentage(0.02, (None, None)) == "2 %" and markup.percentage(None) == "–"


def test_distance_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=400), 1.3 * rng.normal(size=700) + 0.2
    found = geometry.distance(x, np.full(400, 2.0), y, np.full(700, 0.1))
    assert found == pytest.approx(stats.ks_2samp(x, y).statistic)
    whole = rng.integers(1, 5, size=400)  # a weight of k is k equal samples
    found = geometry.distance(x, whole.astype(float), y, np.ones(700))
    assert found == pytest.approx(stats.ks_2samp(np.repeat(x, whole), y).statistic)
    assert geometry.distance(x, np.zeros(400), y, np.ones(700)) is None


def test_bonds_and_angles_are_mdtrajs():
    import mdtraj

    positions = np.random.default_rng(4).normal(size=(50, 4, 3)).astype(np.float32)
    frames = mdtraj.Trajectory(positions, None)
    bonds = mdtraj.compute_distances(frames, [[1, 3]], periodic=False)[:, 0]
    angles = mdtraj.compute_angles(frames, [[0, 2, 3]], periodic=False)[:, 0]
    assert geometry.bond_lengths(positions, (1, 3)) == pytest.approx(10 * bonds, rel=1e-5)
    assert geometry.bond_angles(positions, (0, 2, 3)) == pytest.approx(np.degrees(angles), rel=1e-4)


def test_superposition_undoes_a_motion_and_never_mirrors():
    rng = np.random.default_rng(6)
    first = rng.normal(size=(9, 3))
    moved = np.stack([first, *(Rotation.random(rng=rng).apply(first) + rng.normal(size=3) for _ in range(5))])
    chosen = np.arange(9) != 4
    laid = viewer.superposed(moved, chosen)
    assert np.abs(laid - laid[0]).max() < 1e-9
    assert np.abs(laid[0][chosen].mean(axis=0)).max() < 1e-12
    mirrored = viewer.superposed(np.stack([first, first * [1, 1, -1]]), chosen)
    expected, left = Rotation.align_vectors(
        mirrored[0][chosen], (first * [1, 1, -1])[chosen] - (first * [1, 1, -1])[chosen].mean(axis=0)
    )
    assert np.linalg.norm(mirrored[1][chosen] - mirrored[0][chosen]) == pytest.approx(left)
    assert expected.as_matrix().shape == (3, 3)


def test_rows_of_the_view_follow_the_weights():
    w = np.array([0.0, 1.0, 1.0, 8.0, 0.0, 2.0])
    assert viewer.even_rows(w, 12, np.array([3])).tolist() == [1, 2, 5]
    w = np.random.default_rng(8).random(5000)
    rows = viewer.even_rows(w, 200, weights.heaviest_rows(w))
    assert len(rows) == 190 and len(set(rows)) == 190
    assert w[rows].mean() == pytest.approx((w**2).sum() / w.sum(), rel=0.1)  # the mean of w, weighted by w


def test_running_number_is_kishs_of_each_first_part():
    w = np.random.default_rng(9).exponential(size=300)
    places, effective = weights.running_ess(w)
    assert places[0] == 1 and places[-1] == 300
    for place, value in list(zip(places, effective, strict=True))[::17]:
        assert value == pytest.approx(w[:place].sum() ** 2 / (w[:place] ** 2).sum())


def test_shares_of_thirds_have_wilsons_interval_and_none_from_two_samples():
    def third(angles, weights, inefficiency):
        source = Source("flow", "flow", ORANGE, np.zeros((len(angles), 1, 3)), weights, inefficiency)
        return states.thirds(angles, source)[1]

    def angles(inside):
        return np.where(inside, -150.0, 410.0)  # 210 is in the second third, 50 in the first

    inside = np.arange(100) < 30
    found = third(angles(inside), np.full(100, 5.0), 2.0)
    assert found.population == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(np.sqrt(2.0 * 0.3 * 0.7 / 100))
    wilson = stats.binomtest(15, 50).proportion_ci(method="wilson")  # 100 samples that count as 50
    assert found.interval95 == pytest.approx((wilson.low, wilson.high))
    for some in (np.arange(100) < 2, np.arange(100) >= 2):
        found = third(angles(some), np.ones(100), 1.0)
        assert found.population == pytest.approx(some.mean()) and found.standard_error is None
    w = np.ones(100)
    w[:3] = 50.0, 1e-3, 1e-3  # three samples that count as one
    assert third(angles(np.arange(100) < 3), w, 1.0).interval95 == (None, None)
    assert third(angles(inside), np.ones(100), 16.0).standard_error is None  # 30 samples that count as 1.9


def test_what_the_script_reads_cannot_end_its_element():
    from boltzgen.report.page import document

    text = document.document(Material(HOSTILE, "OUT"), [], {"names": [HOSTILE]})
    data = text.partition('id="frames">')[2].partition("</script>")[0]
    assert json.loads(data) == {"names": [HOSTILE]}


def test_losses_without_a_zero_of_their_own_are_drawn_as_changes():
    points = np.array([[10.0, 249.0], [20.0, 99.0], [30.0, 39.5]])
    title, unit, drawn = training.drawn_as("reverse_kl", points)
    assert drawn.tolist() == [[10.0, 0.0], [20.0, -150.0], [30.0, -209.5]]
    assert "change" in title and unit == "kT"
    title, unit, drawn = training.drawn_as("likelihood_change", points)
    assert drawn is points and unit == "nats a degree of freedom"
    title, unit, drawn = training.drawn_as("reweighted_dispersion", points)
    assert drawn is points and (title, unit) == ("Reweighted dispersion", "nats")


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        ({"max_relative_energy_difference": 2e-15}, ""),
        ({"refused": "a virtual site"}, "nothing was compared"),
        ({}, "nothing was compared"),
        ({"refused": "the bonds differ.", "agrees": False}, "is not OpenMM's: the bonds differ."),
    ],
)
def test_an_energy_that_was_not_compared_is_told_from_one_that_differs(alanine_dipeptide, compared, words):
    molecule = replace(alanine_dipeptide, provenance={"translation_check": compared})
    said = origin.unchecked(Material("SYS", "SYS", molecule=molecule))
    assert (said is None) is (not words) and (said is None or words in said.numbers[0])


def test_chains_that_number_their_residues_alike_have_a_page_all_the_same():
    """Such torsions have no ready names; the graph's names stand in their place, and maps are left out."""
    system = prepare(sequence="ACE-ALA-ALA-ALA-ALA-NME", forcefield=("amber14-all.xml",))
    lines = []
    for line in system.topology_pdb.splitlines(keepends=True):
        if line.startswith(("ATOM", "HETATM", "TER")) and line[22:26].strip() and int(line[22:26]) >= 4:
            line = f"{line[:21]}B{int(line[22:26]) - 3:4d}{line[26:]}"
        lines.append(line)
    twice = replace(system, topology_pdb="".join(lines))
    ours, theirs = (
        {
            frozenset(one.variable.atoms[1:3])
            for one in sources.turns(Material("SYS", "SYS", molecule=molecule))
        }
        for molecule in (system, twice)
    )
    assert ours == theirs and len(ours) >= 8
    material = Material("SYS", "SYS", molecule=twice)
    frames = Source("flow", "flow", ORANGE, system.reference_positions[None], np.ones(1))
    assert ramachandran.ramachandran(material, [frames]) is None
    assert ramachandran.ramachandran(Material("SYS", "SYS", molecule=system), [frames]) is not None
