"""Cuts, ticks, units and words of axes, against values written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from boltzgen.report import axes
from boltzgen.report.axes import Subject
from boltzgen.system.described import force_field_words


def test_the_cut_is_at_the_highest_point():
    edges = np.linspace(-180, 180, 13)
    centres = (edges[1:] + edges[:-1]) / 2
    f = 3.0 * (1 + np.cos(np.radians(centres - 75.0)))  # wells at -105, the top at 75
    first = axes.cut_bin(f)
    assert edges[first] == pytest.approx(60.0)
    turned_edges, turned_f = axes.turned(edges, f, first)
    assert turned_edges[0] == 60.0 and turned_edges[-1] == 420.0 and np.all(np.diff(turned_edges) > 0)
    # the energy that belongs to an angle stays with it
    again = (turned_edges[1:] + turned_edges[:-1]) / 2
    assert np.allclose(turned_f, 3.0 * (1 + np.cos(np.radians(again - 75.0))))


@pytest.mark.parametrize("shift", range(8))
def test_the_cut_lies_in_the_longest_empty_stretch_wherever_the_circle_begins(shift):
    f = np.array([np.nan, 2.0, 0.0, 1.0, np.nan, np.nan, np.nan, 4.0])
    assert axes.cut_bin(np.roll(f, shift)) == (5 + shift) % 8
    assert axes.cut_bin(np.full(8, np.nan)) == 0


def test_no_well_is_cut():
    # a well across 180 degrees, as psi has
    edges = np.linspace(-180, 180, 37)
    centres = (edges[1:] + edges[:-1]) / 2
    f = np.where(np.abs(axes.on_axis(centres, 0.0) - 180.0) < 45, 0.5, np.nan)
    ends, values = axes.turned(edges, f, axes.cut_bin(f))
    inside = np.flatnonzero(np.isfinite(values))
    assert np.all(np.diff(inside) == 1) and inside[0] > 0 and inside[-1] < len(values) - 1
    assert ends[0] == pytest.approx(0.0)


def test_a_map_is_turned_along_one_axis():
    edges = np.linspace(-180, 180, 4)
    f = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    ends, turned = axes.turned(edges, f, 2, axis=1)
    assert turned.tolist() == [[2.0, 0.0, 1.0], [5.0, 3.0, 4.0]]
    assert ends.tolist() == [60.0, 180.0, 300.0, 420.0]


def test_the_marginal_of_a_map():
    f = np.array([[0.7, np.nan], [2.0, 1.2], [np.nan, np.nan]])
    along = axes.marginal(f, 0)
    assert along[0] == pytest.approx(0.7) and np.isnan(along[2])
    assert along[1] == pytest.approx(-np.log(np.exp(-2.0) + np.exp(-1.2)))


def test_ticks_stand_every_sixty_degrees_and_read_as_angles():
    places, words = axes.torsion_ticks(-180.0, 180.0)
    assert places == [-180.0, -120.0, -60.0, 0.0, 60.0, 120.0, 180.0]
    assert words == ["180", "−120", "−60", "0", "60", "120", "180"]
    places, words = axes.torsion_ticks(10.0, 370.0)
    assert places == [60.0, 120.0, 180.0, 240.0, 300.0, 360.0]
    assert words == ["60", "120", "180", "−120", "−60", "0"]
    assert axes.on_axis([-170.0, 20.0, 380.0], 10.0).tolist() == [190.0, 20.0, 20.0]


def test_greek_letters_stand_for_torsions_alone():
    assert axes.symbol("phi") == "φ" and axes.symbol("psi:3") == "ψ 3" and axes.symbol("chi1:7") == "χ₁ 7"
    assert axes.symbol("cos(phi:2)") == "cos(φ 2)" and axes.symbol("sin chi2") == "sin χ₂"
    assert axes.symbol("philosophy") == "philosophy" and axes.symbol("turn") == "turn"
    assert axes.label("phi", "degrees") == "φ (°)" and axes.label("x", "1") == "x"
    assert axes.label("rg", "nm") == "rg (nm)"


def test_energies_in_three_units():
    assert axes.three_units(2.0, 300.0) == "2 kT = 4.99 kJ/mol = 1.19 kcal/mol"
    assert axes.three_units(2.0, None) == "2 kT"
    assert axes.energy_label("free energy", 300.0).startswith("free energy (kT; 1 kT = 2.49 kJ/mol")
    factors = axes.unit_factors(450.0)
    assert factors["kJ/mol"] == pytest.approx(0.00831446 * 450, rel=1e-5)
    assert factors["kcal/mol"] == pytest.approx(0.00831446 * 450 / 4.184, rel=1e-5)


def test_what_is_drawn_of_a_surface():
    f = np.array([0.0, 9.9, 10.1, 3.0, np.nan, np.inf])
    n = np.array([500.0, 12.0, 12.0, 9.9, 20.0, 20.0])
    assert np.isfinite(axes.shown_free_energy(f, n)).tolist() == [True, True, False, False, False, False]


def test_populations_in_percent():
    assert axes.percent(0.9634) == "96.3 %" and axes.percent(0.0042) == "0.42 %"
    assert axes.shares_need_logarithm([0.6, 0.004]) and not axes.shares_need_logarithm([0.6, 0.4, 0.0])


def test_what_a_figure_is_of():
    words = force_field_words({"forcefield": ["amber99sbildn.xml"], "implicit": "amber99_obc.xml"})
    assert Subject("KG", words, 310.0).line("2000 samples") == "KG · ff99SB-ILDN, OBC · 310 K · 2000 samples"
    assert Subject("double-well", "", None).line() == "double-well"
    assert force_field_words({"forcefield": ["mmff94"]}) == "MMFF94, vacuum"
    assert force_field_words({"forcefield": ["own.xml"], "implicit": "gbn2"}) == "own, GBn2"
    written = {"gaff": "GAFF", "gaff2": "GAFF2", "gaff-1.81.xml": "GAFF", "gaff-2.11.xml": "GAFF2"}
    for name, found in written.items():
        assert force_field_words({"forcefield": [name], "implicit": "obc2"}) == f"{found}, OBC2"
    assert force_field_words({}) == "parameters of the input"
    assert force_field_words({"forcefield": ["mmff94"]}, {"backend": "gfn2"}) == "MMFF94 + gfn2, vacuum"
    of = axes.subject_of({"subject": {"molecule": "AGS", "force_field": "ff14SB, OBC1"}}, 300.0)
    assert of == Subject("AGS", "ff14SB, OBC1", 300.0) and axes.subject_of({}, None) == Subject()
