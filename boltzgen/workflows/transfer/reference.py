"""How far weighted samples of a molecule are from a simulation: distances, maps, free energies of phi."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.ensemble.distances import (
    jensen_shannon,
    total_variation,
    wasserstein_on_line,
    wasserstein_on_torus,
)
from boltzgen.ensemble.resample import equal_weight_rows
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.populations import (
    counted_free_energies,
    exchange_free_energies,
    exchange_weights,
    state_free_energies,
)
from boltzgen.free_energy.ramachandran import bins_of, histogram, torsion_pairs
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import BoltzmannGenerator
from boltzgen.trust.coverage import seen_in_training, with_findings
from boltzgen.workflows.transfer.draws import Backbone, Drawn, Reference, reference_log_weights
from boltzgen.workflows.transfer.likelihood import likelihood_figures

#: Samples from which Wasserstein distances are computed, as in Prose; those on the torus from fewer.
W2_SAMPLES = 10_000

#: Share of the largest weights that Prose deletes before it resamples.
DELETED = 2e-3

#: States of phi: (name, lower and upper end in rad of state B); A is the rest of the circle.
#: The second is that of published code for alanine dipeptide and dipeptides (from a histogram of 100 bins
#: there, counted exactly here).
PHI_STATES = (("phi>0", 0.0, np.pi), ("0<phi<2", 0.0, 2.0))

#: Effective frames in each state below which the error bar of a reference says nothing.
FEWEST_REFERENCE_FRAMES = 10.0


def reference_figures(
    generator: BoltzmannGenerator,
    drawn: Drawn,
    reference: Reference,
    temperature: float,
    *,
    torus_samples: int,
    trained: Mapping[str, Any],
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What needs frames of the target, and the coverage record for the verdict on the weights.

    torus_samples: samples, at most, from which distances on the torus are computed. trained: the record
    of the model.
    """
    rng = np.random.default_rng(seed)
    target_log_w = reference_log_weights(generator, reference, temperature)
    coverage = check_coverage(
        drawn.log_w, target_log_w, source=reference.source, statistical_inefficiency=reference.inefficiency
    )
    seen = seen_in_training(trained, reference.digest)
    coverage = with_findings(coverage, seen)
    names = Backbone(generator.target.topology_pdb).names()
    return {
        "source": reference.source,
        "digest": reference.digest,
        "frames": len(reference.u),
        "outside_the_domain": reference.outside,
        "statistical_inefficiency": reference.inefficiency,
        "seen_in_training": bool(seen),
        "forward_ess": coverage["forward_ess"],
        "missed": coverage["missed"],
        "likelihood": likelihood_figures(generator, drawn, reference, target_log_w, temperature, rng=rng),
        "energy_w2": energy_distance(drawn, reference),
        "torus_w2": torus_distance(drawn, reference, torus_samples, rng=rng),
        "ramachandran": ramachandran_distances(drawn, reference, names, generator.target.topology_pdb),
        "phi": phi_differences(drawn, reference, names, temperature, rng=rng),
    }, coverage


def energy_distance(drawn: Drawn, reference: Reference) -> dict[str, Any]:
    """W2 (kT) between the energies of the first `W2_SAMPLES` samples, weighted, and of all frames.

    ``deleted`` is the same after the largest 0.2 % of the weights are deleted; ``floor`` is the distance
    between the halves of the frames.
    """
    first, second = reference.halves()
    u, log_w = drawn.u[:W2_SAMPLES], drawn.log_w[:W2_SAMPLES]
    found: dict[str, Any] = {
        "samples": len(u),
        "frames": len(reference.u),
        "value": None,
        "deleted": None,
        "floor": wasserstein_on_line(reference.u[first], reference.u[second]),
    }
    for name, log_w_n in (("value", log_w), ("deleted", _without_largest(log_w))):
        weights = normalised_weights(log_w_n)
        kept = weights > 0
        if kept.any():
            found[name] = wasserstein_on_line(u[kept], reference.u, weights[kept])
    return found


def torus_distance(
    drawn: Drawn, reference: Reference, most: int, *, rng: np.random.Generator
) -> dict[str, Any] | None:
    """W2 (rad) over all phi and psi between samples resampled by weight and as many frames; None without any.

    All from n samples, as many as a half of the frames holds and `most` allows, since the distance depends on
    n; ``floor`` is the distance between n frames of each half.
    """
    if not drawn.angles.shape[1]:
        return None
    first, second = reference.halves()
    half = first.stop
    log_w = drawn.log_w[:W2_SAMPLES]
    number = min(most, half, len(log_w), W2_SAMPLES)
    spread = np.linspace(0, half - 1, number).round().astype(int)
    parts = [reference.angles[first][spread], reference.angles[second][spread]]
    everywhere = reference.angles[np.linspace(0, len(reference.u) - 1, number).round().astype(int)]
    found: dict[str, Any] = {"samples": number, "floor": wasserstein_on_torus(*parts)}
    for name, log_w_n in (("value", log_w), ("deleted", _without_largest(log_w))):
        found[name] = None
        if np.isfinite(log_w_n).any():
            rows = equal_weight_rows(log_w_n, number, rng)
            found[name] = wasserstein_on_torus(drawn.angles[rows], everywhere)
    return found


