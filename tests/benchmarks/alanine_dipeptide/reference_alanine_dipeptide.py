"""The independent reference for the demo: F(phi > 0) - F(phi < 0) of alanine dipeptide from replica exchange.

    python tests/benchmarks/alanine_dipeptide/reference_alanine_dipeptide.py SYS MD [--blocks 10]

SYS and MD as `boltzgen prepare` and `boltzgen simulate` write them (the numbers of
docs/measured/alanine-dipeptide.md came from six temperatures, 300 to 800 K). Frames of all temperatures are
combined with MBAR (Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008)). Two error bars are made in
independent ways, and the larger is quoted:

* decorrelated: MBAR's asymptotic error on frames g apart, g the largest statistical inefficiency, at each
  temperature, of the energy and of the indicator phi > 0;
* blocks: the run is cut into equal stretches of time (all temperatures together, since replicas wander), the
  difference is estimated in each, and the standard error of their mean is taken.

Convention: dF = F(phi > 0) - F(phi < 0) = -ln(P(phi > 0) / P(phi < 0)), in kT.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass

import numpy as np

from boltzgen.data.record import Trajectory, spaced_rows
from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT, energy_in_units


@dataclass(frozen=True)
class Reference:
    """dF = F(phi > 0) - F(phi < 0) in kT, and how sure it is."""

    temperature_K: float
    dF: float
    standard_error: float
    error_decorrelated: float
    error_blocks: float
    block_values: list[float]
    dF_this_temperature_alone: float | None
    p_positive: float
    crossings_at_temperature: int
    frames_per_temperature: int
    independent_frames: dict[str, float]
    units: dict[str, float]


def phi_atoms(system: MolecularSystem) -> np.ndarray:
    """C(i-1), N, CA, C of the only residue that has all four, shape (1, 4)."""
    by_name = {(int(n.residue_number), n.atom): i for i, n in enumerate(system.atom_names)}
    found = [
        [by_name[(r - 1, "C")], by_name[(r, "N")], by_name[(r, "CA")], by_name[(r, "C")]]
        for (r, atom) in by_name
        if atom == "CA" and (r - 1, "C") in by_name and (r, "C") in by_name
    ]
    if len(found) != 1:
        raise SystemExit(f"expected one phi torsion, found {len(found)}: is this alanine dipeptide?")
    return np.array(found)


def mbar_weights(energies: list[np.ndarray], temperatures: np.ndarray, target: float) -> np.ndarray:
    """Normalised weights of all frames (temperature by temperature) at the temperature `target`."""
    solver, all_energies = _mbar(energies, temperatures)
    log_w = solver._computeUnnormalizedLogWeights(all_energies / (GAS_CONSTANT * target))
    weights = np.exp(log_w - log_w.max())
    return weights / weights.sum()


def difference_and_error(
    energies: list[np.ndarray], positive: list[np.ndarray], temperatures: np.ndarray, target: float
) -> tuple[float, float]:
    """dF in kT from MBAR over independent frames, with its asymptotic standard error."""
    solver, all_energies = _mbar(energies, temperatures)
    indicator = np.concatenate(positive).astype(float)
    result = solver.compute_expectations(
        indicator, u_kn=all_energies / (GAS_CONSTANT * target), state_dependent=False
    )
    p, error = float(result["mu"][0]), float(result["sigma"][0])
    return -np.log(p / (1 - p)), error / (p * (1 - p))


def analyse(trajectory: Trajectory, system: MolecularSystem, target: float, n_blocks: int) -> Reference:
    """Everything from a trajectory of several temperatures."""
    temperatures = trajectory.temperature_ladder
    energies, positive = [], []
    for kelvin in temperatures:
        part = trajectory.at(float(kelvin))
        energies.append(part.energies)
        positive.append(dihedral_angles(part.positions, phi_atoms(system))[:, 0] > 0)
    n_frames = min(len(e) for e in energies)
    weights = mbar_weights(energies, temperatures, target)
    value = _difference(weights, np.concatenate(positive))

    stretch = np.concatenate([np.arange(len(e)) * n_blocks // len(e) for e in energies])
    everything = np.concatenate(positive)
    blocks = [_difference(weights[stretch == b], everything[stretch == b]) for b in range(n_blocks)]

    inefficiencies = [
        max(statistical_inefficiency(e), statistical_inefficiency(p))
        for e, p in zip(energies, positive, strict=True)
    ]
    rows = [spaced_rows(len(e), g) for e, g in zip(energies, inefficiencies, strict=True)]
    _, error = difference_and_error(
        [e[r] for e, r in zip(energies, rows, strict=True)],
        [p[r] for p, r in zip(positive, rows, strict=True)],
        temperatures,
        target,
    )
    block_error = float(np.std(blocks, ddof=1) / np.sqrt(n_blocks))
    here = np.flatnonzero(np.abs(temperatures - target) < 0.01)
    alone = positive[int(here[0])] if len(here) else None
    p_positive = float(weights[everything].sum())
    quoted = max(error, block_error)
    return Reference(
        temperature_K=target,
        dF=value,
        standard_error=quoted,
        error_decorrelated=error,
        error_blocks=block_error,
        block_values=blocks,
        dF_this_temperature_alone=None
        if alone is None
        else float(-np.log(alone.mean() / (1 - alone.mean()))),
        p_positive=p_positive,
        crossings_at_temperature=0 if alone is None else int((alone[1:] != alone[:-1]).sum()),
        frames_per_temperature=n_frames,
        independent_frames={
            f"{t:g}": len(e) / g for t, e, g in zip(temperatures, energies, inefficiencies, strict=True)
        },
        units=energy_in_units(value, target),
    )


def _mbar(energies, temperatures):
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    from pymbar import MBAR

    all_energies = np.concatenate(energies)
    u_kn = all_energies[None, :] / (GAS_CONSTANT * np.asarray(temperatures)[:, None])
    return MBAR(u_kn, np.array([len(e) for e in energies])), all_energies


def _difference(weights: np.ndarray, positive: np.ndarray) -> float:
    return float(-np.log(weights[positive].sum() / weights[~positive].sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("system")
    parser.add_argument("trajectory")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--blocks", type=int, default=10)
    options = parser.parse_args()
    system = MolecularSystem.load(options.system)
    trajectory = read_trajectory(options.trajectory, system)
    reference = analyse(trajectory, system, options.temperature, options.blocks)
    print(json.dumps(asdict(reference), indent=1))


if __name__ == "__main__":
    main()
