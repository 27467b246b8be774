"""Rows of ``selftest`` on model systems: closed forms and quadrature, energies in kT.

Every case takes the number of samples and a random generator, and draws from a density that is known exactly
(Gaussians, `GridDensity`). Exact values: closed forms where given, otherwise quadrature to all
digits shown (tests/potentials/test_model_systems.py repeats it).
"""

from __future__ import annotations

import math

import numpy as np
import torch

from boltzgen.ensemble.diagnostics import kish_ess, pareto_k
from boltzgen.free_energy import expectation, log_partition, populations, state_free_energies
from boltzgen.free_energy.overlap import absolute_mbar, bar
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import smooth_functions
from boltzgen.potentials.model_systems import HarmonicWell, ModelSystem, MuellerBrown, by_name
from boltzgen.workflows.exact_answers.grid_density import GridDensity
from boltzgen.workflows.exact_answers.rows import REPLICATES, Row

#: K -> -1/2 ln(2 pi / K).
HARMONIC = {1: -0.918939, 2: -0.572365, 4: -0.225791, 8: 0.120782, 16: 0.467356}

#: (dimension, ratio r of inverse temperatures) -> ESS / N = r^-d (2r - 1)^(d/2).
EFFECTIVE = {(1, 1.25): 0.979796, (10, 1.25): 0.815373, (66, 1.1): 0.760438, (66, 1.25): 0.259986}

MANY_WELL = {32: 164.695675313, 64: 329.391350626, 128: 658.782701253}

#: scale -> F_B - F_A.
MUELLER_BROWN = {0.15: 5.69354549, 1 / 15: 2.23618477, 0.1: 3.65667693, 0.05: 1.53569380}

#: depth -> ln Z, P(r < 1.5).
DIMER = {1: (3.88320836, 0.27418), 2: (4.11130826, 0.40602), 5: (5.65396951, 0.86069)}

#: How much wider than the target its proposal is (the temperature's factor is its inverse).
_TEMPERING = 0.8

#: Scale of the Mueller-Brown surface that all four are reweighted from.
_WIDE_SCALE = 0.045


def energies(system: ModelSystem, x: np.ndarray) -> np.ndarray:
    """Reduced energies (n,) of `x` (n, d) by the public potential."""
    return system.energy(torch.as_tensor(x)).numpy()


def harmonic_wells(n: int, rng: np.random.Generator) -> list[Row]:
    """Absolute free energies by MBAR from a normal density and four of five wells; BAR between two."""
    wells = {stiffness: HarmonicWell(stiffness) for stiffness in HARMONIC}
    drawn = n // 5
    counts = [0 if stiffness == 4 else drawn for stiffness in wells]  # one well is not sampled at all
    spread = [1.2] + [count / drawn / math.sqrt(k) for k, count in zip(wells, counts)]
    x = np.concatenate([width * rng.standard_normal((drawn, 1)) for width in spread if width])
    log_q = -0.5 * (x[:, 0] / 1.2) ** 2 - math.log(1.2 * math.sqrt(2 * math.pi))
    u_kn = np.stack([energies(well, x) for well in wells.values()])
    names = [f"K = {stiffness}" for stiffness in wells]
    found = absolute_mbar(
        log_q,
        drawn,
        u_kn,
        counts,
        Statistics(rng, n_bootstrap=REPLICATES),
        inefficiency_k=np.ones(len(wells)),
        names=names,
    )
    rows = [
        Row.of("harmonic wells", f"f, {name}", exact, found.log_partition(name), sign=-1.0)
        for name, exact in zip(names, HARMONIC.values())
    ]
    a, b = (rng.standard_normal((drawn, 1)) / math.sqrt(k) for k in (8, 16))
    work = [energies(wells[16], x) - energies(wells[8], x) for x in (a, b)]
    both = bar(work[0], -work[1], (1.0, 1.0), Statistics(rng, n_bootstrap=REPLICATES), A="K = 8", B="K = 16")
    return [*rows, Row.of("harmonic wells", "f_16 - f_8", HARMONIC[16] - HARMONIC[8], both)]


def gaussian_effective_sample_size(n: int, rng: np.random.Generator) -> list[Row]:
    """Kish's effective sample size of a Gaussian reweighted from beta0 to r beta0; bounded weights."""
    rows = []
    for (dimension, ratio), exact in EFFECTIVE.items():
        size = n if dimension <= 10 else 2 * n
        x = rng.standard_normal((size, dimension))
        log_w = -energies(HarmonicWell(ratio - 1.0, dimension), x)
        w = np.exp(log_w)
        errors = smooth_functions(
            np.stack([np.ones(size), w, w**2]), _kish, Statistics(rng, n_bootstrap=2, inefficiency=1.0)
        )[0]
        rows.append(
            Row(
                f"Gaussian {dimension} d, r {ratio}",
                "ESS / N",
                "Kish",
                exact,
                kish_ess(log_w),
                errors.asymptotic,
                unit="1",
                n=size,
            )
        )
    return rows


