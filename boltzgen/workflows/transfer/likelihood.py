"""Where a flow loses likelihood: in all, per atom, and by the kind of coordinate.

At reference frames x ~ p the gap is the forward divergence in nats,

    KL(p || q) = <-log_q - u>_p - ln Z,

with ln Z by Bennett's acceptance ratio between the frames and the flow's own samples. A flow that maps
coordinates to latents z turns it into the divergence of the latents from their base density, which splits:

    KL(p || q) = sum_i KL(p(z_i) || base_i) + total correlation of the latents.

The first part is a sum over coordinates, and so over bonds, angles, torsions, offsets and ring closures:
each term says how wrong the density of that coordinate is given what the flow let it depend on. The second
is what the flow did not see between coordinates (nonlocal clashes, say). The first supposes frames that are
equilibrated: a simulation that never turned a ring over shows up as a gap of its torsion, and then the second
is too small by as much, even negative. Entropies of single latents come
from Vasicek's spacings (SciPy), less what the same estimator finds in as many draws of the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzgen.data.record import spaced_rows
from boltzgen.ensemble.diagnostics import log_z
from boltzgen.free_energy.overlap import bar
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import BoltzmannGenerator
from boltzgen.workflows.transfer.draws import Drawn, Reference, latents_of

#: What the kinds of coordinates are called in the figures.
KIND_NAMES = {"distance": "ring closure"}

#: Frames from which single coordinates are judged, spread evenly: at most, and at least.
MOST_FRAMES, FEWEST_FRAMES = 4000, 200


def likelihood_figures(
    generator: BoltzmannGenerator,
    drawn: Drawn,
    reference: Reference,
    target_log_w: np.ndarray,
    temperature: float,
    *,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The gap in nats, in all and per atom, with its error, and its parts; None with a reason if unknown."""
    n_atoms = reference.positions.shape[1]
    value, error, how = log_partition_between(drawn, target_log_w, reference.inefficiency, rng=rng)
    unknown: dict[str, str] = {}
    gap = gap_error = None
    if not np.isfinite(target_log_w).all():
        unknown["gap"] = "the flow has no density at some frames: the divergence is infinite"
    elif value is None:
        unknown["gap"] = how
    else:
        gap = float(target_log_w.mean()) - value
        mean_error = np.sqrt(target_log_w.var() * reference.inefficiency / target_log_w.size)
        gap_error = float(np.hypot(mean_error, error or 0.0))
    kinds, why = marginal_gaps(generator, reference, temperature, rng=rng)
    if kinds is None:
        unknown["by_kind"] = why
    between = None if gap is None or kinds is None else gap - sum(row["gap"] for row in kinds.values())
    return {
        "log_z": value,
        "log_z_standard_error": error,
        "log_z_estimator": how,
        "gap": gap,
        "gap_standard_error": gap_error,
        "gap_per_atom": None if gap is None else gap / n_atoms,
        "gap_per_atom_standard_error": None if gap_error is None else gap_error / n_atoms,
        "by_kind": kinds,
        "between_coordinates": between,
        "unknown": unknown,
    }


def log_partition_between(
    drawn: Drawn, target_log_w: np.ndarray, inefficiency: float, *, rng: np.random.Generator
) -> tuple[float | None, float | None, str]:
    """``ln Z``, its error, and how: by BAR; where flow and frames do not overlap, from the weights alone."""
    if np.isfinite(drawn.log_w).any() and np.isfinite(target_log_w).any():
        estimate = bar(
            -drawn.log_w,
            target_log_w,
            (1.0, inefficiency),
            Statistics(rng, n_bootstrap=200),
            A="flow",
            B="target",
        )
        if estimate.value is not None:
            return -estimate.value, estimate.standard_error, "BAR"
    value, error = log_z(drawn.log_w)
    how = "no sample carries weight" if value is None else "weights alone: no overlap, likely too low"
    return value, error, how


def marginal_gaps(
    generator: BoltzmannGenerator, reference: Reference, temperature: float, *, rng: np.random.Generator
) -> tuple[dict[str, dict[str, Any]] | None, str]:
    """For each kind of coordinate how many there are and their summed gap (nats), or None and why."""
    rows = spaced_rows(len(reference.u), len(reference.u) / MOST_FRAMES)
    if len(rows) < FEWEST_FRAMES:
        return None, f"{len(rows)} frames are fewer than the {FEWEST_FRAMES} that it takes"
    latents = latents_of(generator, reference, temperature, rows)
    if latents is None:
        return None, "the flow has no latents"
    table = generator.target.coordinates.table
    gaps = coordinate_gaps(latents, table.circular, rng=rng)
    return grouped(table.kind, gaps), ""


def coordinate_gaps(latents: np.ndarray, circular: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """``KL(p(z_i) || base_i)`` (D,) in nats from latents (m, D), base normal or (circular) uniform."""
    number = len(latents)
    bias = {
        False: float(np.mean([_divergence(rng.standard_normal(number), False) for _ in range(20)])),
        True: float(np.mean([_divergence(rng.uniform(-np.pi, np.pi, number), True) for _ in range(20)])),
    }
    return np.array(
        [
            _divergence(column, bool(around)) - bias[bool(around)]
            for column, around in zip(latents.T, circular, strict=True)
        ]
    )


def grouped(kinds: Sequence[str], gaps: np.ndarray) -> dict[str, dict[str, Any]]:
    """The gaps (D,) summed by kind, in the order in which kinds occur."""
    found: dict[str, dict[str, Any]] = {}
    for kind, gap in zip(kinds, gaps, strict=True):
        row = found.setdefault(KIND_NAMES.get(kind, kind), {"coordinates": 0, "gap": 0.0})
        row["coordinates"] += 1
        row["gap"] += float(gap)
    return found


def _divergence(z: np.ndarray, circular: bool) -> float:
    from scipy.stats import differential_entropy

    finite = z[np.isfinite(z)]
    entropy = float(differential_entropy(finite, method="vasicek"))
    if circular:
        return float(np.log(2 * np.pi)) - entropy
    return float(np.mean(0.5 * finite**2)) + 0.5 * float(np.log(2 * np.pi)) - entropy
