"""Observables as columns of the table of conformers: against averages by hand, and in each file."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import three_wells
from helpers import assert_refused
from rdkit import Chem
from three_wells import samples

import boltzgen as bg
from boltzgen.coordinates.conformers import conformers_of
from boltzgen.data.foreign import read_structures
from boltzgen.errors import InputError
from boltzgen.free_energy.observed.registry import values_of_frames
from boltzgen.system.prepare import prepare
from boltzgen.workflows.conformers.conformers import conformers
from boltzgen_cli.main import main

NAMES = ("rg", "noe:0-3", "turn")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """SYS and OUT of the chain of four; HALO, a molecule with hydrogens, and structures of it."""
    folder = tmp_path_factory.mktemp("observed")
    three_wells.write(folder, 1500)
    (folder / "turn.yaml").write_text("coordinates: {turn: {torsion: [0, 1, 2, 3]}}\n")
    system = prepare(smiles="FCCCl")
    system.save(folder / "HALO")
    rows = []
    for x in conformers_of(system).positions[:12]:
        rows += ["8", "0.0"]
        rows += [
            f"{s} {10 * a:.6f} {10 * b:.6f} {10 * c:.6f}" for s, (a, b, c) in zip(SYMBOLS, x, strict=True)
        ]
    (folder / "three.xyz").write_text("\n".join(rows) + "\n")
    return folder


SYMBOLS = ("F", "C", "C", "Cl", "H", "H", "H", "H")


def test_wells_and_their_average(place):
    """The values by hand from positions and weights; shares times values are the average over all."""
    words = {"names": NAMES, "coordinates": place / "turn.yaml", "rows": 1500, "n_bootstrap": 100}
    found = conformers(place / "OUT", place / "A", **words)
    ensemble = samples(1500, 5)
    x, w = np.asarray(ensemble.positions, dtype=float), ensemble.weights()
    turned = np.arctan2(x[:, 3, 2], x[:, 3, 1])
    trans = np.abs(turned) > 2 * np.pi / 3
    ends = np.linalg.norm(x[:, 3] - x[:, 0], axis=1)
    for one in found.wells:
        inside = trans if one["degeneracy"] == 1 else ~trans
        told = {each["name"]: each for each in one["observables"]}
        assert list(told) == ["rg", "noe:0-3", "cos(turn)", "sin(turn)"]
        noe = np.average(ends[inside] ** -6.0, weights=w[inside]) ** (-1 / 6)
        assert told["noe:0-3"]["value"]["nm"] == pytest.approx(noe, rel=0.01)  # rows on a saddle change sides
        assert 0 < told["noe:0-3"]["standard_error"]["nm"] < 0.02 * noe
        cosine = np.average(np.cos(turned[inside]), weights=w[inside])
        assert told["cos(turn)"]["value"]["1"] == pytest.approx(cosine, abs=0.02)
    averages = {each["name"]: each for each in found.observables}
    for name, unit in (("rg", "nm"), ("cos(turn)", "1")):
        parts = [
            one["population"] * each["value"][unit]
            for one in found.wells
            for each in one["observables"]
            if each["name"] == name
        ]
        assert sum(parts) == pytest.approx(averages[name]["value"][unit], abs=1e-6)
    other = bg.observable(place / "OUT", ["rg", "noe:0-3"], n_bootstrap=100).estimates
    for one, name in zip(other, ("rg", "noe:0-3"), strict=True):
        assert averages[name]["value"]["nm"] == pytest.approx(one.value, rel=1e-9)
        assert averages[name]["standard_error"]["nm"] == pytest.approx(one.standard_error, rel=0.3)
    with open(place / "A" / "conformers.csv", newline="") as handle:
        first = next(csv.DictReader(handle))
    assert float(first["noe:0-3 (nm)"]) == found.wells[0]["observables"][1]["value"]["nm"]
    assert float(first["cos(turn) standard error"]) > 0
    assert json.loads((place / "A" / "conformers.json").read_text()) == found.to_json()


def test_structures_have_the_values_of_their_minima(place, capsys):
    words = ["conformers", place / "three.xyz", "--system", place / "HALO", "-o", place / "B"]
    assert main([*map(str, words), "--of", "J3-HCCH", "--of", "rg"]) == 0
    printed = capsys.readouterr().out
    assert "observables, of all and of each well" in printed and "J3-HCCH" in printed
    content = json.loads((place / "B" / "conformers.json").read_text())
    assert content["observables"] == [] and any("0.48 Hz" in note for note in content["notes"])
    system = bg.load_system(place / "HALO")
    minima = read_structures(place / "B" / "conformers.sdf", system)
    columns = values_of_frames(["J3-HCCH", "rg"], minima, system)
    molecules = list(Chem.SDMolSupplier(str(place / "B" / "conformers.sdf"), removeHs=False))
    for row, (one, molecule) in enumerate(zip(content["wells"], molecules, strict=True)):
        for column, told in zip(columns, one["observables"], strict=True):
            assert (told["name"], told["unit"]) == (column.name, column.unit)
            assert told["value"][column.unit] == pytest.approx(column.values[row], abs=2e-3)
            assert told["standard_error"][column.unit] is None
            assert float(molecule.GetProp(f"{column.name} ({column.unit})")) == pytest.approx(
                told["value"][column.unit]
            )


def test_a_well_without_an_error_bar_has_none_here(place):
    found = conformers(place / "OUT", place / "FEW", names=["rg"], rows=12, n_bootstrap=20)
    for one in found.wells:
        error = one["observables"][0]["standard_error"]["nm"]
        assert (error is None) == (one["standard_error"] is None or one["n_effective"] < 3) or error > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--of radius", ("radius", "rg")),
        ("--of noe:0-9", ("noe:0-9", "atom 9")),
        ("--of turn", ("turn", "unknown observable")),
        ("--coordinates {}/turn.yaml", ("--coordinates", "--of")),
        ("--of turn --coordinates {}/absent.yaml", ("absent.yaml",)),
    ],
)
def test_bad_names_are_refused_before_the_work(place, words, told):
    given = ["conformers", f"{place}/OUT", "-o", f"{place}/N", *words.format(place).split()]
    assert_refused(given, *told)
    assert not (place / "N").exists()


def test_python_says_names(place):
    with pytest.raises(InputError, match="`coordinates` declares what `names` may name"):
        conformers(place / "OUT", place / "N", coordinates=place / "turn.yaml")
