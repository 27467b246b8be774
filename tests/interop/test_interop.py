"""Our potentials in ASE and OpenMM, and bgflow's words for ours and ours for bgflow's."""

from __future__ import annotations

import copy
import importlib.util
import math
import sys
from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch
from butane import ANGLE, ANGLE_CONSTANT, BOND_CONSTANT, BOND_LENGTH, EXACT
from openmm import unit

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.diagnostics import log_z
from boltzgen.errors import InputError, MissingExtraError, UnsupportedError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interop import bgflow as bridge_to_bgflow
from boltzgen.interop.ase_calculator import ase_atoms, ase_calculator
from boltzgen.interop.bgflow import (
    BgflowCoordinates,
    BgflowFlow,
    bgflow_energy,
    bgflow_flow,
    bgflow_prior,
)
from boltzgen.interop.openmm_force import openmm_force, openmm_system
from boltzgen.potentials.base import Potential
from boltzgen.potentials.from_openmm.reference import reference_energies
from boltzgen.potentials.of_system import potential_of
from boltzgen.units import GAS_CONSTANT

#: CODATA 2018: kJ/mol in one eV.
ELECTRONVOLT = 96.48533212331

#: Free energy -ln Z is known exactly: 10.293479707 for x^4 - 6x^2 - x/2 + y^2/2.
DOUBLE_WELL_LOG_Z = 10.293479707


@pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="ASE is an extra and not installed")
class TestASE:
    def test_energy_and_forces_are_openmm_s_in_ase_units(self, alanine_dipeptide):
        atoms = ase_atoms(alanine_dipeptide)
        atoms.positions += np.random.default_rng(2).normal(scale=0.05, size=(22, 3))
        energy, force = reference_energies(alanine_dipeptide.openmm_system(), atoms.positions[None] / 10)
        assert atoms.get_potential_energy() == pytest.approx(energy[0] / ELECTRONVOLT, rel=1e-9)
        assert np.abs(atoms.get_forces() - force[0] / ELECTRONVOLT / 10).max() < 1e-6
        assert atoms.get_masses().tolist() == alanine_dipeptide.masses.tolist()
        found = atoms.get_forces()[7, 1]
        energies = []
        for shift in (1e-4, -2e-4):  # Angstrom
            atoms.positions[7, 1] += shift
            energies.append(atoms.get_potential_energy())
        assert (energies[1] - energies[0]) / 2e-4 == pytest.approx(found, rel=1e-5)

    def test_an_optimiser_of_ase_finds_a_minimum(self, alanine_dipeptide):
        from ase.optimize import BFGS

        atoms = ase_atoms(alanine_dipeptide)
        before = atoms.get_potential_energy()
        assert BFGS(atoms, logfile=None).run(fmax=0.05, steps=300)
        assert atoms.get_potential_energy() < before
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.05

    def test_what_it_refuses(self, alanine_dipeptide, butane, monkeypatch):
        from ase.calculators.calculator import CalculationFailed

        atoms = ase_atoms(alanine_dipeptide)
        atoms.positions[3] = np.nan
        with pytest.raises(CalculationFailed, match="not finite"):
            atoms.get_potential_energy()
        atoms.pbc = True
        with pytest.raises(UnsupportedError, match="without a box"):
            atoms.get_potential_energy()
        atoms = ase_atoms(alanine_dipeptide)[:5]
        atoms.calc = ase_calculator(potential_of(alanine_dipeptide))
        with pytest.raises(InputError, match="22, 3"):
            atoms.get_potential_energy()
        with pytest.raises(InputError, match="united atoms"):
            ase_atoms(butane)
        with pytest.raises(UnsupportedError, match="model system"):
            ase_calculator(Target.from_model("double-well").potential)
        monkeypatch.setitem(sys.modules, "ase.calculators.calculator", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'boltzgen-sampler\[qm\]'"):
            ase_atoms(alanine_dipeptide)


def trajectory(system: openmm.System, positions: np.ndarray, steps: int = 60):
    """Positions (steps, N, 3) nm and total energies (steps,) kJ/mol at constant energy, from 300 K."""
    integrator = openmm.VerletIntegrator(0.0005 * unit.picoseconds)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300.0, 5)
    frames, energies = [], []
    for _ in range(steps):
        integrator.step(2)
        state = context.getState(positions=True, energy=True)
        frames.append(state.getPositions(asNumpy=True)._value)
        energies.append((state.getPotentialEnergy() + state.getKineticEnergy())._value)
    return np.array(frames), np.array(energies)


