"""Refinement against closed forms: a Gaussian flow and harmonic wells, butane's integrals, a real run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from butane import EXACT, write_butane
from gaussian_cases import DIMENSION, STIFFNESS, WIDTH, NoLatents, Walled, gaussian
from helpers import seeded
from scipy.optimize import brentq
from scipy.special import erf

from boltzgen.config.model import load_model
from boltzgen.ensemble.diagnostics import kish_ess, log_z
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.store import join_folders, load_ensemble, save_ensemble
from boltzgen.errors import InputError, StoppedError, UnsupportedError
from boltzgen.flows.coupling import CouplingFlow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.model_systems import DoubleWell, HarmonicWell
from boltzgen.refine.annealed import annealed_moves, one_of_each_family
from boltzgen.refine.draw import LARGEST_GROUP, NO_DESCENDANT, refined_draws
from boltzgen.refine.latent import LatentTarget
from boltzgen.refine.moves import langevin_move
from boltzgen.refine.refinement import Refinement, draw_refined, flow_log_weights
from boltzgen.refine.schedule import Schedule, pilot_schedule, systematic_rows
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.check import check
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train
from boltzgen_cli.main import main


def test_the_harness_is_the_wanted_target():
    """The closed form of the target, and ln w with its slope: w = exp(-k x^2/2) (2 pi s^2)^(d/2) ..."""
    target = gaussian()
    state = target.draw(50, generator=seeded(0))
    square = (state.positions**2).sum(1)
    expected = -0.5 * (STIFFNESS - WIDTH**-2) * square + 0.5 * DIMENSION * math.log(2 * math.pi * WIDTH**2)
    assert torch.allclose(state.log_w, expected, atol=1e-12)
    assert torch.allclose(state.gradient, (1 - STIFFNESS * WIDTH**2) * state.latents, atol=1e-12)
    assert target.energy_evaluations == 50


@pytest.mark.parametrize("exponent", (1.0, 2.0))
@pytest.mark.parametrize("resample_below", (0.0, 0.9))
def test_weights_are_proper_whatever_the_moves(exponent, resample_below):
    """E[W] and E[W |x|^2] for p (1) and p^2/q (2), Gaussians of precision m; errors of 8 % would be seen."""
    target, rng = gaussian(), seeded(7)
    schedule = Schedule((0.0, 0.2 * exponent, 0.5 * exponent, exponent), (0.9, 0.5, 0.4))
    start = target.draw(40_000, generator=rng)
    found = annealed_moves(target, start, schedule, generator=rng, resample_below=resample_below)
    m = exponent * STIFFNESS - (exponent - 1) * WIDTH**-2
    flow = 2 * math.pi * WIDTH**2
    constant = 0.5 * DIMENSION * ((exponent - 1) * math.log(flow) + math.log(2 * math.pi / m))
    if resample_below:
        assert len(found.ancestor.unique()) < len(start)
        found = one_of_each_family(found, generator=rng)
    ratio = (found.log_weights - constant).exp()
    error = float(ratio.std() / len(ratio) ** 0.5)
    assert error < 0.02
    assert abs(float(ratio.mean()) - 1) < 4 * error
    squares = ratio * (found.state.positions**2).sum(1) * m / DIMENSION
    error = float(squares.std() / len(ratio) ** 0.5)
    assert error < 0.02
    assert abs(float(squares.mean()) - 1) < 4 * error
    assert found.energy_evaluations == 3 * 40_000


def test_bad_rows_and_walls_end_nothing():
    """Rows without a finite energy weigh nothing, no move enters there, and Z is that of the slab."""
    target = gaussian(Walled(STIFFNESS, DIMENSION))
    schedule = pilot_schedule(target, moves=6, generator=seeded(3))
    before = target.energy_evaluations
    number = 32 * LARGEST_GROUP
    batches = list(refined_draws(target, number, schedule, method="mala", seed=3))
    ensemble = concatenate([batch.ensemble for batch in batches])
    dead = ~ensemble.valid
    assert set(ensemble.rejected()) == {"energy not finite"}
    assert dead.mean() == pytest.approx(1 - _slab(WIDTH), abs=0.03)
    assert target.energy_evaluations - before == number + 6 * int((~dead).sum())
    x = ensemble.positions[~dead, 0]
    assert Walled.LOW <= x.min() < x.max() <= Walled.HIGH
    value, error = log_z(ensemble.log_w)
    expected = HarmonicWell(STIFFNESS, DIMENSION).log_partition() + math.log(_slab(STIFFNESS**-0.5))
    assert error < 0.03
    assert abs(value - expected) < 4 * error
    assert np.concatenate([batch.drawn_log_w for batch in batches])[dead].max() == -np.inf


def _slab(width: float) -> float:
    """Probability of the slab between the walls under N(0, width^2)."""
    low, high = (erf(x / width / math.sqrt(2)) for x in (Walled.LOW, Walled.HIGH))
    return 0.5 * (high - low)


def test_the_base_distribution_alone_is_never_rejected():
    """With exponent 0 the motion is exact: acceptance 1 at a large step, radii kept, directions forgotten."""
    target = gaussian()
    state = target.draw(3000, generator=seeded(1))
    moved, acceptance = langevin_move(target, state, 0.0, 1.4, generator=seeded(2))
    assert acceptance == pytest.approx(1.0, abs=1e-12)
    assert float(moved.latents.var()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 9000))
    correlation = float((moved.latents * state.latents).mean())
    assert correlation == pytest.approx(math.cos(1.4), abs=4 / math.sqrt(9000))


def test_the_pilot_takes_steps_of_the_stated_size():
    """First exponent: ESS(b) = ((1 + 2 b a)^(1/2) / (1 + b a))^d = 0.9, a = k s^2 - 1; 256 draws: to 25 %."""
    schedule = pilot_schedule(gaussian(), generator=seeded(5))
    a = STIFFNESS * WIDTH**2 - 1
    exact = brentq(lambda b: (math.sqrt(1 + 2 * b * a) / (1 + b * a)) ** DIMENSION - 0.9, 1e-6, 0.5)
    assert schedule.exponents[1] == pytest.approx(exact, rel=0.25)
    assert schedule.exponents[-1] == 1.0
    half = schedule.resized(2 * schedule.moves)
    assert half.exponents[::2] == pytest.approx(schedule.exponents)
    assert half.moves == 2 * schedule.moves


def test_systematic_rows_come_floor_or_ceil_of_their_share():
    log_weights = torch.log(torch.tensor([0.0, 0.37, 0.13, 0.5, 0.0], dtype=torch.float64))
    counts = torch.zeros(5)
    for seed in range(200):
        rows = systematic_rows(log_weights, generator=seeded(seed)).bincount(minlength=5)
        assert bool(((rows - 5 * log_weights.exp()).abs() < 1).all())
        counts += rows
    assert torch.allclose(counts / 200, 5 * log_weights.exp().float(), atol=4 * 0.5 / math.sqrt(200))


def test_families_tell_the_true_error_of_ln_z():
    """Scatter of ln Z over 100 populations (known to 7 %) against the error that one row a family states.

    Rows as they are, after resampling, state less than two thirds of it: that is what families are for.
    """
    target, rng = gaussian(rows=200), seeded(11)
    schedule = Schedule((0.0, 0.15, 0.3, 0.5, 0.75, 1.0), (0.08,) * 5)
    values, families, rows = [], [], []
    for _ in range(100):
        start = target.draw(200, generator=rng)
        moved = annealed_moves(target, start, schedule, generator=rng, resample_below=0.999)
        chosen = one_of_each_family(moved, generator=rng)
        assert float(chosen.log_weights.logsumexp(0)) == pytest.approx(float(moved.log_weights.logsumexp(0)))
        assert kish_ess(chosen.log_weights) <= len(moved.ancestor.unique()) / 200
        value, error = log_z(chosen.log_weights)
        values.append(value)
        families.append(error)
        rows.append(log_z(moved.log_weights)[1])
    scatter = np.std(values)
    assert np.mean(families) == pytest.approx(scatter, rel=0.25)
    assert np.mean(rows) < 0.67 * scatter
    exact = HarmonicWell(STIFFNESS, DIMENSION).log_partition()
    assert np.log(np.mean(np.exp(np.array(values) - exact))) == pytest.approx(0, abs=4 * scatter / 100**0.5)


def test_smc_ensembles_hold_one_row_an_ancestor():
    target, number = gaussian(), LARGEST_GROUP + 200
    schedule = Schedule((0.0, 0.3, 1.0), (0.5, 0.5))
    parts = list(refined_draws(target, number, schedule, method="smc", seed=13))
    assert [len(part.ensemble) for part in parts] == [LARGEST_GROUP, 200]
    ensemble = concatenate([part.ensemble for part in parts])
    assert ensemble.rejected()[NO_DESCENDANT] == number - ensemble.valid.sum() > 0
    positions = ensemble.positions[ensemble.valid]
    assert len(np.unique(positions, axis=0)) == len(positions)
    assert ensemble.log_w[ensemble.valid] == pytest.approx(-(ensemble.u + ensemble.log_q)[ensemble.valid])


def test_effective_densities_serve_another_energy():
    """Weights for stiffness 5 from samples refined for 4: ln Z' within its error, below 0.03."""
    schedule = Schedule((0.0, 0.4, 1.0), (0.6, 0.5))
    batches = refined_draws(gaussian(), 16_000, schedule, method="mala", seed=17)
    ensemble = concatenate([batch.ensemble for batch in batches])
    value, error = log_z(-1.25 * ensemble.u - ensemble.log_q)
    assert error < 0.03
    assert abs(value - HarmonicWell(1.25 * STIFFNESS, DIMENSION).log_partition()) < 4 * error


