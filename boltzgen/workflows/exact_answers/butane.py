"""Rows of ``selftest`` on bonded-only butane: Jacobian, units, kT, temperature and states at once.

Four united atoms without nonbonded terms (``boltzgen/examples/butane``). Its partition function over
the shape measure is a product: ``Z = (int r^2 e^-u dr)^3 (int sin(theta) e^-u dtheta)^2 int e^-u dphi``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mdtraj
import numpy as np
import torch

from boltzgen.config.build import build_flow
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config
from boltzgen.coordinates import InternalCoordinates
from boltzgen.free_energy import log_partition, read_states, state_free_energies
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.variables import read_topology
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings
from boltzgen.units import thermal_energy
from boltzgen.workflows.exact_answers.rows import REPLICATES, Row
from boltzgen.workflows.free_energy.states import free_energy_states
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train

BUTANE = Path(__file__).resolve().parents[2] / "examples" / "butane"

#: T in K -> ln Z_int (lengths in nm), F(gauche) - F(trans) in kT.
EXACT = {300.0: (-28.32105763, 0.52898), 600.0: (-26.19161132, -0.05723), 1000.0: (-24.72329783, -0.30517)}

#: Centre (nm, rad) and force constant (kJ/mol/nm^2, kJ/mol/rad^2) of bonds and angles.
HARMONIC_TERMS = {"bond": (0.1529, 224262.4), "angle": (np.deg2rad(112.7), 488.273)}

#: Width of the proposals over that of their terms: weights are bounded, ESS 97 % without the torsion.
_WIDER = 1.1


@contextmanager
def prepared_butane() -> Iterator[Path]:
    """A temporary folder with the prepared molecule in ``SYS``."""
    with tempfile.TemporaryDirectory(prefix="boltzgen-selftest-") as folder:
        prepare(BUTANE / "system.xml", Path(folder) / "SYS", coordinates=BUTANE / "butane.pdb")
        yield Path(folder)


def butane_from_its_terms(n: int, rng: np.random.Generator) -> list[Row]:
    """Bonds and angles drawn from normals around their terms, the torsion uniformly; no flow at all."""
    with prepared_butane() as folder:
        system = MolecularSystem.load(folder / "SYS")
        rows = []
        for temperature in EXACT:
            positions, log_q = draw_from_terms(system, temperature, n, rng)
            energy = potential_of(system).energy(torch.as_tensor(positions)).numpy()
            log_w = -energy / thermal_energy(temperature) - log_q
            rows += _rows("butane drawn", temperature, log_w, positions, system.topology_pdb, rng)
    return rows


def draw_from_terms(
    system: MolecularSystem, temperature: float, n: int, rng: np.random.Generator, *, wider: float = _WIDER
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 4, 3) nm and their log density (n,) in the shape measure, by `InternalCoordinates`.

    wider: standard deviation of bonds and angles over sqrt(kT/k).
    """
    coordinates = InternalCoordinates(system)
    values, log_q = np.empty((n, coordinates.dimension)), np.full(n, -np.log(2 * np.pi))
    for column, kind in enumerate(coordinates.table.kind):
        if kind == "torsion":
            values[:, column] = rng.uniform(-np.pi, np.pi, n)
            continue
        centre, constant = HARMONIC_TERMS[kind]
        width = wider * np.sqrt(thermal_energy(temperature) / constant)
        step = rng.standard_normal(n)
        values[:, column] = centre + width * step
        log_q -= 0.5 * step**2 + np.log(width * np.sqrt(2 * np.pi))
    positions, log_det = coordinates.decode(torch.as_tensor(values))
    return positions.numpy(), log_q - log_det.numpy()


def butane_untrained(n: int, rng: np.random.Generator) -> list[Row]:
    """The shipped configuration's flow before training: its base alone must give exact answers."""
    with prepared_butane() as folder:
        target = Target.from_system(MolecularSystem.load(folder / "SYS"))
    settings = load_settings(TrainingSettings, find_config("butane"))
    generator = BoltzmannGenerator(build_flow(settings.flow, seed=0).double(), target)
    rows = []
    for temperature in EXACT:
        drawn = generator.sample(n // 4, temperature, seed=int(rng.integers(2**31)))
        rows += _rows("butane fresh", temperature, drawn.log_w, drawn.positions, target.topology_pdb, rng)
    return rows


def butane_trained(n: int, rng: np.random.Generator) -> list[Row]:
    """prepare, train, sample and free-energy states, as at the terminal; ten-odd seconds of training."""
    rows = []
    number, seed = min(n, 60_000), int(rng.integers(2**31))
    with prepared_butane() as folder:
        words = [f"system={folder / 'SYS'}", "optimizer.steps=250", "evaluation.every=250"]
        train("butane", words, folder / "RUN")
        for temperature, (log_z, difference) in EXACT.items():
            out = folder / f"OUT-{temperature:g}"
            found = sample(folder / "RUN", folder / "SYS", out, number, temperature=temperature, seed=seed)
            states = free_energy_states(out, BUTANE / "states.yaml").estimates[0]
            name = f"butane trained {temperature:g} K"
            rows += [
                Row(name, "ln Z", "SNIS", log_z, found.log_z, found.log_z_standard_error, "1", number),
                Row.of(name, "F_g - F_t", difference, states),
            ]
    return rows


def _rows(
    what: str,
    temperature: float,
    log_w: np.ndarray,
    positions: np.ndarray,
    topology_pdb: str,
    rng: np.random.Generator,
) -> list[Row]:
    """ln Z, and the difference of the shipped states file, with plain and with smoothed weights."""
    log_z, exact = EXACT[temperature]
    topology: mdtraj.Topology = read_topology(topology_pdb, n_atoms=4)
    states = read_states(BUTANE / "states.yaml", topology)
    masks, name = states.masks(positions), f"{what} {temperature:g} K"
    rows = [Row.of(name, "ln Z", log_z, log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)))]
    for smoothed in (False, True):
        found = state_free_energies(
            log_w, masks, states.differences, Statistics(rng, n_bootstrap=REPLICATES, smoothed=smoothed)
        )
        rows.append(Row.of(name, "F_g - F_t", exact, found[0]))
    return rows