def _kish(sums: np.ndarray) -> np.ndarray:
    """``(sum w)^2 / (N sum w^2)`` of the sums of 1, w and w^2."""
    result: np.ndarray = sums[..., 1:2] ** 2 / (sums[..., :1] * sums[..., 2:])
    return result


def pareto_shape(n: int, rng: np.random.Generator) -> list[Row]:
    """k = 1 - s2 of a standard normal target under a normal proposal of variance s2.

    In two dimensions the weights are Pareto distributed exactly, not in the limit only; the fit
    has standard error (1 + k) / sqrt(M) on M = 3 sqrt(N) tail weights (Smith, Biometrika 74, 339 (1987)).
    """
    size = max(2 * n, 200_000)
    rows = []
    for variance in (0.7, 0.5, 0.3):
        x = math.sqrt(variance) * rng.standard_normal((size, 2))
        log_w = -energies(HarmonicWell(1.0, 2), x) + energies(HarmonicWell(1.0 / variance, 2), x)
        k = pareto_k(log_w)
        error = None if k is None else (1 + k) / math.sqrt(3 * math.sqrt(size))
        rows.append(
            Row(f"Gaussian, s2 {variance}", "Pareto k", "PSIS", 1 - variance, k, error, unit="1", n=size)
        )
    return rows


def double_well(n: int, rng: np.random.Generator) -> list[Row]:
    """``x^4 - 6x^2 - x/2`` alone (y = 0 of the two-dimensional system), and with ``y^2/2``."""
    system = by_name("double-well")

    def line(x: np.ndarray) -> np.ndarray:
        return energies(system, np.concatenate([x, np.zeros_like(x)], axis=1))

    x, log_q = GridDensity(line, [np.linspace(-4, 4, 201)], tempering=_TEMPERING).draw(n, rng)
    log_w = -line(x) - log_q
    states = {"left": x[:, 0] < 0, "right": x[:, 0] >= 0}
    rows = []
    for smoothed in (False, True):
        found = log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES, smoothed=smoothed))
        rows.append(Row.of("double well", "ln Z", math.log(11784.509265), found))
        found = state_free_energies(
            log_w, states, [("left", "right")], Statistics(rng, n_bootstrap=REPLICATES, smoothed=smoothed)
        )[0]
        rows.append(Row.of("double well", "F_R - F_L", -1.690631, found))
    rows.append(
        Row.of(
            "double well",
            "<x>",
            1.187961,
            expectation(log_w, x[:, 0], Statistics(rng, n_bootstrap=REPLICATES)),
        )
    )
    return [*rows, *_double_well_by_overlap(system, n, rng)]


def _double_well_by_overlap(system: ModelSystem, n: int, rng: np.random.Generator) -> list[Row]:
    """ln Z in two dimensions by BAR and MBAR between a flow and samples of the target."""
    edges = [np.linspace(-4, 4, 161), np.linspace(-7, 7, 141)]
    flow = GridDensity(lambda x: energies(system, x), edges, tempering=_TEMPERING)
    target = GridDensity(lambda x: energies(system, x), [np.linspace(-4, 4, 801), np.linspace(-7, 7, 301)])
    x, y = flow.draw(n // 2, rng)[0], target.equilibrium(n // 2, rng)
    both = np.concatenate([x, y])
    u, log_q = energies(system, both), flow.log_density(both)
    half = len(x)
    work = u + log_q
    with_bar = bar(
        work[:half], -work[half:], (1.0, 1.0), Statistics(rng, n_bootstrap=REPLICATES), A="flow", B="target"
    )
    with_mbar = absolute_mbar(
        log_q,
        half,
        u[None],
        [len(y)],
        Statistics(rng, n_bootstrap=REPLICATES),
        inefficiency_k=[1.0],
        names=["target"],
    )
    exact = 10.293479707
    return [
        Row.of("double well 2 d", "ln Z", exact, with_bar, sign=-1.0),
        Row.of("double well 2 d", "ln Z", exact, with_mbar.log_partition("target")),
    ]


def many_well(n: int, rng: np.random.Generator) -> list[Row]:
    """ln Z with a product of one-pair densities as proposal: errors of 16 to 64 pairs add up."""
    pair = by_name("double-well")

    def line(x: np.ndarray) -> np.ndarray:
        return energies(pair, np.concatenate([x, np.zeros_like(x)], axis=1))

    proposal = GridDensity(line, [np.linspace(-4, 4, 401)], tempering=0.95)
    rows = []
    for dimension, exact in MANY_WELL.items():
        pairs = dimension // 2
        wells, log_q = proposal.draw(n * pairs, rng)
        log_q_n = log_q.reshape(n, pairs).sum(1)
        x = np.empty((n, dimension))
        x[:, 0::2], x[:, 1::2] = wells.reshape(n, pairs), 1.02 * rng.standard_normal((n, pairs))
        log_q_n -= (0.5 * (x[:, 1::2] / 1.02) ** 2 + math.log(1.02 * math.sqrt(2 * math.pi))).sum(1)
        log_w = -energies(by_name(f"many-well-{dimension}"), x) - log_q_n
        rows.append(
            Row.of(
                f"many-well {dimension}",
                "ln Z",
                exact,
                log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)),
            )
        )
    return rows