@pytest.mark.parametrize("method", ("smc", "mala"))
def test_fewer_refined_samples_are_the_first_of_more(method):
    """Their weights stay proper: E[W] of the first 100 rows of 200 groups; errors of 8 % would be seen."""
    target, schedule = gaussian(), Schedule((0.0, 0.3, 1.0), (0.5, 0.5))

    def drawn(number: int, seed: int = 5) -> Ensemble:
        parts = refined_draws(target, number, schedule, method=method, seed=seed)
        return concatenate([part.ensemble for part in parts])

    whole = drawn(LARGEST_GROUP + 300)
    for number in (1, 100, LARGEST_GROUP, LARGEST_GROUP + 1):
        first = drawn(number)
        for name in ("positions", "log_q", "u", "log_w", "reason"):
            assert np.array_equal(getattr(first, name), getattr(whole, name)[:number])
    exact = HarmonicWell(STIFFNESS, DIMENSION).log_partition()
    ratio = np.exp([drawn(100, seed).log_w - exact for seed in range(200)]).mean(axis=1)
    error = ratio.std() / 200**0.5
    assert error < 0.02 and abs(ratio.mean() - 1) < 4 * error


def test_a_stop_keeps_the_groups_that_are_whole():
    """The first group is finished in any case; another that is stopped between two moves is thrown away."""
    target, stop = gaussian(), StopRequest()
    parts = refined_draws(target, 900, Schedule.even(1.0, 2), method="smc", seed=4, stop=stop)
    assert len(next(parts).ensemble) == LARGEST_GROUP
    stop.ask()
    with pytest.raises(StoppedError, match="after 0 of 2 moves"):
        next(parts)

    def drawn(stop: StopRequest | None, groups: int) -> Ensemble:
        def progress(done: int, total: int | None, values=None) -> None:
            if stop is not None and done >= groups * LARGEST_GROUP:
                stop.ask()

        how, number = Refinement("smc", 3), 3 * LARGEST_GROUP
        found, log_w = draw_refined(
            target.generator, how, number, 300.0, seed=4, stop=stop, progress=progress
        )
        assert len(log_w) == len(found) == found.provenance["requested"]
        return found

    whole, asked = drawn(None, 0), StopRequest()
    asked.ask()
    for found, groups in ((drawn(asked, 0), 1), (drawn(StopRequest(), 2), 2)):
        assert np.array_equal(found.log_w, whole.log_w[: groups * LARGEST_GROUP])


