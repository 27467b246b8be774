"""``boltzgen reweight``: exact answers, going on after a stop, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from between_cases import untrained_model
from butane import EXACT, OPLS_TORSION, butane_system
from helpers import ROOT, assert_refused

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.ensemble.thinning import NOT_EVALUATED
from boltzgen.errors import InputError, StoppedError, UnreliableError
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.model_systems import by_name
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.prepare import prepare
from boltzgen.units import thermal_energy
from boltzgen.workflows.free_energy.between import between
from boltzgen.workflows.sampling import reweight as workflow
from boltzgen.workflows.sampling.reweight import reweight
from boltzgen.workflows.sampling.sample import sample
from boltzgen_cli.main import main

GOLDEN = ROOT / "tests" / "golden"

# Exact answers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wells(tmp_path_factory):
    """An untrained flow on the double well (with y^2/2), 20 000 samples in OUT."""
    folder = tmp_path_factory.mktemp("wells")
    sample(untrained_model(folder / "MODEL"), "model:double-well", folder / "OUT", 20_000, seed=3)
    return folder


def double_well_exact(temperature: float) -> tuple[float, float]:
    """ln Z and F(right) - F(left) in kT at `temperature` by quadrature."""
    grid = np.linspace(-6, 6, 200_001)
    boltzmann = np.exp(-(grid**4 - 6 * grid**2 - grid / 2) * 300 / temperature)
    ln_z = np.log(np.trapezoid(boltzmann, grid)) + 0.5 * np.log(2 * np.pi * temperature / 300)
    right = boltzmann[grid > 0].sum() / boltzmann.sum()
    return float(ln_z), float(-np.log(right / (1 - right)))


@pytest.mark.parametrize("kelvin", [250.0, 450.0])
def test_double_well_at_another_temperature(wells, tmp_path, kelvin):
    result = reweight(wells / "OUT", tmp_path / "OUT2", temperature=kelvin)
    new = load_ensemble(tmp_path / "OUT2")
    ln_z, difference = double_well_exact(kelvin)
    value, error = result.summary.log_z, result.summary.log_z_standard_error
    assert abs(value - ln_z) < 4 * error < 0.15
    right = normalised_weights(new.log_w)[new.positions[:, 0] > 0].sum()
    assert -np.log(right / (1 - right)) == pytest.approx(difference, abs=0.25)
    assert result.summary.energy_evaluations == len(new) == result.to_json()["rows"]


def test_another_model_system_from_few_evaluations(wells, tmp_path):
    """Another double well, its ln Z by quadrature, by 3000 of 20 000 energies."""
    exact = by_name("many-well-2").log_partition()
    result = reweight(wells / "OUT", tmp_path / "OUT2", to="model:many-well-2", expensive=3000)
    assert result.to_json()["energy_evaluations"] == 3000 and result.to_json()["ended"].startswith("as many")
    assert abs(result.summary.log_z - exact) < 4 * result.summary.log_z_standard_error < 0.3
    assert result.summary.rejected[NOT_EVALUATED] == 17_000
    assert "model" not in load_ensemble(tmp_path / "OUT2").provenance


def with_barrier(system, factor: float):
    """Butane with its torsion's first barrier `factor` times as high."""
    changed = butane_system()
    torsions = changed.getForce(2)
    *atoms, n, phase, barrier = torsions.getTorsionParameters(0)
    torsions.setTorsionParameters(0, *atoms, n, phase, factor * barrier)
    return replace(system, system_xml=serialize_system(changed))


def torsion_integral(temperature: float, factor: float) -> float:
    phi = np.linspace(-np.pi, np.pi, 100_001)
    v1, v2, v3 = (value * 4.184 for value in OPLS_TORSION)
    energy = factor * v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))
    return float(np.trapezoid(np.exp(-energy / 2 / thermal_energy(temperature)), phi))


