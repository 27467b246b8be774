"""What `energy_training.py` measures: samples drawn in chunks that can be resumed, and reference data.

A chunk keeps the log-weight of each sample and the Ramachandran bins it falls into; positions are thrown
away, so that a million samples of any molecule take 20 MB and a stopped measurement goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.data.statistics import slowest_inefficiencies, statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.diagnostics import (
    forward_ess,
    kish_ess,
    kish_ess_clipped,
    kish_ess_dropped,
    largest_weight_share,
    log_z,
    pareto_k,
)
from boltzgen.ensemble.distances import total_variation
from boltzgen.files import atomic_path, write_json
from boltzgen.free_energy.ramachandran import BINS, Pairs, histogram, ramachandran_bins, torsion_pairs
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.system.molecular_system import MolecularSystem

#: Samples of a chunk; part of what makes a measurement repeatable.
CHUNK = 20_000


def draw_chunks(
    generator: BoltzmannGenerator, temperature: float, seed: int, folder: Path, number: int, stop: StopRequest
) -> bool:
    """Draw what is missing of `number` samples at `temperature` (K) into `folder`; False when stopped first.

    Chunks are whole and hold other blocks of one draw each, so that the samples depend neither on how often
    one stopped nor on how many one asks for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = torsion_pairs(generator.target.topology_pdb)
    for index in range(-(-number // CHUNK)):
        path = folder / f"chunk-{index:05d}.npz"
        if path.is_file():
            continue
        if stop.requested:
            return False
        began = time.perf_counter()
        first = index * -(-CHUNK // generator.target.block_rows())
        parts = list(generator.draw(CHUNK, temperature, seed=seed, first_block=first))
        log_w = np.concatenate([part.log_w for part in parts])
        bins = np.concatenate([ramachandran_bins(part.positions, pairs) for part in parts])
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, log_w=log_w, bins=bins, seconds=time.perf_counter() - began)
    return True


@dataclass(frozen=True)
class Drawn:
    """log_w (N,) with -inf for rejected samples, bins (N, P), and the seconds that the drawing took."""

    log_w: np.ndarray
    bins: np.ndarray
    seconds: float


def read_chunks(folder: Path, number: int) -> Drawn:
    """The first `number` samples that `draw_chunks` left in `folder`."""
    log_w, bins, seconds = [], [], 0.0
    for index in range(-(-number // CHUNK)):
        with np.load(folder / f"chunk-{index:05d}.npz", allow_pickle=False) as arrays:
            log_w.append(arrays["log_w"])
            bins.append(arrays["bins"])
            seconds += float(arrays["seconds"])
    return Drawn(np.concatenate(log_w)[:number], np.concatenate(bins)[:number], seconds)


def weights_report(drawn: Drawn) -> dict[str, Any]:
    """Every effective sample size of the samples, as fractions, and what else their weights say."""
    value, error = log_z(drawn.log_w)
    return {
        "samples": len(drawn.log_w),
        "rejected": int(np.isneginf(drawn.log_w).sum()),
        "ess_raw": kish_ess(drawn.log_w),
        "ess_clipped": kish_ess_clipped(drawn.log_w),
        "ess_deleted": kish_ess_dropped(drawn.log_w),
        "k_hat": pareto_k(drawn.log_w),
        "largest_weight_share": largest_weight_share(drawn.log_w),
        "log_z": value,
        "log_z_standard_error": error,
        "sampling_seconds": drawn.seconds,
    }


def reference_report(
    generator: BoltzmannGenerator,
    molecule: MolecularSystem,
    drawn: Drawn,
    data: Path,
    temperature: float,
    digests: list[str],
) -> dict[str, Any] | None:
    """Forward ESS and Ramachandran distances of `drawn` to the frames of `data` at `temperature` (K).

    None where `data` has no frames at that temperature.

    The floor is the distance between the first and the second half of those frames. `digests` are of the
    frames that training saw: the same frames are refused.
    """
    trajectory = read_trajectory(data, molecule, temperature=temperature)
    if not (abs(trajectory.temperature_ladder - temperature) < 0.01).any():
        return None
    frames = trajectory.at(temperature)
    if frames.digest() in digests:
        raise SystemExit(f"{data} holds the frames of the training; a reference must be independent.")
    positions = torch.as_tensor(np.array(frames.positions), dtype=torch.float64)
    target = generator.target
    inside, log_w = [], []
    for part in positions.split(target.batch_rows()):
        kept = target.coordinates.inside(part)
        inside.append(kept.numpy())
        part = part[kept].to(target.reference.device)
        with torch.no_grad():
            u = target.reduced_energy(part, temperature)
        log_w.append(generator.target_log_weights(part, u, temperature))
    within, pairs = np.concatenate(inside), torsion_pairs(target.topology_pdb)
    slowest = frames.statistical_inefficiency or slowest_inefficiencies(frames, molecule)
    return {
        "reference": str(data),
        "temperature_K": temperature,
        "frames": len(frames),
        "outside_the_domain": int((~within).sum()),
        "statistical_inefficiency": max([1.0, *slowest.values()]),
        "forward_ess": forward_ess(np.concatenate(log_w)),
        "ramachandran": ramachandran_report(drawn, frames.positions[within], pairs),
    }


def ramachandran_report(drawn: Drawn, positions: np.ndarray, pairs: Pairs) -> list[dict[str, Any]]:
    """Total variation of each pair: reweighted, as drawn, and between the halves of the reference."""
    reference = ramachandran_bins(positions, pairs)
    half = len(reference) // 2
    valid = np.isfinite(drawn.log_w)
    weights = np.exp(drawn.log_w[valid] - drawn.log_w[valid].max())
    found = []
    for column, (number, _, _) in enumerate(pairs):
        whole, ours = histogram(reference[:, column]), drawn.bins[valid, column]
        first, second = histogram(reference[:half, column]), histogram(reference[half:, column])
        found.append(
            {
                "residue": number,
                "tv_reweighted": total_variation(histogram(ours, weights), whole),
                "tv_as_drawn": total_variation(histogram(ours), whole),
                "tv_floor": total_variation(first, second),
            }
        )
    return found


def convergence_report(data: Path, molecule: MolecularSystem, temperature: float) -> dict[str, Any]:
    """How well the two halves of the reference in `data` agree: populations of phi > 0, and the floor.

    ``sigma`` is the difference of the halves' populations over its standard error, from the frames that count
    as independent (the slower of phi's sign and what the simulation measured).
    """
    frames = read_trajectory(data, molecule, temperature=temperature).at(temperature)
    pairs = torsion_pairs(molecule.topology_pdb)
    bins = ramachandran_bins(frames.positions, pairs)
    half = len(frames) // 2
    measured = max([1.0, *frames.statistical_inefficiency.values()])
    rows = []
    for column, (number, _, _) in enumerate(pairs):
        positive = (bins[:, column] // BINS >= BINS // 2).astype(float)
        g = max(measured, statistical_inefficiency(positive))
        first, second, whole = positive[:half].mean(), positive[half:].mean(), positive.mean()
        error = np.sqrt(whole * (1 - whole) * g / half * 2)
        rows.append(
            {
                "residue": number,
                "p_positive": float(whole),
                "halves": [float(first), float(second)],
                "sigma": float(abs(first - second) / error) if error > 0 else None,
                "tv_floor": total_variation(histogram(bins[:half, column]), histogram(bins[half:, column])),
            }
        )
    report = {"temperature_K": temperature, "frames": len(frames), "inefficiency": measured, "pairs": rows}
    write_json(data / f"convergence-{temperature:g}K.json", report)
    return report