@pytest.mark.parametrize("method", ("smc", "mala"))
def test_butane_on_its_circle(method, tmp_path):
    """An untrained flow, torsion uniform on the circle: ln Z to 0.1, and fewer weights wasted than before."""
    xml, pdb = write_butane(tmp_path)
    prepare(xml, tmp_path / "SYS", coordinates=pdb)
    system = Target.from_system(MolecularSystem.load(tmp_path / "SYS"))
    torch.manual_seed(0)
    flow = CouplingFlow(system.features.tokens.shape[1], layers=2, hidden=8, bins=4).double()
    target = LatentTarget(BoltzmannGenerator(flow, system), 300.0)
    schedule = pilot_schedule(target, moves=6, generator=seeded(19))
    parts = list(refined_draws(target, 1500, schedule, method=method, seed=19))
    ensemble = concatenate([part.ensemble for part in parts])
    value, error = log_z(ensemble.log_w)
    assert error < 0.04
    assert abs(value - EXACT[300.0][0]) < 4 * error
    assert kish_ess(ensemble.log_w) > kish_ess(np.concatenate([part.drawn_log_w for part in parts]))


def test_what_cannot_be_refined_says_so():
    target = Target.from_model("double-well")
    with pytest.raises(UnsupportedError, match="latent space"):
        LatentTarget(BoltzmannGenerator(NoLatents(), target), 300.0)
    with pytest.raises(InputError, match="rise from 0"):
        Schedule((0.0, 0.5, 0.5), (0.1, 0.1))
    with pytest.raises(InputError, match="step sizes"):
        Schedule((0.0, 0.5), (2.0,))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """RUN, a barely trained double well, and OUT, PLAIN and REFINED from it."""
    folder = tmp_path_factory.mktemp("refined")
    (folder / "train.yaml").write_text(
        "system: model:double-well\nflow: {kind: coupling, layers: 2, hidden: 8, bins: 4}\n"
        "reverse_kl: {weight: 1.0, batch_size: 16}\noptimizer: {steps: 10}\n"
        "evaluation: {every: 10, samples: 40}\n"
    )
    train(folder / "train.yaml", [], folder / "RUN")
    sample(folder / "RUN", "model:double-well", folder / "PLAIN", 400, seed=1)
    return folder