@pytest.fixture(scope="module")
def chains(tmp_path_factory, butane):
    """SYS and SYS2 (another torsion) of butane, OUT at 1000 K from an untrained flow."""
    folder = tmp_path_factory.mktemp("chains")
    butane.save(folder / "SYS")
    with_barrier(butane, 2.0).save(folder / "SYS2")
    model = untrained_model(folder / "MODEL")
    sample(model, folder / "SYS", folder / "OUT", 20_000, seed=1, temperature=1000.0)
    return folder


def gauche_minus_trans(ensemble: Ensemble) -> float:
    import mdtraj

    trajectory = mdtraj.Trajectory(np.array(ensemble.positions), None)
    phi = mdtraj.compute_dihedrals(trajectory, [[0, 1, 2, 3]])[:, 0]
    share = normalised_weights(ensemble.log_w)[np.abs(phi) < 2 * np.pi / 3].sum()
    return float(-np.log(share / (1 - share)))


def test_butane_at_another_temperature_costs_nothing(chains, tmp_path):
    """facts: ln Z and F_gauche - F_trans at 600 K from samples at 1000 K; the stored u, scaled exactly."""
    result = reweight(chains / "OUT", tmp_path / "OUT2", temperature=600.0)
    old, new = load_ensemble(chains / "OUT"), load_ensemble(tmp_path / "OUT2")
    assert new.temperature == 600.0 and np.array_equal(new.u, old.u * (1000.0 / 600.0))
    ln_z, difference = EXACT[600.0]
    assert abs(result.summary.log_z - ln_z) < 4 * result.summary.log_z_standard_error < 0.2
    assert gauche_minus_trans(new) == pytest.approx(difference, abs=0.15)
    assert result.summary.energy_evaluations == 0
    assert result.summary.verdict != "ok" and new.coverage is None


def test_another_force_field_has_the_exact_ratio(chains, tmp_path):
    """ln(Z'/Z) is that of the torsion's integrals; both from the same rows, so that the error is small."""
    result = reweight(chains / "OUT", tmp_path / "OUT2", to=chains / "SYS2")
    exact = np.log(torsion_integral(1000.0, 2.0) / torsion_integral(1000.0, 1.0))
    after, before = (result.to_json()[key]["log_z"] for key in ("after", "before"))
    assert after - before == pytest.approx(exact, abs=0.03)
    few = reweight(chains / "OUT", tmp_path / "OUT3", to=chains / "SYS2", expensive=2000)
    assert abs(few.summary.log_z - after) < 4 * few.summary.log_z_standard_error < 0.15
    assert few.second_stage.ess == pytest.approx(result.second_stage.ess, rel=0.1)
    both = reweight(chains / "OUT", tmp_path / "OUT4", to=chains / "SYS2", temperature=600.0)
    exact = EXACT[600.0][0] + np.log(torsion_integral(600.0, 2.0) / torsion_integral(600.0, 1.0))
    assert abs(both.summary.log_z - exact) < 4 * both.summary.log_z_standard_error < 0.2


def test_the_same_energy_gives_the_same_weights_to_rounding(chains, tmp_path):
    """Stored float32 positions: the energy comes back to far less than kT."""
    reweight(chains / "OUT", tmp_path / "OUT2", to=chains / "SYS")
    old, new = load_ensemble(chains / "OUT"), load_ensemble(tmp_path / "OUT2")
    assert np.max(np.abs(old.u - new.u)[old.valid]) < 5e-3
    assert np.array_equal(old.log_q, new.log_q)


# Precision, stops, going on -----------------------------------------------------------------------