@pytest.mark.skipif(not hasattr(openmm, "PythonForce"), reason="this OpenMM has no PythonForce")
class TestOpenMM:
    def test_a_run_at_constant_energy_is_that_of_the_original_system(self, alanine_dipeptide):
        start = alanine_dipeptide.reference_positions
        expected, expected_energy = trajectory(alanine_dipeptide.openmm_system(), start)
        found, energy = trajectory(openmm_system(alanine_dipeptide), start)
        assert np.abs(found[-1] - start).max() > 0.005  # it moved
        assert np.abs(found - expected).max() < 1e-7
        assert np.abs(energy - expected_energy).max() < 1e-4
        assert np.ptp(energy) < 2.0  # kJ/mol: the ripple of Verlet at 0.5 fs, the original's too
        assert np.ptp(energy[::10]) == pytest.approx(np.ptp(expected_energy[::10]), abs=1e-3)

    def test_it_is_never_written_to_a_file(self, butane):
        system = openmm_system(butane)
        for write in (openmm.XmlSerializer.serialize, copy.deepcopy):
            with pytest.raises(openmm.OpenMMException, match="could not be pickled"):
                write(system)

    def test_what_it_refuses(self, monkeypatch):
        model = Target.from_model("double-well").potential
        with pytest.raises(UnsupportedError, match="model system"):
            openmm_force(model)
        monkeypatch.delattr(openmm, "PythonForce")
        model.energy_unit = "kJ/mol"
        with pytest.raises(InputError, match="install OpenMM"):
            openmm_force(model)


FLOW = CouplingSettings(layers=2, hidden=16, bins=4, embedding=8, encoder_blocks=0)


@pytest.fixture(scope="module")
def butane_generator(butane) -> BoltzmannGenerator:
    """An untrained flow of butane."""
    return BoltzmannGenerator(build_flow(FLOW, seed=2).to(torch.float64), Target.from_system(butane))


def test_without_bgflow_the_error_says_where_it_is(monkeypatch, butane):
    bridge_to_bgflow._classes.cache_clear()
    monkeypatch.setitem(sys.modules, "bgflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install einops git\+https://github\.com/noegroup"):
        bgflow_energy(Target.from_system(butane), 300.0)