@pytest.mark.parametrize("method", ("smc", "mala"))
def test_the_command_refines_and_the_others_understand(runs, method, capsys):
    out = runs / method
    words = ["sample", str(runs / "RUN"), "model:double-well", "-o", str(out), "-n", "600", "--seed", "2"]
    assert main([*words, "--refine", method, "--refine-budget", "12", "--batch-size", "300"]) == 0
    assert "effective samples per evaluation" in capsys.readouterr().err
    found = json.loads((out / "summary.json").read_text())
    (record,) = found["refined"]
    assert (record["method"], record["moves"], len(record["acceptance"])) == (method, 12, 12)
    assert found["energy_evaluations"] == record["pilot_evaluations"] + 2 * LARGEST_GROUP * 13  # whole groups
    assert record["ess_after"] == pytest.approx(found["ess"])
    assert found["ess"] > 1.5 * record["ess_before"]
    exact = DoubleWell().log_partition()
    assert found["log_z_standard_error"] < 0.25
    assert abs(found["log_z"] - exact) < 4 * found["log_z_standard_error"]
    reasons = " ".join(check(out).summary.reasons)
    assert "recomputed" not in reasons and "copies" not in reasons
    save_ensemble(join_folders([runs / "PLAIN", out])[0], runs / f"{method}-merged")
    merged = check(runs / f"{method}-merged")
    assert list(merged.summary.refined) == found["refined"]
    assert "recomputed" not in " ".join(merged.summary.reasons)


def test_changed_energies_of_refined_samples_are_found(runs):
    ensemble = sample_refined(runs)
    off = replace(ensemble, u=ensemble.u + 0.5, log_q=ensemble.log_q - 0.5)
    save_ensemble(off, runs / "OFF")
    assert any("energy" in reason for reason in check(runs / "OFF").summary.reasons)
    assert flow_log_weights(load_generator(runs), ensemble, 300.0, seed=0) is not ensemble.log_w


def sample_refined(runs) -> Ensemble:
    sample(runs / "RUN", "model:double-well", runs / "ON", 300, seed=5, refine="mala", refine_budget=3)
    return load_ensemble(runs / "ON")


def load_generator(runs) -> BoltzmannGenerator:
    return BoltzmannGenerator(load_model(runs / "RUN").flow.double(), Target.from_model("double-well"))


def test_options_that_cannot_be_used(runs):
    with pytest.raises(InputError, match='`refine="smc"` or `refine="mala"`'):
        sample(runs / "RUN", "model:double-well", runs / "NO", 10, refine_budget=3)
    with pytest.raises(InputError, match="`refine='hmc'` is not known"):
        sample(runs / "RUN", "model:double-well", runs / "NO", 10, refine="hmc")
    with pytest.raises(InputError, match="at least one move"):
        sample(runs / "RUN", "model:double-well", runs / "NO", 10, refine="smc", refine_budget=0)
