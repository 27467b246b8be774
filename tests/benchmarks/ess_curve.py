"""Effective sample size against energy evaluations: five ways to train one flow on one molecule, one figure.

    python tests/benchmarks/ess_curve.py run likelihood 1e6 [--rate 2e-2] [--minutes 9] [--device cuda]
    python tests/benchmarks/ess_curve.py figure -o ess_curve.png [--runs docs/runs/ess-curve]

METHOD is likelihood, reverse-kl, fab-like, annealed or combined; BUDGET counts the evaluations of data and
training together (1e5, 1e6, 1e7, ...). Flow, molecule and optimizer are the same for all. Each
budget is a run of its own, since learning rate and weights follow schedules that end with it. A finished run
leaves its way in ``METHOD-BUDGET-rateR-seedS.csv`` beside its folder; those of the documentation are kept in
``docs/runs/ess-curve``. A point of the figure is the highest raw effective sample size of a run (some methods
fall again), a thin line its way; of several rates the best one counts, method by method and budget by budget.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from energy_training import UNFINISHED, printed

from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.report.drawing import BLUE, GREEN, GREY, ORANGE, new_figure, save
from boltzgen.workflows.training.train import train

CONFIG = "alanine-dipeptide-fab"
RUNS = Path("runs") / "curve"

#: How data are made within a budget; see `boltzgen.training.settings.SimulationSource`.
SIMULATION: dict[str, Any] = {"timestep": 0.002, "hydrogen_mass": 3.0}

#: Energies of a training step, and steps at most: large budgets take larger batches instead.
FEWEST_A_STEP, MOST_STEPS = 64, 3_000

#: Samples of the buffer that a step learns from, at most: it takes longer to learn a sample than to draw one.
MOST_LEARNED = 512

#: Learning rate where none is asked: that of `CONFIG` diverges in reverse KL with batches of `FEWEST_A_STEP`.
RATE = 1e-2

#: Samples of an effective sample size on the way; they are not part of the budget.
JUDGED = 20_000

#: Method -> name and colour in the figure, and the share of the budget that makes data.
METHODS: dict[str, tuple[str, str, float]] = {
    "likelihood": ("maximum likelihood alone", GREY, 1.0),
    "reverse-kl": ("reverse KL alone", GREEN, 0.0),
    "fab-like": ("replay buffer (FAB-like)", ORANGE, 0.0),
    "annealed": ("annealed from 1200 K", "#CC79A7", 0.0),
    "combined": ("ours: data and energies", BLUE, 0.5),
}


def overrides(method: str, budget: float, rate: float = RATE) -> list[str]:
    """What departs from `CONFIG`: the weights of the losses, and batches that spend the budget."""
    left = budget * (1.0 - METHODS[method][2])
    steps = int(min(MOST_STEPS, max(left, budget / 2) // FEWEST_A_STEP))
    each = max(2, round(left / steps))
    words = {
        "optimizer.steps": steps,
        "optimizer.learning_rate": rate,
        "until.evaluations": round(budget),
        "evaluation.every": max(1, steps // 12),
        "evaluation.samples": JUDGED,
        "likelihood.weight": 0.0,
        "reverse_kl.weight": 0.0,
        "reweighted.weight": 0.0,
        "reverse_kl.batch_size": each,
        "reweighted.fresh": each,
        "reweighted.batch_size": min(max(256, each), MOST_LEARNED),
        "likelihood.dispersion": 0.0,
        "reweighted.dispersion": 0.0,
        "simulation": "null",
    }
    if METHODS[method][2] > 0:
        words["simulation"] = json.dumps({**SIMULATION, "evaluations": round(METHODS[method][2] * budget)})
    words.update(
        {
            "likelihood": {"likelihood.weight": 1.0, "until.evaluations": "null"},
            "reverse-kl": {"reverse_kl.weight": 1.0},
            "fab-like": _reverse_kl_first(),
            "annealed": {
                **_reverse_kl_first(),
                "reweighted.heating": "[[0, 4], [0.15, 4], [0.8, 1], [1, 1]]",
                "reverse_kl.temperatures": "[1200]",
                "reweighted.trust_region": 0.5,
            },
            "combined": {
                "likelihood.weight": "[[0, 1], [0.15, 1], [0.3, 0.1], [1, 0.1]]",
                "likelihood.dispersion": "[[0, 0], [0.15, 0], [0.2, 1]]",
                "reweighted.weight": "[[0, 0], [0.12, 0], [0.16, 1]]",
                "reweighted.dispersion": "[[0, 0], [0.15, 0], [0.2, 1]]",
                "reweighted.fresh": max(2, round(each / 0.86)),
            },
        }[method]
    )
    return [f"{key}={value}" for key, value in words.items()]


def _reverse_kl_first() -> dict[str, Any]:
    """Reverse KL for 15 % of the steps, until weights mean something; then the buffer alone."""
    return {
        "reverse_kl.weight": "[[0, 1], [0.15, 1], [0.16, 0], [1, 0]]",
        "reweighted.weight": "[[0, 0], [0.14, 0], [0.15, 1], [1, 1]]",
    }


def run(asked: argparse.Namespace) -> int:
    """One method at one budget as far as its minutes reach."""
    name = f"{asked.method}-{asked.budget:g}-rate{asked.rate:g}-seed{asked.seed}"
    folder = asked.runs / name
    words = [*overrides(asked.method, asked.budget, asked.rate), *asked.overrides]
    with StopRequest(max_time=None if asked.minutes is None else 60 * asked.minutes) as stop:
        try:
            if not (folder / "model" / "model.json").is_file():
                train(
                    CONFIG,
                    words,
                    folder,
                    resume="auto",
                    device=asked.device,
                    seed=asked.seed,
                    stop=stop,
                    progress=printed(every=30.0),
                )
        except StoppedError as stopped:
            print(f"{folder}: {stopped} The same command goes on.")
            return UNFINISHED
    shutil.copyfile(folder / "metrics.csv", asked.runs / f"{name}.csv")
    return 0


def curves(runs: Path) -> dict[str, list[np.ndarray]]:
    """Method -> one (n, 2) array a budget, rising: evaluations and raw effective sample size on the way.

    Of the runs at one budget (rates, seeds) the one that came highest; those that ended early do not count.
    """
    best: dict[str, dict[float, np.ndarray]] = {method: {} for method in METHODS}
    for path in sorted(runs.glob("*.csv")):
        asked = re.fullmatch(r"(.+?)-(\d[\d.e+]*)-rate.+-seed\d+", path.stem)
        if asked is None or asked[1] not in METHODS:
            raise SystemExit(f"{path}: its name tells no method and budget.")
        method, budget = asked[1], float(asked[2])
        with open(path, encoding="utf-8", newline="") as handle:
            told = [(row["energy_evaluations"], row["ess"]) for row in csv.DictReader(handle) if row["ess"]]
        way, known = np.array(told, float), best[method].get(budget)
        if known is None or way[:, 1].max() > known[:, 1].max():
            best[method][budget] = way
    return {method: [found[budget] for budget in sorted(found)] for method, found in best.items() if found}


def figure(asked: argparse.Namespace) -> int:
    """The figure of all runs there are."""
    found = curves(asked.runs)
    if not found:
        print(f"{asked.runs}: no run is finished yet.", file=sys.stderr)
        return 1
    drawing, axes = new_figure(6.2, 4.0)
    axis = axes[0, 0]
    for method, parts in found.items():
        name, colour, _ = METHODS[method]
        for way in parts:
            axis.plot(way[:, 0], 100 * way[:, 1], color=colour, linewidth=0.7, alpha=0.45)
        points = np.array([(way[-1, 0], way[:, 1].max()) for way in parts])
        axis.plot(points[:, 0], 100 * points[:, 1], "o-", color=colour, label=name, markersize=5)
        for way in parts:
            told = f"at best {100 * way[:, 1].max():.2f} %, at its end {100 * way[-1, 1]:.2f} %"
            print(f"{name}: {way[-1, 0]:.2g} evaluations, raw ESS {told}")
    axis.set_xscale("log")
    axis.set_ylim(0, 100)
    axis.set_xlabel("energy evaluations, data and training")
    axis.set_ylabel("raw effective sample size (%)")
    axis.set_title("Alanine dipeptide, ff96 + OBC1, 300 K", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    print(save(drawing, asked.output))
    return 0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("run", help="train one method at one budget")
    one.add_argument("method", choices=METHODS)
    one.add_argument("budget", type=float)
    one.add_argument("--rate", type=float, default=RATE, help="learning rate")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--minutes", type=float, help="end this call after so many minutes")
    one.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    one.add_argument("--set", action="append", default=[], metavar="key=value", dest="overrides")
    drawn = verbs.add_parser("figure", help="draw all runs there are")
    drawn.add_argument("-o", "--output", type=Path, default=Path("ess_curve.png"))
    for verb in (one, drawn):
        verb.add_argument("--runs", type=Path, default=RUNS)
    asked = parser.parse_args(words)
    return {"run": run, "figure": figure}[asked.verb](asked)


if __name__ == "__main__":
    sys.exit(main())
