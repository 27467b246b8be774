"""Ends of free-energy differences with exact answers: an untrained flow on model systems and on butane.

An untrained flow draws from its base: a normal density of width 2 for model systems, the harmonic bonds and
angles of the force field and a uniform torsion for molecules. That covers what is needed here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from butane import ANGLE, ANGLE_CONSTANT, BOND_CONSTANT, BOND_LENGTH, OPLS_TORSION
from small_model import MODEL

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.data.trajectory import Trajectory, write_trajectory
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.sampling.sample import sample


def untrained_model(folder: Path, *, data_sha256: tuple[str, ...] = ()) -> Path:
    """A model folder with fresh weights."""
    settings = CouplingSettings(layers=2, hidden=16)
    record = {**MODEL, "flow": settings.model_dump(mode="json"), "data_sha256": list(data_sha256)}
    save_model(folder, build_flow(settings, seed=1), record)
    return folder


def write_chains(folder: Path, butane: MolecularSystem, *, samples: int, simulated: tuple[int, ...]) -> Path:
    """SYS of butane, O300 and O600 by an untrained flow, and MD folders with exact independent frames."""
    butane.save(folder / "SYS")
    model, rng = untrained_model(folder / "MODEL"), np.random.default_rng(11)
    for kelvin in (300, 600):
        sample(model, folder / "SYS", folder / f"O{kelvin}", samples, seed=1, temperature=kelvin)
    for kelvin in simulated:
        write_frames(folder / f"MD{kelvin}", butane_frames(2000, kelvin, rng), kelvin, butane.fingerprint)
    return folder


def butane_frames(number: int, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Independent conformations (number, 4, 3) nm of the bonded-only butane, drawn exactly.

    Its bonds, angles and torsion are independent under ``b^2 sin(theta) e^{-U/kT}``; each is drawn from
    its tabulated distribution.
    """
    beta = 1.0 / (GAS_CONSTANT * temperature)
    v1, v2, v3 = (value * 4.184 for value in OPLS_TORSION)

    def drawn(grid: np.ndarray, log_density: np.ndarray) -> np.ndarray:
        density = np.exp(log_density - log_density.max())
        share = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
        return np.interp(rng.random(number) * share[-1], share, grid)

    r = np.linspace(BOND_LENGTH - 0.06, BOND_LENGTH + 0.06, 4001)
    theta = np.linspace(1e-6, np.pi - 1e-6, 4001)
    phi = np.linspace(-np.pi, np.pi, 4001)
    bonds = [drawn(r, 2 * np.log(r) - beta * BOND_CONSTANT * (r - BOND_LENGTH) ** 2 / 2) for _ in range(3)]
    angles = [
        drawn(theta, np.log(np.sin(theta)) - beta * ANGLE_CONSTANT * (theta - ANGLE) ** 2 / 2)
        for _ in range(2)
    ]
    torsion = v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))
    turn = drawn(phi, -beta * torsion / 2)
    x = np.zeros((number, 4, 3))
    x[:, 0, 0], x[:, 0, 1] = bonds[0] * np.cos(angles[0]), bonds[0] * np.sin(angles[0])
    x[:, 2, 0] = bonds[1]
    radius = bonds[2] * np.sin(angles[1])
    x[:, 3, 0] = bonds[1] - bonds[2] * np.cos(angles[1])
    x[:, 3, 1], x[:, 3, 2] = radius * np.cos(turn), radius * np.sin(turn)
    return x


def write_frames(folder: Path, positions: np.ndarray, temperature: float, fingerprint: str) -> Trajectory:
    """An MD folder with `positions` as its frames; returns what it holds."""
    n = len(positions)
    trajectory = Trajectory(
        positions.astype(np.float32), np.full(n, np.nan), np.full(n, temperature), np.zeros(n), fingerprint
    )
    write_trajectory(folder, trajectory)
    return trajectory