class StopAfter(StopRequest):
    """A request that comes at the n-th time it is looked at."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.polls = polls

    @property
    def requested(self) -> bool:
        self.polls -= 1
        return self.polls < 0


def assert_same(one, other) -> None:
    for name in ("log_q", "u", "log_w", "valid", "reason", "positions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_it_stops_at_the_precision_asked(chains, tmp_path):
    result = reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", until_ess=300)
    assert 300 <= result.to_json()["after"]["n_effective"] < 600
    assert result.to_json()["evaluated"] < 5_000 and result.to_json()["ended"] == "precision reached"
    result = reweight(chains / "OUT", tmp_path / "B", to=chains / "SYS2", until_error=0.05, until_ess=10)
    assert 0.04 < result.summary.log_z_standard_error <= 0.05
    result = reweight(
        chains / "OUT", tmp_path / "C", to=chains / "SYS2", until_error=1e-6, expensive=200, seed=1
    )
    assert result.to_json()["evaluated"] == 200
    assert any("precision asked was not reached" in reason for reason in result.summary.reasons)


def test_a_stopped_run_goes_on_to_the_same_result(chains, tmp_path):
    options = {"to": chains / "SYS2", "until_ess": 300.0}
    reweight(chains / "OUT", tmp_path / "A", **options)
    with pytest.raises(StoppedError, match="evaluations"):
        reweight(chains / "OUT", tmp_path / "B", stop=StopAfter(3), **options)
    partial = load_ensemble(tmp_path / "B")
    assert json.loads((tmp_path / "B" / "manifest.json").read_text())["status"] == "partial"
    done = json.loads((tmp_path / "B" / "reweight.json").read_text())["evaluated"]
    assert 0 < done == partial.valid.sum()
    reweight(chains / "OUT", tmp_path / "B", resume="auto", **options)
    assert_same(load_ensemble(tmp_path / "A"), load_ensemble(tmp_path / "B"))
    more = reweight(chains / "OUT", tmp_path / "B", resume="auto", to=chains / "SYS2", expensive=2000)
    assert more.to_json()["evaluated"] == 2000


def test_energies_survive_a_failure(chains, tmp_path, monkeypatch):
    """What was computed before the energy failed is kept, although no samples were written."""
    whole, calls = workflow.NewTarget.reduced_energy, []

    def failing(self, positions):
        calls.append(len(positions))
        if len(calls) > 3:
            raise InputError("the workers are gone.")
        return whole(self, positions)

    monkeypatch.setattr(workflow.NewTarget, "reduced_energy", failing)
    with pytest.raises(InputError, match="workers"):
        reweight(chains / "OUT", tmp_path / "B", to=chains / "SYS2", expensive=500)
    with np.load(tmp_path / "B" / "reweight.npz", allow_pickle=False) as kept:
        assert len(kept["u"]) == len(kept["rows"]) == sum(calls[:3])
    monkeypatch.setattr(workflow.NewTarget, "reduced_energy", whole)
    reweight(chains / "OUT", tmp_path / "B", to=chains / "SYS2", expensive=500, resume="auto")
    reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", expensive=500)
    assert_same(load_ensemble(tmp_path / "A"), load_ensemble(tmp_path / "B"))


# Molecules ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dipeptide(tmp_path_factory, alanine_dipeptide):
    """OUT: 300 conformations near the reference, with densities that make their weights nearly alike."""
    folder, rng = tmp_path_factory.mktemp("dipeptide"), np.random.default_rng(5)
    noise = rng.normal(scale=0.0015, size=(300, alanine_dipeptide.n_atoms, 3))
    positions = (alanine_dipeptide.reference_positions + noise).astype(np.float32)
    import torch

    energy = potential_of(alanine_dipeptide).energy(torch.as_tensor(positions, dtype=torch.float64))
    u = energy.numpy() / thermal_energy(300.0)
    ensemble = Ensemble.from_densities(
        positions,
        -u + rng.normal(scale=0.5, size=300),
        u,
        temperature=300.0,
        measure="shape",
        system_fingerprint=alanine_dipeptide.fingerprint,
        domain=InternalCoordinates(alanine_dipeptide).domain_label,
        topology_pdb=alanine_dipeptide.topology_pdb,
        provenance={"seed": 1, "model": "M", "system": "S"},
    )
    save_ensemble(ensemble, folder / "OUT")
    alanine_dipeptide.save(folder / "SYS")
    return folder


@pytest.mark.filterwarnings("ignore:xtb-ala2-small was trained")
def test_a_hybrid_from_a_few_energies_agrees_with_all(dipeptide, tmp_path):
    """ln Z by 100 energies of the hybrid, within 4 errors of the answer of all 300."""
    hybrid = prepare(
        ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb",
        forcefield=("amber99sbildn.xml",),
        implicit="amber99_obc.xml",
        ml="xtb-ala2-small",
    )
    hybrid.save(tmp_path / "HYBRID")
    full = reweight(dipeptide / "OUT", tmp_path / "FULL", to=tmp_path / "HYBRID")
    few = reweight(dipeptide / "OUT", tmp_path / "FEW", to=tmp_path / "HYBRID", expensive=100)
    assert full.to_json()["ended"] == "all rows evaluated" and few.to_json()["energy_evaluations"] == 100
    assert abs(few.summary.log_z - full.summary.log_z) < 4 * few.summary.log_z_standard_error
    assert few.summary.log_z_standard_error < 0.5
    everything, part = load_ensemble(tmp_path / "FULL"), load_ensemble(tmp_path / "FEW")
    assert part.system_fingerprint == hybrid.fingerprint
    chosen = part.valid
    np.testing.assert_allclose(part.u[chosen], everything.u[chosen], atol=1e-6)
    assert np.all(part.log_q[chosen] <= everything.log_q[chosen])


def test_refuses_what_does_not_fit(dipeptide, chains, wells, tmp_path, alanine_dipeptide):
    swapped = alanine_dipeptide.atomic_numbers.copy()
    order = np.arange(len(swapped))
    order[[4, 5]] = order[[5, 4]]  # C and O of the cap
    place = np.argsort(order)
    from boltzgen.system.formats.pdb_text import format_pdb

    symbols = {1: "H", 6: "C", 7: "N", 8: "O"}
    names = [alanine_dipeptide.atom_names[k] for k in order]
    bonds = place[alanine_dipeptide.bonds]
    positions = alanine_dipeptide.reference_positions[order]
    other = replace(
        alanine_dipeptide,
        atomic_numbers=swapped[order],
        bonds=bonds,
        reference_positions=positions,
        topology_pdb=format_pdb(names, [symbols[int(n)] for n in swapped[order]], positions, bonds),
    )
    other.save(tmp_path / "SWAPPED")
    mirrored = replace(alanine_dipeptide, reference_positions=-alanine_dipeptide.reference_positions)
    mirrored.save(tmp_path / "MIRROR")
    out, new = dipeptide / "OUT", tmp_path / "NEW"
    for words, expected in (
        ([out, "--to", tmp_path / "SWAPPED"], ("atom 4 is C (C)", "and O (O)", "same order")),
        ([out, "--to", tmp_path / "MIRROR"], ("differ in their domain", "hand", "300 of 300")),
        ([out, "--to", chains / "SYS"], ("22 atoms", "has 4")),
        ([out, "--to", "model:double-well"], ("a molecule", "model:double-well")),
        ([wells / "OUT", "--to", chains / "SYS"], ("a model system",)),
        ([wells / "OUT", "--to", "model:many-well-4"], ("2 coordinates", "4")),
        ([out], ("--to SYS", "--temperature")),
        ([out, "--temperature", "-5"], ("-5", "positive")),
        ([out, "--temperature", "310", "--expensive", "10"], ("takes none",)),
        ([out, "--to", dipeptide / "SYS", "--until-ess", "-1"], ("--until-ess",)),
        ([out, "--to", dipeptide / "SYS", "--expensive", "1"], ("--expensive", "two")),
        ([out, "--to", dipeptide / "SYS", "--resume", "yes"], ("--resume",)),
        ([out, "--to", tmp_path / "NOWHERE"], ("NOWHERE", "prepare")),
    ):
        assert_refused(["reweight", *words, "-o", new], *expected)
    assert not new.exists()
    assert_refused(["reweight", out, "--temperature", "310", "-o", out], "the samples themselves", "another")
    assert_refused(["reweight", tmp_path / "NONE", "--temperature", "310", "-o", new], "no such folder")
    assert_refused(
        ["reweight", out, "--temperature", "310", "-o", dipeptide / "SYS"], "holds a prepared system"
    )


def test_an_existing_result_is_never_overwritten(chains, tmp_path):
    words = ["reweight", chains / "OUT", "--to", chains / "SYS2", "-o", tmp_path / "A", "--expensive", "50"]
    reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", expensive=50)
    assert_refused(words, "--resume auto")
    assert_refused([*words, "--resume", "auto", "--seed", "7"], "another target, temperature or seed")
    assert_refused([*words[:2], "--to", chains / "SYS", *words[4:], "--resume", "auto"], "first command")
    (tmp_path / "A" / "reweight.npz").write_bytes(b"PK broken")
    assert_refused([*words, "--resume", "auto"], "reweight.npz")


def test_strict_and_the_tables_at_the_terminal(chains, tmp_path, capsys):
    with pytest.raises(UnreliableError, match="unreliable"):
        reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", expensive=5, strict=True)
    words = ["reweight", chains / "OUT", "--to", chains / "SYS2", "-o", tmp_path / "B", "--until-ess", "150"]
    assert main([str(word) for word in words]) == 0
    shown = capsys.readouterr()
    assert "energies computed" in shown.out and "before" in shown.out and "precision reached" in shown.out
    assert "verdict: caution" in shown.err and "chosen by weight" in shown.err


def test_files_have_the_documented_keys(chains, tmp_path):
    reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", expensive=50)
    record = json.loads((tmp_path / "A" / "reweight.json").read_text())

    def keys(value):
        return {key: keys(inner) for key, inner in value.items()} if isinstance(value, dict) else None

    assert keys(record) == json.loads((GOLDEN / "reweight_keys.json").read_text())
    assert record["schema"] == "boltzgen.reweight/1"
    with np.load(tmp_path / "A" / "reweight.npz", allow_pickle=False) as kept:
        assert {name: kept[name].dtype.kind for name in kept.files} == {
            "rows": "i",
            "u": "f",
            "task": "U",
            "seconds": "f",
        }


def test_reweighted_folders_keep_their_place_among_the_verbs(chains, tmp_path):
    """check sends back to the samples; between answers one-sidedly and exactly; merge knows one draw."""
    reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2")
    reweight(chains / "OUT", tmp_path / "B", to=chains / "SYS2", expensive=3000, seed=4)
    assert_refused(["check", tmp_path / "A"], "reweighted from", str(chains / "OUT"))
    assert_refused(["merge", tmp_path / "A", tmp_path / "B", "-o", tmp_path / "C"], "one seed")
    result = between(chains / "OUT", tmp_path / "A", output=tmp_path / "b.json", n_bootstrap=100)
    exact = -np.log(torsion_integral(1000.0, 2.0) / torsion_integral(1000.0, 1.0))
    (estimate,) = result.estimates
    assert abs(estimate.value - exact) < 4 * estimate.standard_error < 0.05
    left_out = json.loads((tmp_path / "b.json").read_text())["left_out"]
    assert all("was reweighted" in why for why in left_out.values()) and left_out


def test_reweighting_twice_is_reweighting_once(chains, tmp_path):
    """A thinned ensemble at another temperature: ln Z of both steps, within its errors of the exact one."""
    reweight(chains / "OUT", tmp_path / "A", to=chains / "SYS2", expensive=5000)
    again = reweight(tmp_path / "A", tmp_path / "B", temperature=600.0)
    exact = EXACT[600.0][0] + np.log(torsion_integral(600.0, 2.0) / torsion_integral(600.0, 1.0))
    assert abs(again.summary.log_z - exact) < 4 * again.summary.log_z_standard_error < 0.3
    twice = reweight(tmp_path / "A", tmp_path / "C", to=chains / "SYS", expensive=4000, seed=9)
    assert abs(twice.summary.log_z - EXACT[1000.0][0]) < 4 * twice.summary.log_z_standard_error < 0.3
    assert twice.summary.rejected[NOT_EVALUATED] == 16_000