def ramachandran_distances(
    drawn: Drawn, reference: Reference, names: tuple[str, ...], topology_pdb: str
) -> list[dict[str, Any]]:
    """Total variation and Jensen-Shannon divergence (nats) of each map of phi and psi, with floors."""
    weights = normalised_weights(drawn.log_w)
    kept = weights > 0
    found = []
    for number, phi, psi in torsion_pairs(topology_pdb):
        columns = [names.index(phi.name), names.index(psi.name)]
        theirs = bins_of(*np.degrees(reference.angles[:, columns]).T)
        whole, halves = histogram(theirs), [histogram(theirs[rows]) for rows in reference.halves()]
        row: dict[str, Any] = {
            "residue": number,
            "tv": None,
            "js": None,
            "tv_floor": total_variation(*halves),
            "js_floor": jensen_shannon(*halves),
        }
        if kept.any():
            ours = histogram(bins_of(*np.degrees(drawn.angles[kept][:, columns]).T), weights[kept])
            row |= {"tv": total_variation(ours, whole), "js": jensen_shannon(ours, whole)}
        found.append(row)
    return found


def phi_differences(
    drawn: Drawn,
    reference: Reference,
    names: tuple[str, ...],
    temperature: float,
    *,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """``G_B - G_A`` (kT) of each phi and each of `PHI_STATES`, from the samples and from the frames.

    The frames of all temperatures count where a replica exchange made them, else those at `temperature`.
    ``error`` is the first less the second; null where the samples never visited one of the states, or the
    reference has fewer than `FEWEST_REFERENCE_FRAMES` effective frames in one, and ``error_unknown`` says so.
    """
    found: list[dict[str, Any]] = []
    phi = [(column, name) for column, name in enumerate(names) if name.startswith("phi")]
    if not phi:
        return found
    pairs, statistics = [("A", "B")], Statistics(rng, n_bootstrap=200)
    exchange, angles, weights = reference.exchange, reference.angles, None
    if exchange is not None:
        angles = exchange.angles
        weights = exchange_weights(exchange.u, exchange.temperatures, temperature, inside=exchange.inside)
    for column, name in phi:
        for state, low, high in PHI_STATES:
            ours = _halves_of(drawn.angles[:, column], low, high)
            theirs = _halves_of(angles[..., column], low, high)
            (here,) = state_free_energies(drawn.log_w, ours, pairs, statistics)
            if weights is None:
                (there,) = counted_free_energies(theirs, pairs, statistics)
            else:
                (there,) = exchange_free_energies(weights, theirs, pairs, statistics)
            error, unknown = None, _unknown(here, there)
            if unknown is None and here.value is not None and there.value is not None:
                error = here.value - there.value
            found.append(
                {
                    "torsion": name,
                    "B": state,
                    "value": here.value,
                    "standard_error": here.standard_error,
                    "reference": there.value,
                    "reference_standard_error": there.standard_error,
                    "reference_estimator": there.estimator,
                    "error": error,
                    "error_unknown": unknown,
                    "n_effective": here.n_effective,
                    "reference_n_effective": there.n_effective,
                    "verdict": here.verdict,
                    "reference_verdict": there.verdict,
                }
            )
    return found


def _halves_of(angles: np.ndarray, low: float, high: float) -> dict[str, np.ndarray]:
    """The state B between `low` and `high` (rad), and A, the rest of the circle."""
    inside = (angles > low) & (angles < high)
    return {"A": ~inside, "B": inside}


def _unknown(ours: Estimate, reference: Estimate) -> str | None:
    """Why the two cannot be compared; None where they can. Few samples of ours are ours to answer for."""
    known = reference.n_effective or 0.0
    if reference.value is None or known < FEWEST_REFERENCE_FRAMES:
        return f"the reference holds {known:.1f} effective frames of a state"
    return None if ours.value is not None else "no sample of weight lies in one of the states"


def _without_largest(log_w: np.ndarray) -> np.ndarray:
    """`log_w` (N,) with the largest ``floor(0.002 N)`` weights set to zero."""
    top = int(np.floor(DELETED * len(log_w) + 1e-9))
    left = log_w.copy()
    left[np.argsort(log_w, kind="stable")[len(log_w) - top :]] = -np.inf
    return left
