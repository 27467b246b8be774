"""Conformations of alanine dipeptide and their GFN2-xTB labels, for ``train_xtb_ala2_small.py``.

A pool is one file, ``NAME.npz``: positions (n, 22, 3) in nm, energies (n,) in kJ/mol, gradients (n, 22, 3) in
kJ/mol/nm, ``kelvin`` (n,), the temperature that a conformation stands for (0: none). A conformation that
GFN2-xTB could not treat has an energy of NaN.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from boltzgen.conditioning.features import N_FEATURES
from boltzgen.files import atomic_path
from boltzgen.flows.coupling import CouplingFlow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.units import GAS_CONSTANT

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"
DEMO = ROOT / "boltzgen" / "demo_data" / "alanine-dipeptide" / "MD" / "frames.npz"

#: CODATA 2018: kJ/mol in one hartree, nm in one bohr.
HARTREE, BOHR = 2625.4996394799, 0.0529177210903


@dataclass(frozen=True)
class Pool:
    """Labelled conformations; one row is one conformation."""

    positions: np.ndarray
    energies: np.ndarray
    gradients: np.ndarray
    kelvin: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Pool:
        return Pool(self.positions[rows], self.energies[rows], self.gradients[rows], self.kelvin[rows])

    def __len__(self) -> int:
        return len(self.positions)

    def save(self, path: Path) -> None:
        with atomic_path(path) as temporary:
            np.savez(temporary, **self.__dict__)

    @classmethod
    def load(cls, path: Path) -> Pool:
        with np.load(path) as file:
            return cls(**{name: file[name] for name in cls.__dataclass_fields__})

    @classmethod
    def join(cls, pools: list[Pool]) -> Pool:
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(pool, name) for pool in pools]) for name in names})


@cache
def molecule() -> MolecularSystem:
    """ACE-ALA-NME with the demo's own force field, whose bonded terms make the flow's base."""
    return prepare(EXAMPLE, forcefield=("amber99sbildn.xml",), implicit="amber99_obc.xml")


class GFN2:
    """Energies (kJ/mol) and gradients (kJ/mol/nm) of GFN2-xTB in vacuum by tblite, one by one."""

    def __init__(self) -> None:
        from tblite.interface import Calculator

        self._start = molecule().reference_positions / BOHR
        self._calculator = Calculator("GFN2-xTB", np.asarray(molecule().atomic_numbers), self._start)
        self._calculator.set("verbosity", 0)

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        self._calculator.update(positions / BOHR)
        try:
            result = self._calculator.singlepoint()
        except RuntimeError:  # no convergence, or atoms on top of each other
            return np.nan, np.full_like(positions, np.nan)
        return result["energy"] * HARTREE, result["gradient"] * (HARTREE / BOHR)


def label(positions: np.ndarray, kelvin: np.ndarray, *, workers: int = 1) -> Pool:
    """The pool of `positions` (n, 22, 3) nm, 9 ms each; `workers` processes share the work."""
    positions = np.asarray(positions, dtype=np.float64)
    if workers == 1:
        energies, gradients = _label(positions)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
            parts = list(processes.map(_label, np.array_split(positions, 8 * workers)))
        energies, gradients = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Pool(positions, energies, gradients, np.asarray(kelvin, dtype=float))


def _label(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(positions):
        return np.empty(0), np.empty_like(positions)
    method = GFN2()
    labels = [method(frame) for frame in positions]
    energies, gradients = zip(*labels, strict=True)
    return np.array(energies), np.array(gradients)


def demo_frames(per_temperature: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the shipped replica exchange (amber99sbildn + OBC), the same number at each temperature."""
    rng = np.random.default_rng(seed)
    with np.load(DEMO) as file:
        positions, kelvin = file["positions"].astype(np.float64), file["temperatures"]
    at = [np.flatnonzero(kelvin == temperature) for temperature in np.unique(kelvin)]
    chosen = np.concatenate([rng.choice(rows, per_temperature, replace=False) for rows in at])
    return positions[chosen], kelvin[chosen]


def rattled(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Demo frames, stretched or squeezed as a whole by up to 4 % and shaken by up to 0.01 nm."""
    rng = np.random.default_rng(seed)
    positions = demo_frames(-(-number // 6), seed)[0]
    positions = positions[rng.permutation(len(positions))[:number]]
    positions = positions * rng.uniform(0.96, 1.04, size=(number, 1, 1))
    shaken = positions + rng.normal(size=positions.shape) * rng.uniform(0, 0.01, size=(number, 1, 1))
    return shaken, np.zeros(number)


@cache
def target(isomers: str = "reference") -> Target:
    return Target.from_system(molecule(), isomers=isomers)


def flow_base(number: int, kelvin: float, seed: int, isomers: str = "reference") -> np.ndarray:
    """Draws of an untrained flow at `kelvin`: thermal bonds and angles, torsions anywhere, clashes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = CouplingFlow(N_FEATURES)
    ensemble = BoltzmannGenerator(flow, target(isomers)).sample(number, kelvin, seed=seed)
    return ensemble.positions[ensemble.valid].astype(np.float64)


def initial_pools() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> positions and kelvin of the conformations that training begins with."""
    pools = {"demo": demo_frames(500, seed=1), "rattled": rattled(1500, seed=2)}
    for kelvin, number in ((300, 2000), (600, 2500), (1000, 3000), (1500, 1000)):
        draws = flow_base(number, kelvin, seed=kelvin)
        pools[f"base-{kelvin}"] = draws, np.zeros(len(draws))
    free = flow_base(800, 800, seed=3, isomers="free")
    pools["base-free"] = free, np.zeros(len(free))
    return pools


def langevin(
    potential: torch.nn.Module, start: np.ndarray, kelvin: float, *, steps: int, every: int, seed: int
) -> np.ndarray:
    """Frames (n, 22, 3) nm of Langevin dynamics from each of `start`: 1 fs, 10/ps, BAOAB, float32.

    Every `every` steps all walkers are kept; those that are not finite or further than 10 nm away are not.
    """
    step, friction, kt = 0.001, 10.0, GAS_CONSTANT * kelvin
    generator = torch.Generator().manual_seed(seed)
    mass = torch.as_tensor(np.array(molecule().masses), dtype=torch.float32)[None, :, None]
    x = torch.as_tensor(start, dtype=torch.float32)
    keep = float(np.exp(-friction * step))

    def noise() -> torch.Tensor:
        return torch.randn(x.shape, generator=generator) * (kt / mass).sqrt()

    def acceleration() -> torch.Tensor:
        place = x.detach().requires_grad_()
        return -torch.autograd.grad(potential.energy(place).sum(), place)[0] / mass

    v, a, kept = noise(), acceleration(), []
    for count in range(1, steps + 1):
        v = v + 0.5 * step * a
        x = x + 0.5 * step * v
        v = keep * v + (1 - keep**2) ** 0.5 * noise()
        x = x + 0.5 * step * v
        a = acceleration()
        v = v + 0.5 * step * a
        if count % every == 0:
            kept.append(x)
    frames = torch.cat(kept).double().numpy()
    return frames[np.isfinite(frames).all((1, 2)) & (np.abs(frames) < 10).all((1, 2))]


def with_potential(potential: torch.nn.Module) -> Target:
    """The flow's target with the energy of `potential` instead of the force field's."""
    return replace(target(), potential=potential)


def one_thread() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
