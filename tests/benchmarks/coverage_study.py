"""How often intervals hold the exact value: SNIS, PSIS, bootstrap, BAR and MBAR, replicated 2 000 times.

    nice -n 15 python tests/benchmarks/coverage_study.py --out FOLDER [--replicates 2000] [--seed 20261121]
    python tests/benchmarks/coverage_study.py --out FOLDER --publish      # results of FOLDER into the docs

Writes coverage.json (after every case), coverage.md (the table of docs/measured/exact.md) and coverage.png.
All numbers come from the public functions of `boltzgen.free_energy`, one call a replicate. The nominal 95 %
interval of the bootstrap is its percentile interval; every other is value +- z standard errors. The
ensembles count as checked for coverage, so that a warning is about their weights alone.

Acceptance: 92 to 98 % for nominal 95 %, 62 to 74 % for nominal 68 %, where k < 0.4. Elsewhere (the last
two cases) the intervals may fail, and the verdict must warn. (Not called coverage.py: beside a script of that
name Numba takes it for the package.)
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from boltzgen.coordinates import InternalCoordinates
from boltzgen.free_energy import Estimate, log_partition, state_free_energies
from boltzgen.free_energy.overlap import absolute_mbar, bar
from boltzgen.free_energy.statistics import Statistics
from boltzgen.potentials.model_systems import HarmonicWell, MuellerBrown, by_name
from boltzgen.potentials.of_system import potential_of
from boltzgen.report.drawing import BLUE, GREEN, GREY, ORANGE, new_figure, save
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy
from boltzgen.workflows.exact_answers.butane import EXACT, HARMONIC_TERMS, prepared_butane
from boltzgen.workflows.exact_answers.grid_density import GridDensity
from boltzgen.workflows.exact_answers.systems import MUELLER_BROWN, energies

CHECKED = {"verdict": "ok", "reasons": []}
Z68, Z95 = 0.994458, 1.959964
BANDS = {68: (0.62, 0.74), 95: (0.92, 0.98)}
ESTIMATORS = ("SNIS", "PSIS", "bootstrap", "BAR", "MBAR")

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- coverage: written by --publish -->", "<!-- coverage: end -->"

#: Samples of a replicate: drawn from the flow, and (half as many) by BAR and MBAR from the target.
SAMPLES = 1000


@dataclass(frozen=True)
class Case:
    """One target and one proposal.

    flow: (n, rng) -> u (n,), log_q (n,), in B (n,) bool, of n samples of the proposal. target: the same of n
    samples of the target. log_z, difference: exact; difference (F_B - F_A) is None without states.
    """

    name: str
    k: float
    flow: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]
    target: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]
    log_z: float
    difference: float | None

    @property
    def estimators(self) -> tuple[str, ...]:
        """BAR and MBAR average bounded functions: heavy tails do not concern them."""
        return ESTIMATORS if self.k < 0.4 else ESTIMATORS[:3]


@dataclass(frozen=True)
class Cell:
    """One estimator in one case."""

    case: str
    estimator: str
    quantity: str
    k: float
    k_hat: float | None
    exact: float
    replicates: int
    bias: float
    spread: float
    standard_error: float
    covered68: float
    covered95: float
    warned: float

    @property
    def inside(self) -> bool:
        return all(
            low <= covered <= high
            for (low, high), covered in zip(BANDS.values(), (self.covered68, self.covered95))
        )

    @property
    def verdict(self) -> str:
        return "held" if self.inside else "missed, warned" if self.warned >= 0.5 else "MISSED IN SILENCE"


def gaussian(dimension: int, variance: float) -> Case:
    """Standard normal target, normal proposal of `variance`: k = 1 - variance."""
    well, width = HarmonicWell(1.0, dimension), math.sqrt(variance)

    def described(x):
        log_q = -0.5 * (x**2).sum(1) / variance - dimension * math.log(width * math.sqrt(2 * math.pi))
        return energies(well, x), log_q, x[:, 0] > 0

    return Case(
        f"Gaussian, {dimension} d",
        1 - variance,
        lambda n, rng: described(width * rng.standard_normal((n, dimension))),
        lambda n, rng: described(rng.standard_normal((n, dimension))),
        well.log_partition(),
        None,
    )


def double_well() -> Case:
    """x^4 - 6x^2 - x/2, proposal at a lower temperature (too narrow)."""
    system = by_name("double-well")

    def line(x):
        return energies(system, np.concatenate([x, np.zeros_like(x)], axis=1))

    flow = GridDensity(line, [np.linspace(-4, 4, 801)], tempering=1.15)
    target = GridDensity(line, [np.linspace(-4, 4, 4001)])

    def described(x):
        return line(x), flow.log_density(x), x[:, 0] > 0

    return Case(
        "double well",
        1 - 1 / 1.15,
        lambda n, rng: described(flow.draw(n, rng)[0]),
        lambda n, rng: described(target.equilibrium(n, rng)),
        math.log(11784.509265),
        -1.690631,
    )


def mueller_brown() -> Case:
    """The surface times 0.05, proposal at a lower temperature."""
    system, edges = MuellerBrown(0.05), [np.linspace(-4, 3, 561), np.linspace(-2.5, 5, 601)]
    flow = GridDensity(lambda x: energies(system, x), edges, tempering=1.12)
    target = GridDensity(lambda x: energies(system, x), edges)

    def described(x):
        return energies(system, x), flow.log_density(x), x[:, 1] <= x[:, 0] + 0.8

    return Case(
        "Mueller-Brown",
        1 - 1 / 1.12,
        lambda n, rng: described(flow.draw(n, rng)[0]),
        lambda n, rng: described(target.equilibrium(n, rng)),
        system.log_partition(),
        MUELLER_BROWN[0.05],
    )


def bonded_chain(folder: Path, temperature: float = 300.0) -> Case:
    """Butane without nonbonded terms; bonds and angles drawn too narrow, the torsion too flat."""
    system = MolecularSystem.load(folder / "SYS")
    coordinates, potential = InternalCoordinates(system), potential_of(system)
    thermal, kinds = thermal_energy(temperature), coordinates.table.kind
    exact = {kind: _term(kind, thermal, 1.0) for kind in ("bond", "angle", "torsion")}
    narrow = {kind: _term(kind, thermal, 0.7 if kind == "torsion" else 1.15) for kind in exact}

    def described(values):
        log_q = sum(narrow[kind].log_density(values[:, i : i + 1]) for i, kind in enumerate(kinds))
        positions, log_det = coordinates.decode(torch.as_tensor(values))
        turned = np.abs(values[:, kinds.index("torsion")]) < 2 * np.pi / 3
        return potential.energy(positions).numpy() / thermal, log_q - log_det.numpy(), turned

    return Case(
        "bonded chain",
        1 - 1 / 1.15,
        lambda n, rng: described(np.hstack([narrow[kind].draw(n, rng)[0] for kind in kinds])),
        lambda n, rng: described(np.hstack([exact[kind].equilibrium(n, rng) for kind in kinds])),
        *EXACT[temperature],
    )


def _term(kind: str, thermal: float, tempering: float) -> GridDensity:
    """The density of one internal coordinate, its volume element included, to the power `tempering`."""
    if kind == "torsion":
        v1, v2, v3 = (4.184 * v / thermal for v in (1.3, -0.05, 0.2))

        def torsion(phi):
            phi = phi[:, 0]
            first = v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi))
            return 0.5 * (first + v3 * (1 + np.cos(3 * phi)))

        return GridDensity(torsion, [np.linspace(-np.pi, np.pi, 721)], tempering=tempering)
    centre, constant = HARMONIC_TERMS[kind]
    width = math.sqrt(thermal / constant)

    def term(value):
        volume = 2 * np.log(value[:, 0]) if kind == "bond" else np.log(np.sin(value[:, 0]))
        return 0.5 * ((value[:, 0] - centre) / width) ** 2 - volume

    return GridDensity(term, [centre + width * np.linspace(-8, 8, 1601)], tempering=tempering)


def study(case: Case, replicates: int, seed: int) -> list[Cell]:
    """All estimators of one case; samples of all replicates are drawn at once."""
    rng = np.random.default_rng(seed)
    half = SAMPLES // 2
    flow = [a.reshape(replicates, SAMPLES) for a in case.flow(replicates * SAMPLES, rng)]
    target = [a.reshape(replicates, half) for a in case.target(replicates * half, rng)]
    found: dict[str, list[Estimate]] = {name: [] for name in ESTIMATORS}
    for r in range(replicates):
        u, log_q, inside = (a[r] for a in flow)
        for name, smoothed, draws in (("SNIS", False, 400), ("PSIS", True, 100)):
            found[name].append(_importance(case, -u - log_q, inside, smoothed, draws, rng))
        if "BAR" not in case.estimators:
            continue
        v, log_q_v, _ = (a[r] for a in target)
        statistics = Statistics(rng, n_bootstrap=100, coverage=CHECKED)
        found["BAR"].append(bar((u + log_q)[:half], -(v + log_q_v), (1.0, 1.0), statistics))
        found["MBAR"].append(
            absolute_mbar(
                np.append(log_q[:half], log_q_v),
                half,
                np.append(u[:half], v)[None],
                [half],
                statistics,
                inefficiency_k=[1.0],
                names=["target"],
            ).log_partition("target")
        )
    found["bootstrap"] = found["SNIS"]
    return [_cell(case, name, found[name]) for name in case.estimators]


def _importance(case: Case, log_w, inside, smoothed: bool, draws: int, rng) -> Estimate:
    statistics = Statistics(rng, n_bootstrap=draws, smoothed=smoothed, coverage=CHECKED)
    if case.difference is None:
        return log_partition(log_w, statistics)
    return state_free_energies(log_w, {"A": ~inside, "B": inside}, [("A", "B")], statistics)[0]


def _cell(case: Case, name: str, found: Sequence[Estimate]) -> Cell:
    overlap, sign = name in ("BAR", "MBAR"), -1.0 if name == "BAR" else 1.0
    exact = case.log_z if overlap or case.difference is None else case.difference
    value = np.array([np.nan if e.value is None else sign * e.value for e in found])
    chosen = "standard_error_bootstrap" if name == "bootstrap" else "standard_error"
    error = np.array([np.nan if getattr(e, chosen) is None else getattr(e, chosen) for e in found])
    within95 = np.abs(value - exact) <= Z95 * error
    if name == "bootstrap":
        ends = np.array([[np.nan if end is None else end for end in e.interval95] for e in found])
        within95 = (ends[:, 0] <= exact) & (exact <= ends[:, 1])
    k_hats = [e.k_hat for e in found if e.k_hat is not None]
    return Cell(
        case=case.name,
        estimator=name,
        k=case.k,
        k_hat=float(np.mean(k_hats)) if k_hats else None,
        quantity="ln Z" if overlap or case.difference is None else "F_B - F_A",
        exact=exact,
        replicates=len(found),
        bias=float(np.nanmean(value) - exact),
        spread=float(np.nanstd(value)),
        standard_error=float(np.nanmean(error)),
        covered95=float(within95.mean()),
        covered68=float((np.abs(value - exact) <= Z68 * error).mean()),
        warned=float(np.mean([e.verdict != "ok" for e in found])),
    )


def table(cells: Sequence[Cell]) -> str:
    """The table of docs/measured/exact.md."""
    lines = [
        "| case | k | estimator | of | bias | spread; mean error | 68 % covers | 95 % covers | warned | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.case} | {c.k:.2f} | {c.estimator} | {c.quantity} | {c.bias:+.4f} | {c.spread:.4f}; "
        f"{c.standard_error:.4f} | {100 * c.covered68:.1f} % | {100 * c.covered95:.1f} % | "
        f"{100 * c.warned:.0f} % | {c.verdict} |"
        for c in cells
    ]
    return "\n".join(lines) + "\n"


def figure(cells: Sequence[Cell], path: Path) -> None:
    """Coverage of both nominal levels, one point a cell; open where the verdict warned."""
    names = list(dict.fromkeys(f"{c.case}, k = {c.k:.2f}" for c in cells))
    colours = dict(zip(ESTIMATORS, (BLUE, ORANGE, GREEN, "#CC79A7", "#000000"), strict=True))
    drawn, axes = new_figure(9.0, 1.6 + 0.55 * len(names), 1, 2)
    for axis, (level, (low, high)) in zip(axes[0], BANDS.items(), strict=True):
        axis.axvspan(100 * low, 100 * high, color=GREY, alpha=0.25, linewidth=0)
        axis.axvline(level, color=GREY, linewidth=1.0)
        for c in cells:
            place = names.index(f"{c.case}, k = {c.k:.2f}") + 0.15 * (ESTIMATORS.index(c.estimator) - 2)
            p = c.covered68 if level == 68 else c.covered95
            axis.errorbar(
                100 * p,
                place,
                xerr=100 * math.sqrt(p * (1 - p) / c.replicates),
                fmt="o",
                markersize=5,
                color=colours[c.estimator],
                markerfacecolor="white" if c.warned >= 0.5 else None,
            )
        axis.set_xlabel(f"nominal {level} % interval covers (%)")
        axis.set_yticks(range(len(names)), names if level == 68 else [""] * len(names))
        axis.set_ylim(len(names) - 0.5, -0.5)
    for name, colour in colours.items():
        axes[0, 1].plot([], [], "o", color=colour, label=name)
    axes[0, 1].plot([], [], "o", color="0.3", markerfacecolor="white", label="verdict warned")
    axes[0, 1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(drawn, path)


def publish(folder: Path) -> None:
    """Put the table between its marks in docs/measured/exact.md, and the figure beside it."""
    content = json.loads((folder / "coverage.json").read_text())
    cells = [Cell(**cell) for cell in content["cells"]]
    page = DOCS / "measured" / "exact.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    made = f"{cells[0].replicates} replicates of {content['samples']} samples, seed {content['seed']}:"
    page.write_text(f"{before}{BEGIN}\n{made}\n\n{table(cells)}{END}{rest.split(END)[1]}", encoding="utf-8")
    figure(cells, DOCS / "images" / "coverage.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "coverage")
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    if options.publish:
        publish(options.out)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cells: list[Cell] = []
    with prepared_butane() as folder:
        makers = (
            functools.partial(gaussian, 10, 0.8),
            double_well,
            mueller_brown,
            functools.partial(bonded_chain, folder),
            functools.partial(gaussian, 10, 0.5),
            functools.partial(gaussian, 1, 0.3),
        )
        for number, make in enumerate(makers):
            start = time.perf_counter()
            cells += study(make(), options.replicates, options.seed + number)
            record = {"seed": options.seed, "samples": SAMPLES, "cells": [asdict(c) for c in cells]}
            (options.out / "coverage.json").write_text(json.dumps(record, indent=1))
            (options.out / "coverage.md").write_text(table(cells))
            figure(cells, options.out / "coverage.png")
            print(
                table([c for c in cells if c.case == cells[-1].case and c.k == cells[-1].k]),
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