@pytest.mark.skipif(
    importlib.util.find_spec("bgflow") is None,
    reason="bgflow is not on the package index, nor installed here",
)
class TestBgflow:
    def test_energies_are_in_kt_at_any_relative_temperature(self, alanine_dipeptide):
        target = Target.from_system(alanine_dipeptide)
        energy = bgflow_energy(target, 300.0)
        x = target.reference + 0.01 * torch.randn(5, 22, 3, dtype=torch.float64)
        expected, force = reference_energies(alanine_dipeptide.openmm_system(), x.numpy())
        assert tuple(energy.event_shape) == (66,)
        kt = GAS_CONSTANT * 300.0
        np.testing.assert_allclose(energy.energy(x.flatten(1)).numpy()[:, 0], expected / kt, rtol=1e-7)
        hot = energy.energy(x.flatten(1), temperature=2.0)
        np.testing.assert_allclose(hot.numpy()[:, 0], expected / (2 * kt), rtol=1e-7)
        found = energy.force(x.flatten(1)).detach().numpy().reshape(5, 22, 3)
        np.testing.assert_allclose(found, force / kt, rtol=1e-6, atol=1e-4)

    @pytest.mark.parametrize("temperature", [300.0, 600.0])
    def test_its_boltzmann_generator_has_our_weights(self, butane_generator, temperature):
        """The temperature is given here for one half, relative to that for the other."""
        bgflow = bridge_to_bgflow.import_bgflow()
        parts = [make(butane_generator, 300.0) for make in (bgflow_prior, bgflow_flow)]
        theirs = bgflow.BoltzmannGenerator(*parts, bgflow_energy(butane_generator.target, 300.0))
        x, z, log_w = theirs.sample(
            300, temperature=temperature / 300.0, with_latent=True, with_log_weights=True
        )
        positions = x.reshape(-1, 4, 3)
        log_q, reasons = butane_generator.log_prob(positions.detach(), temperature)
        inside = torch.from_numpy(reasons == "")
        u = butane_generator.target.reduced_energy(positions, temperature)
        assert inside.sum() > 200
        assert torch.allclose((-u - log_q)[inside], log_w[inside, 0], atol=1e-6)
        again = theirs.energy(x, temperature=temperature / 300.0)[:, 0]
        assert torch.allclose(again[inside], -log_q[inside], atol=1e-6)
        assert torch.allclose(
            parts[1](x, inverse=True, temperature=temperature / 300.0)[0][inside], z[inside], atol=1e-5
        )

    def test_its_estimate_of_butane_s_partition_function_is_exact(self, butane_generator):
        bgflow = bridge_to_bgflow.import_bgflow()
        theirs = bgflow.BoltzmannGenerator(
            bgflow_prior(butane_generator, 300.0),
            bgflow_flow(butane_generator, 300.0),
            bgflow_energy(butane_generator.target, 300.0),
        )
        with torch.no_grad():
            _, log_w = theirs.sample(20_000, with_log_weights=True)
        value, error = log_z(log_w[:, 0].numpy())
        assert error < 0.05 and abs(value - EXACT[300.0][0]) < 4 * error

    def test_positions_outside_the_domain_have_no_density(self, alanine_dipeptide):
        target = Target.from_system(alanine_dipeptide)
        generator = BoltzmannGenerator(build_flow(FLOW, seed=2).to(torch.float64), target)
        mirrored = target.reference * torch.tensor([1.0, 1.0, -1.0])
        both = torch.cat([target.reference, mirrored]).flatten(1)
        log_det = bgflow_flow(generator, 300.0)(both, inverse=True)[1]
        assert torch.isfinite(log_det[0]) and log_det[1] == -torch.inf

    def coupling(self) -> BgflowFlow:
        """Affine coupling layers of bgflow, random, over the two coordinates of the double well."""
        bgflow = bridge_to_bgflow.import_bgflow()
        blocks = []
        for _ in range(3):
            nets = [bgflow.DenseNet([1, 16, 1], activation=torch.nn.Tanh()) for _ in range(2)]
            transformer = bgflow.AffineTransformer(*nets, init_downscale=0.0)
            layer = [bgflow.SplitFlow(1), bgflow.CouplingFlow(transformer), bgflow.SwapFlow()]
            blocks += [*layer, bgflow.MergeFlow(1)]
        flow = bgflow.SequentialFlow(blocks).to(torch.float64)
        prior = bgflow.NormalDistribution(2, mean=torch.zeros(2).double(), cov=3.0 * torch.eye(2).double())
        return BgflowFlow(flow, prior, 2)

    def test_its_flow_is_a_normalised_density_of_ours(self):
        flow = self.coupling()
        target = Target.from_model("double-well")
        axis = torch.linspace(-25.0, 25.0, 701, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        with torch.no_grad():
            density = flow.log_prob(grid, flow.embed(Context.of(target.features, 300.0, len(grid))))
        assert density.dtype == torch.float64
        assert float(density.exp().sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1.0, abs=1e-3)

    def test_its_flow_samples_with_exact_weights(self):
        flow = self.coupling()
        generator = BoltzmannGenerator(flow, Target.from_model("double-well"))
        state = torch.get_rng_state()
        ensemble = generator.sample(40_000, 300.0, seed=5)
        assert torch.equal(torch.get_rng_state(), state)
        again = generator.sample(40_000, 300.0, seed=5)
        assert np.array_equal(ensemble.log_q, again.log_q)
        some = torch.as_tensor(np.array(ensemble.positions[:500]), dtype=torch.float64)
        log_q, _ = generator.log_prob(some, 300.0)
        np.testing.assert_allclose(log_q.numpy(), ensemble.log_q[:500], atol=1e-3)  # positions are float32
        value, error = log_z(ensemble.log_w)
        assert error < 0.1 and abs(value - DOUBLE_WELL_LOG_Z) < 4 * error

    def test_flows_that_do_not_fit_are_refused(self, butane_generator, monkeypatch):
        bgflow = bridge_to_bgflow.import_bgflow()
        flow = self.coupling()
        with pytest.raises(InputError, match="2 coordinates"):
            flow.embed(Context.of(butane_generator.target.features, 300.0, 3))
        flow.flow = bgflow.SplitFlow(1)
        with pytest.raises(InputError, match="MergeFlow"):
            flow.decode(torch.zeros(3, 2, dtype=torch.float64), 3)
        with pytest.raises(UnsupportedError, match="no latent space"):
            bgflow_flow(BoltzmannGenerator(Potential, butane_generator.target), 300.0)


def z_matrix(coordinates: InternalCoordinates) -> np.ndarray:
    """Our tree as bgflow writes one: an atom, then what its bond, angle and torsion are counted from."""
    places = coordinates.placements
    start = [places[0].atom, places[1].atom]
    if places[2].c == start[0]:  # bgflow's third atom hangs on the second
        start.reverse()
    head = [[start[0], -1, -1, -1], [start[1], start[0], -1, -1], [places[2].atom, *start[::-1], -1]]
    return np.array(head + [[place.atom, place.c, place.p, place.g] for place in places[3:]])


@pytest.mark.skipif(
    importlib.util.find_spec("bgflow") is None,
    reason="bgflow is not on the package index, nor installed here",
)
@pytest.mark.parametrize("normalised", [True, False])
class TestBgflowCoordinates:
    def transformation(self, coordinates: InternalCoordinates, normalised: bool):
        bgflow = bridge_to_bgflow.import_bgflow()
        return bgflow.GlobalInternalCoordinateTransformation(
            z_matrix(coordinates), normalize_angles=normalised, raise_warnings=False
        )

    def test_they_have_our_measure(self, alanine_dipeptide, normalised):
        ours = InternalCoordinates(alanine_dipeptide)
        theirs = BgflowCoordinates(self.transformation(ours, normalised), ours)
        x = torch.tensor(alanine_dipeptide.reference_positions)
        x = x + 0.01 * torch.randn(20, 22, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        values, log_det = theirs.encode(x)
        # the same bonds, angles and torsions as ours, but for the units of angles and torsions
        units = 20 * math.log(math.pi) + 19 * math.log(2 * math.pi) if normalised else 0.0
        assert values.shape == (20, 60) and theirs.dimension == ours.dimension
        np.testing.assert_allclose(log_det + units, ours.encode(x)[1], atol=1e-8)
        lower, upper = torch.tensor(theirs.table.lower), torch.tensor(theirs.table.upper)
        assert ((lower <= values) & (values <= upper)).all()
        back, inverse = theirs.decode(values)
        np.testing.assert_allclose(inverse, -log_det, atol=1e-6)
        np.testing.assert_allclose(torch.pdist(back[0]), torch.pdist(x[0]), atol=1e-7)
        assert theirs.inside(back).all() and not theirs.inside(back * torch.tensor([1.0, 1.0, -1.0])).any()

    def test_the_table_names_what_a_column_is(self, alanine_dipeptide, normalised):
        ours = InternalCoordinates(alanine_dipeptide)
        table = BgflowCoordinates(self.transformation(ours, normalised), ours).table
        x = alanine_dipeptide.reference_positions
        for row in (0, 1, 5, 20):
            first, second = table.atoms[row, :2]
            assert table.reference[row] == pytest.approx(np.linalg.norm(x[first] - x[second]))
        for row in (21, 30):
            first, apex, last = x[table.atoms[row, :3]]
            one, two = first - apex, last - apex
            angle = np.arccos(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
            assert table.reference[row] == pytest.approx(angle / np.pi if normalised else angle)
        assert table.kind == ("bond",) * 21 + ("angle",) * 20 + ("torsion",) * 19
        assert table.circular.sum() == (0 if normalised else 19)

    def test_the_place_in_space_changes_nothing_and_bad_rows_stay_alone(self, butane, normalised):
        ours = InternalCoordinates(butane)
        theirs = BgflowCoordinates(self.transformation(ours, normalised), ours)
        x = torch.tensor(butane.reference_positions)
        along_z = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=x.dtype)
        axis = x[ours.placements[1].atom] - x[ours.placements[0].atom]
        first = axis / axis.norm()
        second = torch.linalg.cross(first, torch.tensor([0.3, 0.5, 0.8], dtype=x.dtype))
        second = second / second.norm()
        frame = torch.stack([first, second, torch.linalg.cross(first, second)])
        turned = (x @ frame.T) @ along_z.T + 5.0
        bad = torch.full_like(x, torch.nan)
        values, log_det = theirs.encode(torch.stack([x, bad, x[:1].expand(4, 3), turned]))
        np.testing.assert_allclose(values[3], values[0], atol=1e-9)
        np.testing.assert_allclose(log_det[3], log_det[0], atol=1e-8)
        for rows in (1, 2, 3):
            part = theirs.encode(torch.stack([x, bad, turned][:rows]))
            np.testing.assert_allclose(part[0][0], values[0], atol=1e-12)
            np.testing.assert_allclose(part[1][0], log_det[0], atol=1e-12)
        assert not torch.isfinite(values[1]).all()

    def test_a_flow_over_them_finds_butane_s_partition_function(self, butane, normalised):
        bgflow = bridge_to_bgflow.import_bgflow()
        target = Target.from_system(butane)
        ours = target.coordinates
        target = replace(target, coordinates=BgflowCoordinates(self.transformation(ours, normalised), ours))
        kt, (half, turn) = GAS_CONSTANT * 300.0, (np.pi, 2 * np.pi) if normalised else (1.0, 1.0)
        mean = torch.tensor([BOND_LENGTH] * 3 + [ANGLE / half] * 2, dtype=torch.float64)
        width = [(kt / BOND_CONSTANT) ** 0.5] * 3 + [(kt / ANGLE_CONSTANT) ** 0.5 / half] * 2
        prior = bgflow.NormalDistribution(6, mean=torch.zeros(6).double(), cov=torch.eye(6).double())

        class Affine(bgflow.Flow):
            """Thermal bonds and angles, and a torsion that is uniform over the turn."""

            scale = torch.tensor(width, dtype=torch.float64)
            low = 0.0 if normalised else -np.pi

            def _forward(self, z, **_):
                part = torch.special.ndtr(z[:, 5:])
                density = -0.5 * z[:, 5:] ** 2 - 0.5 * math.log(2 * math.pi) + math.log(2 * np.pi / turn)
                out = torch.cat([mean + self.scale * z[:, :5], self.low + part * (2 * np.pi / turn)], 1)
                return out, density + self.scale.log().sum()

        generator = BoltzmannGenerator(BgflowFlow(Affine(), prior, 6), target)
        value, error = log_z(generator.sample(20_000, 300.0, seed=4).log_w)
        assert error < 0.02 and abs(value - EXACT[300.0][0]) < 4 * error

    def test_what_it_refuses(self, alanine_dipeptide, butane, normalised):
        bgflow = bridge_to_bgflow.import_bgflow()
        ours = InternalCoordinates(alanine_dipeptide)
        relative = bgflow.RelativeInternalCoordinateTransformation(z_matrix(ours)[3:], z_matrix(ours)[:3, 0])
        with pytest.raises(UnsupportedError, match="keeps Cartesian"):
            BgflowCoordinates(relative, ours)
        with pytest.raises(InputError, match="4 atoms"):
            BgflowCoordinates(self.transformation(ours, normalised), InternalCoordinates(butane))