def tilted_double_well(n: int, rng: np.random.Generator) -> list[Row]:
    """``x - 6x^2 + x^4``: the right well holds 3 % of the weight."""
    system = by_name("tilted-double-well")
    proposal = GridDensity(lambda x: energies(system, x), [np.linspace(-4, 4, 201)], tempering=0.5)
    x, log_q = proposal.draw(n, rng)
    log_w = -energies(system, x) - log_q
    states = {"left": x[:, 0] < 0, "right": x[:, 0] >= 0}
    difference = state_free_energies(
        log_w, states, [("left", "right")], Statistics(rng, n_bootstrap=REPLICATES)
    )[0]
    return [
        Row.of(
            "tilted double well",
            "ln Z",
            10.101528697,
            log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)),
        ),
        Row.of("tilted double well", "F_R - F_L", 3.379901071, difference),
    ]


def mueller_brown(n: int, rng: np.random.Generator) -> list[Row]:
    """F_B - F_A at four scales, and ln Z at 0.15, with one wide proposal; A lies above y = x + 0.8."""
    wide = MuellerBrown(_WIDE_SCALE)
    edges = [np.linspace(-4, 3, 351), np.linspace(-2.5, 5, 376)]
    x, log_q = GridDensity(lambda points: energies(wide, points), edges).draw(2 * n, rng)
    above = x[:, 1] > x[:, 0] + 0.8
    rows = []
    for scale, exact in MUELLER_BROWN.items():
        log_w = -energies(MuellerBrown(scale), x) - log_q
        found = state_free_energies(
            log_w, {"A": above, "B": ~above}, [("A", "B")], Statistics(rng, n_bootstrap=REPLICATES)
        )[0]
        rows.append(Row.of(f"Mueller-Brown {scale:.3g}", "F_B - F_A", exact, found))
        if scale == 0.15:
            rows.append(
                Row.of(
                    "Mueller-Brown 0.15",
                    "ln Z",
                    18.61543946,
                    log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)),
                )
            )
    return rows


def lennard_jones_dimer(n: int, rng: np.random.Generator) -> list[Row]:
    """ln Z and P(r < 1.5), directions uniform on the sphere."""
    rows = []
    for depth, (log_z, close) in DIMER.items():
        system = by_name(f"lennard-jones-dimer-{depth}")
        x, log_q = _radial(system, 3, np.linspace(0.5, 14, 541), n, rng)
        log_w = -energies(system, x) - log_q
        name = f"LJ dimer, depth {depth}"
        rows.append(
            Row.of(name, "ln Z", log_z, log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)))
        )
        near = np.linalg.norm(x, axis=1) < 1.5
        share = populations(log_w, {"near": near})[0]
        rows.append(
            Row(name, "P(r < 1.5)", "SNIS", close, share.population, share.standard_error, unit="1", n=n)
        )
    return rows


def pair_double_well(n: int, rng: np.random.Generator) -> list[Row]:
    """ln Z and F(r > 4) - F(r < 4) in two dimensions."""
    system = by_name("pair-double-well")
    x, log_q = _radial(system, 2, np.linspace(0.2, 8, 391), n, rng)
    log_w = -energies(system, x) - log_q
    far = np.linalg.norm(x, axis=1) > 4
    found = state_free_energies(
        log_w, {"near": ~far, "far": far}, [("near", "far")], Statistics(rng, n_bootstrap=REPLICATES)
    )[0]
    return [
        Row.of(
            "pair double well",
            "ln Z",
            7.95354017,
            log_partition(log_w, Statistics(rng, n_bootstrap=REPLICATES)),
        ),
        Row.of("pair double well", "F_far - F_near", -0.73265543, found),
    ]


def _radial(
    system: ModelSystem, dimension: int, edges: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, d) with a tempered radial density and uniform directions, and their log density."""

    def radial(r: np.ndarray) -> np.ndarray:
        x = np.concatenate([r, np.zeros((len(r), dimension - 1))], axis=1)
        return energies(system, x) - (dimension - 1) * np.log(r[:, 0])

    r, log_q = GridDensity(radial, [edges], tempering=_TEMPERING).draw(n, rng)
    direction = rng.standard_normal((n, dimension))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    sphere = {2: 2 * math.pi, 3: 4 * math.pi}[dimension]
    return r * direction, log_q - (dimension - 1) * np.log(r[:, 0]) - math.log(sphere)
