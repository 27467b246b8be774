"""The verbs ``surface``, ``observable``, ``thermo``, ``states``: exact answers, files, refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_cases import ALANINE_DIPEPTIDE, molecule, write_densities
from helpers import assert_refused, different

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.free_energy.observed.couplings import PEPTIDE
from boltzgen.free_energy.observed.observable import Molecule
from boltzgen.free_energy.observed.registry import observables
from boltzgen.free_energy.observed.shapes import SHAPES
from boltzgen.free_energy.variables import read_topology
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.free_energy.averages import observable, thermo
from boltzgen.workflows.free_energy.states import free_energy_states
from boltzgen.workflows.free_energy.surface import surface

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
GOOD = {"verdict": "ok", "reasons": [], "forward_ess": 0.8}
STIFFNESS = np.array([1.0, 4.0])


def harmonic(n: int = 20_000, *, seed: int = 0) -> Ensemble:
    """``sum K x^2 / 2`` in two coordinates, drawn 1.1 times too wide; k = 1 - 1.21, all is well known."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 2))
    x = 1.1 * z / np.sqrt(STIFFNESS)
    log_q = -(z**2).sum(axis=1) / 2 - np.log(2 * np.pi * 1.21 / np.sqrt(STIFFNESS.prod()))
    return Ensemble.from_densities(
        x,
        log_q,
        (STIFFNESS * x**2).sum(axis=1) / 2,
        temperature=None,
        measure="lebesgue(2)",
        system_fingerprint="harmonic",
        domain="all",
        topology_pdb="",
        coverage=GOOD,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    save_ensemble(harmonic(), folder / "WELL")
    save_ensemble(molecule(300, seed=1), folder / "OUT")
    empty = molecule(20, seed=1)
    empty = Ensemble(
        empty.positions,
        empty.log_q,
        empty.u,
        np.full(20, -np.inf),
        np.zeros(20, bool),
        np.full(20, "energy not finite"),
        310.0,
        "shape",
        "f00d",
        "reference",
        ALANINE_DIPEPTIDE.read_text(),
    )
    save_ensemble(empty, folder / "EMPTY")
    (folder / "c.yaml").write_text(
        "coordinates:\n  ends: {distance: ['resid 0 and name C', 'resid 2 and name N']}\n"
    )
    (folder / "states.yaml").write_text(
        "states: [{name: left, where: {x0: [-.inf, 0]}}, {name: right, where: rest}]"
    )
    (folder / "broken.yaml").write_text("coordinates: {ends: {distance: [1]}}")
    system = MolecularSystem.load("example:alanine-dipeptide-sbg")
    x = system.reference_positions + np.random.default_rng(4).normal(0, 0.01, (300, 22, 3))
    known = {"topology_pdb": system.topology_pdb, "system_fingerprint": system.fingerprint}
    lies = {"provenance": {"system": "example:alanine-dipeptide-sbg"}}
    save_ensemble(replace(molecule(300), positions=x, **known, **lies), folder / "OURS")
    save_ensemble(replace(molecule(300), positions=x, **known, provenance={}), folder / "MOVED")
    np.save(folder / "short.npy", np.zeros(7))
    np.save(folder / "words.npy", np.array(["a"] * 300))
    np.save(folder / "mine.npy", np.linspace(0, 1, 300))
    (folder / "text.npy").write_text("no array")
    return folder


def exact_surface(edges: np.ndarray, stiffness: float) -> np.ndarray:
    """``-ln`` of the mean density in each bin of a Gaussian, zero in the lowest."""
    from scipy.special import ndtr

    f = -np.log(np.diff(ndtr(edges * np.sqrt(stiffness))) / np.diff(edges))
    return f - f.min()


def test_a_curve_against_the_exact_one(folders, tmp_path):
    """25 bins of x0: chi-square per bin below 2 and every bin within 5 errors; JSON, CSV and PNG."""
    result = surface(
        folders / "WELL", ["x0"], bins=[25], ranges=[(-2.5, 2.5)], output=tmp_path / "s.json", n_bootstrap=200
    )
    found = result.surface
    exact = exact_surface(found.edges[0], 1.0)
    error = np.where(found.standard_error > 0, found.standard_error, np.inf)
    z = (found.free_energy - (exact - exact[found.reference])) / error
    assert np.abs(z).max() < 5 and np.mean(z**2) < 2 and np.nanmax(found.standard_error) < 0.2
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["schema"] == "boltzgen.free_energy/1" and content["estimates"] == []
    assert content["surface"]["free_energy"]["kT"] == pytest.approx(found.free_energy.tolist())
    assert content["surface"]["free_energy"]["kJ/mol"] is None  # a model system
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [float(row["free_energy_kT"]) for row in rows] == pytest.approx(found.free_energy.tolist())
    assert list(rows[0]) == [
        "x0",
        "free_energy_kT",
        "standard_error_kT",
        "low_kT",
        "high_kT",
        "n",
        "n_effective",
    ]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert content["surface"]["outside"] == pytest.approx(0.0124, abs=0.004)


def test_a_map_leaves_empty_bins_empty(folders, tmp_path):
    result = surface(
        folders / "WELL",
        ["x0", "x1"],
        bins=[12, 10],
        ranges=[(-6.0, 6.0), (-3.0, 3.0)],
        output=tmp_path / "s.json",
        n_bootstrap=100,
    )
    found = result.surface
    exact = exact_surface(found.edges[0], 1.0)[:, None] + exact_surface(found.edges[1], 4.0)[None, :]
    exact -= exact[found.reference]
    well_known = found.n_effective > 100
    z = (found.free_energy - exact) / np.where(found.standard_error > 0, found.standard_error, np.inf)
    assert well_known.sum() >= 15 and np.abs(z[well_known]).max() < 5
    empty = found.n == 0
    assert empty.sum() > 40 and np.isnan(found.free_energy[empty]).all()
    written = json.loads((tmp_path / "s.json").read_text())["surface"]["free_energy"]["kT"]
    assert written[0][0] is None and len(written) == 12 and len(written[0]) == 10
    assert (tmp_path / "s.png").stat().st_size > 5000


def test_a_torsion_in_units_of_its_temperature(folders, tmp_path):
    result = surface(folders / "OUT", ["psi"], bins=[90], output=tmp_path / "s.json", n_bootstrap=50)
    entry = json.loads((tmp_path / "s.json").read_text())["surface"]
    assert entry["units"] == ["degrees"] and entry["edges"][0][0] == -180.0
    in_kt, in_kj = (
        np.array([np.nan if x is None else x for x in entry["free_energy"][unit]])
        for unit in ("kT", "kJ/mol")
    )
    np.testing.assert_allclose(in_kj, in_kt * GAS_CONSTANT * 310, rtol=1e-12)
    assert np.isnan(in_kt).sum() > 60 and result.verdict in ("caution", "unreliable")


def test_observables_of_a_gaussian(folders, tmp_path):
    """<x0> = 0, <x1^2> = 1/4 by a file of one's own; within 4 errors, which are below 0.02."""
    np.save(tmp_path / "square.npy", load_ensemble(folders / "WELL").positions[:, 1] ** 2)
    result = observable(
        folders / "WELL", ["x0"], values=tmp_path / "square.npy", unit="nm^2", output=tmp_path / "o.json"
    )
    for estimate, exact in zip(result.estimates, (0.0, 0.25), strict=True):
        assert abs(estimate.value - exact) < 4 * estimate.standard_error < 0.08
        assert estimate.verdict == "ok", estimate.reasons
    assert [e.unit for e in result.estimates] == ["1", "nm^2"]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert [row["name"] for row in rows] == ["x0", "square"] and rows[1]["unit"] == "nm^2"
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")


def test_observables_are_those_of_mdtraj(folders):
    """Names give MDTraj's numbers, torsions their cosine and sine; rows that are not finite stay NaN."""
    import mdtraj

    ensemble = molecule(40, seed=1)
    positions = np.array(ensemble.positions)
    positions[3] = np.nan
    topology = read_topology(ensemble.topology_pdb)
    found = {o.name: o for o in observables((*SHAPES, *PEPTIDE, "phi"), positions, Molecule(topology), {})}
    good = np.arange(40) != 3
    frames = mdtraj.Trajectory(positions[good], topology)
    phi = mdtraj.compute_phi(frames)[1][:, 0]
    expected = {
        "rg": mdtraj.compute_rg(frames),
        "sasa": mdtraj.shrake_rupley(frames).sum(axis=1),
        "asphericity": mdtraj.asphericity(frames),
        "acylindricity": mdtraj.acylindricity(frames),
        "shape-anisotropy": mdtraj.relative_shape_antisotropy(frames),
        "J3-HN-HA:2": mdtraj.compute_J3_HN_HA(frames)[1][:, 0],
        "cos(phi)": np.cos(phi),
        "sin(phi)": np.sin(phi),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].values[good], values, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.isnan(found[name].values[3])
    assert found["rg"].unit == "nm" and found["J3-HN-HA:2"].unit == "Hz"


def test_thermodynamics_of_states(folders, tmp_path):
    """Two unequal parts of a Gaussian: U, S and A of each and their differences by quadrature."""
    (tmp_path / "s.yaml").write_text(
        "states: [{name: low, where: {x0: [-.inf, 0.5]}}, {name: high, where: rest}]\n"
        "differences: [[low, high]]\n"
    )
    result = thermo(
        folders / "WELL", states_file=tmp_path / "s.yaml", output=tmp_path / "t.json", n_bootstrap=200
    )
    found = {e.name: e for e in result.estimates}
    assert len(found) == 4 + 8 + 3
    x = np.linspace(-9.0, 9.0, 180_001)
    density = np.exp(-(x**2) / 2)
    exact = {}
    for name, here in (("low", x < 0.5), ("high", x >= 0.5)):
        total = density[here].sum() * (x[1] - x[0])
        u = (density * x**2 / 2)[here].sum() / density[here].sum() + 0.5  # the other oscillator: 1/2
        a = -np.log(total * np.sqrt(2 * np.pi / STIFFNESS[1]))
        exact |= {f"U {name}": u, f"A {name}": a, f"S {name}": u - a}
    for quantity in "UAS":
        exact[f"{quantity} low -> high"] = exact[f"{quantity} high"] - exact[f"{quantity} low"]
    for name, value in exact.items():
        assert abs(found[name].value - value) < 4 * found[name].standard_error < 0.12, (name, found[name])
    assert found["S low -> high"].unit == "k" and found["A low -> high"].A == "low"
    assert "states_file_sha256" in json.loads((tmp_path / "t.json").read_text())["provenance"]


def test_thermodynamics_of_two_oscillators(folders, tmp_path):
    """U = C = 1 (two halves), A = -ln Z = -ln(2 pi / 2), S = U - A, all in kT and k; within 4 errors."""
    result = thermo(folders / "WELL", output=tmp_path / "t.json", n_bootstrap=200)
    a = -np.log(2 * np.pi / np.sqrt(STIFFNESS.prod()))
    exact = {"U": 1.0, "C": 1.0, "S": 1.0 - a, "A": a}
    assert [e.name for e in result.estimates] == list(exact)
    for estimate in result.estimates:
        assert abs(estimate.value - exact[estimate.name]) < 4 * estimate.standard_error < 0.15
        assert estimate.verdict == "ok", estimate.reasons
    content = json.loads((tmp_path / "t.json").read_text())
    assert "solvation" in content["scope"] and content["estimates"][2]["unit"] == "k"
    assert content["estimates"][0]["by_reweighting"] == pytest.approx(1.0, abs=0.1)
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_states_leave_csv_and_figure(folders, tmp_path):
    result = free_energy_states(
        folders / "WELL", folders / "states.yaml", output=tmp_path / "f.json", n_bootstrap=50
    )
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    entry = json.loads((tmp_path / "f.json").read_text())["estimates"][0]
    assert [row["unit"] for row in rows] == ["kT", "kJ/mol", "kcal/mol"]
    assert float(rows[0]["value"]) == entry["value"]["kT"] and rows[1]["value"] == ""
    assert result.figure == tmp_path / "f.png" and result.figure.read_bytes().startswith(b"\x89PNG")


def test_the_commands(folders, tmp_path, capsys):
    from boltzgen_cli.main import main

    lines = {
        "surface {}/OUT --along psi --bins 90": ("free energy along psi at 310 K", "coverage not checked"),
        "surface {}/OUT --along ends --coordinates {}/c.yaml --smooth": ("lowest bin", "highest shown (kT)"),
        "surface {}/OUT --along phi --along psi --range auto --range -180,0": ("empty bins", "outside"),
        "observable {}/OUT --of rg --of ends --coordinates {}/c.yaml": ("values at 310 K", "ends"),
        "observable {}/OUT --values {}/mine.npy --unit kT": ("mine", "kcal/mol"),
        "observable {}/OURS --of dipole --of J3-HN-HA --of noe:2.HA-3.H --of hbond": (
            "fixed charges",
            "noe:2.HA-3.H",
            "Baker-Hubbard",
            "its own error, 0.36 Hz",
        ),
        "observable {}/MOVED --of dipole-rms --system example:alanine-dipeptide-sbg": ("dipole-rms", " D"),
        "thermo {}/OUT --step 0.02": ("heat capacity", "kJ/mol/K"),
    }
    for number, (line, expected) in enumerate(lines.items()):
        words = ["free-energy", *line.replace("{}", str(folders)).split(), "--bootstrap", "50"]
        assert main([*words, "-o", str(tmp_path / f"{number}.json")]) == 0, line
        shown = capsys.readouterr()
        told = " ".join((shown.out + shown.err).split())
        assert all(text in told for text in expected), told
        assert f"{number}.csv" in shown.err and (tmp_path / f"{number}.png").exists()


def test_no_weight_is_a_failure_with_files(folders, tmp_path):
    verbs = ("surface {}/EMPTY --along phi", "thermo {}/EMPTY", "observable {}/EMPTY --of rg")
    for number, verb in enumerate(verbs):
        words = verb.format(folders).split()
        path = tmp_path / f"{number}.json"
        assert_refused(["free-energy", *words, "-o", path], "every one was rejected", str(path), code=1)
        assert json.loads(path.read_text())["schema"] == "boltzgen.free_energy/1"


def test_strict_surface_ends_with_3(tmp_path):
    spiked = harmonic(300)
    log_q = np.array(spiked.log_q)
    log_q[5] -= 30.0
    write_densities(
        tmp_path / "OUT",
        spiked.positions,
        log_q,
        spiked.u,
        measure="lebesgue(2)",
        system_fingerprint="harmonic",
    )
    words = ["free-energy", "surface", tmp_path / "OUT", "--along", "x0", "--strict"]
    assert_refused(words, "the surface", code=3)
    assert (tmp_path / "OUT" / "surface.json").exists()


BAD = [
    ("surface {}/absent --along phi", "absent"),
    ("surface {}/OUT", "--along"),
    ("surface {}/OUT --along phy", "phy", "phi"),
    ("surface {}/OUT --along chi1", "no torsion chi1"),
    ("surface {}/OUT --along phi --along phi", "different"),
    ("surface {}/OUT --along phi --along psi --along omega:1", "one or two"),
    ("surface {}/OUT --along phi --bins 1", "--bins"),
    ("surface {}/OUT --along phi --bins 10 --bins 10", "--bins"),
    ("surface {}/OUT --along phi --range 0", "--range"),
    ("surface {}/OUT --along phi --range 90,-90", "empty"),
    ("surface {}/OUT --along phi --range -400,400", "turn"),
    ("surface {}/OUT --along phi --range 0,1 --range 0,1", "2 ranges"),
    ("surface {}/OUT --along phi --along psi --bins 500", "fewer"),
    ("surface {}/OUT --along ends --coordinates {}/broken.yaml", "broken.yaml"),
    ("surface {}/OUT --along ends --coordinates {}/absent.yaml", "absent.yaml"),
    ("surface {}/OUT --along phi -o {}/x.csv", "names the JSON file"),
    ("surface {}/WELL --along x7", "x0 to x1"),
    ("observable {}/OUT", "no observable"),
    ("observable {}/OUT --of rgg", "rgg", "rg"),
    ("observable {}/OUT --values {}/short.npy", "7", "300"),
    ("observable {}/OUT --values {}/words.npy", "numbers"),
    ("observable {}/OUT --values {}/text.npy", "cannot be read as npy"),
    ("observable {}/OUT --values {}/absent.npy", "no such file"),
    ("observable {}/WELL --of rg", "rg"),
    ("observable {}/MOVED --of dipole", "not where its manifest says", "--system"),
    ("observable {}/OUT --of dipole --system example:elil", "example:elil", "--system"),
    ("observable {}/OUT --of noe:2.HX-3.H", "2.HX", "1.H1"),
    ("observable {}/OUT --of hbond(Luzar)", "Baker-Hubbard"),
    ("thermo {}/absent", "absent"),
    ("thermo {}/OUT --step 0", "--step"),
    ("thermo {}/OUT --bootstrap 1", "--bootstrap"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_bad_input(folders, case):
    line, *expected = case
    assert_refused(["free-energy", *line.replace("{}", str(folders)).split()], *expected)


def test_the_surface_file_is_stable(tmp_path):
    """Keys and numbers of the documented file; a change here is a change of the format."""
    save_ensemble(harmonic(400, seed=3), tmp_path / "OUT")
    surface(
        tmp_path / "OUT", ["x0"], bins=[4], ranges=[(-4.0, 4.0)], output=tmp_path / "s.json", n_bootstrap=20
    )
    content = json.loads((tmp_path / "s.json").read_text())
    content["provenance"] = sorted(content["provenance"])
    expected = json.loads((GOLDEN / "free_energy_surface.json").read_text())
    assert different(content, expected) == [], "the file has changed; see docs/files.md"


def test_the_file_of_a_difference_is_stable(tmp_path):
    """Keys of the documented file, and of its CSV; the numbers have tests of their own."""
    from between_cases import untrained_model

    from boltzgen.workflows.free_energy.between import between
    from boltzgen.workflows.free_energy.results import COLUMNS
    from boltzgen.workflows.sampling.sample import sample

    model = untrained_model(tmp_path / "MODEL")
    for k in (1, 2):
        sample(model, f"model:harmonic-well-{k}", tmp_path / f"H{k}", 300)
    between(tmp_path / "H1", tmp_path / "H2", output=tmp_path / "b.json", n_bootstrap=20)
    content = json.loads((tmp_path / "b.json").read_text())
    expected = json.loads((GOLDEN / "between_keys.json").read_text())
    assert keys(content) == expected, "the file has changed; see docs/files.md"
    with (tmp_path / "b.csv").open() as file:
        assert next(csv.reader(file)) == list(COLUMNS)


def keys(content):
    """Keys of a result file, by level; estimates by the name of their estimator."""
    return {
        "top": list(content),
        "provenance": list(content["provenance"]),
        "A": list(content["provenance"]["A"]),
        "work": {k: list(v) for k, v in content["work"].items()},
        "estimates": {e["estimator"]: list(e) for e in sorted(content["estimates"], key=str)},
    }
