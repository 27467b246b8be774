"""The kinds of flow on one budget: the demo's molecule, data and losses, and equal time or equal rows.

    python tests/benchmarks/flows.py --out FOLDER [--minutes 5] [--steps 650] [--seeds 0 1]

Every variant is trained by `boltzgen.workflows.training.train` with the demo's configuration, twice: for
`--minutes` of wall time ("time": a short trial measures its pace, and the whole schedule is fitted into the
budget), and for `--steps` steps, which are equal rows ("rows": the batches are those of the configuration). A
variant named "matched" is as wide as gives it the parameters of the default coupling flow. Judged on what
training
never saw: -log q of the shipped CHECK frames and raw weights of `--samples` samples, at 300 K.

Leave the machine to it: a budget of time means nothing on a busy one. `--minutes 0` or `--steps 0` leaves a
half out; `--set KEY=VALUE` changes the configuration for all (`--set reverse_kl.weight=0`). Energies are not
compiled. Writes flows.json after every row and flows.md; called again, it goes on with the rows that lack.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.diagnostics import diagnose
from boltzgen.files import write_atomic, write_json
from boltzgen.flows.settings import FlowSettings
from boltzgen.generator import BoltzmannGenerator
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.installation.demo import CONFIG, FORCEFIELD, SHIPPED, SOLVENT, SOURCE, TEMPERATURE
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.load import load_generator
from boltzgen.workflows.training.train import train

#: Flow settings of each variant; "matched" ones get the width that matches the first variant's parameters.
VARIANTS: dict[str, dict[str, Any]] = {
    "coupling": {"kind": "coupling"},
    "autoregressive": {"kind": "autoregressive"},
    "autoregressive matched": {"kind": "autoregressive"},
}
#: Steps of the trial that measures a variant's pace; the first and the last are left out.
TRIAL_STEPS = 22

#: Rows of the passes whose speed is reported: a batch of the demo.
PASS_ROWS = 384


@dataclass(frozen=True)
class Job:
    """One training run; `budget` is "time" (minutes) or "rows" (steps)."""

    variant: str
    budget: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant.replace(' ', '-')}_{self.budget}_{self.rate:g}_{self.seed}"


class Comparison:
    """The rows of one folder: those that are there, and how to make the others."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.folder = options, options.out
        self.file = self.folder / "flows.json"
        self.changes: list[str] = options.set
        common = {
            "minutes": options.minutes,
            "steps": options.steps,
            "samples": options.samples,
            "set": options.set,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        empty: dict[str, Any] = {"common": common, "paces": {}, "rows": {}}
        self.record = json.loads(self.file.read_text()) if self.file.is_file() else empty
        if self.record["common"] != common:
            raise SystemExit(
                f"{self.file} has rows of other options ({self.record['common']}); use another --out."
            )
        if not (self.folder / "SYS").is_dir():
            prepare(SOURCE, self.folder / "SYS", forcefield=[FORCEFIELD], implicit=SOLVENT)

    def run(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.name not in self.record["rows"]:
                print(f"{time.strftime('%H:%M:%S')} {job.name}", flush=True)
                self.record["rows"][job.name] = self.measure(job)
                self.write()

    def measure(self, job: Job) -> dict[str, Any]:
        """Train as `job` says and judge the result."""
        run = self.folder / "runs" / job.name
        steps = self.steps_in_budget(job.variant) if job.budget == "time" else self.options.steps
        begun = time.monotonic()
        result = self.train(job, steps, run)
        generator = load_generator(run, self.folder / "SYS")
        return {
            **asdict(job),
            "steps": steps,
            "parameters": n_parameters(generator.flow.state_dict()),
            "train_seconds": result.seconds,
            "whole_seconds": time.monotonic() - begun,
            "energy_evaluations": result.energy_evaluations,
            **self.judge(generator),
            **speeds(generator),
        }

    def train(self, job: Job, steps: int, run: Path, progress: Callable[..., None] = lambda *_: None) -> Any:
        words = [
            f"system={self.folder / 'SYS'}",
            f"data={SHIPPED / 'MD'}",
            *self.changes,
            f"optimizer.steps={steps}",
            f"optimizer.learning_rate={job.rate}",
            f"evaluation.every={steps}",
            "evaluation.samples=2",
            *(f"flow.{key}={value}" for key, value in flow_of(job.variant).items()),
        ]
        return train(
            CONFIG, words, run, resume="auto", seed=job.seed, compile_energies=False, progress=progress
        )

    def steps_in_budget(self, variant: str) -> int:
        """Steps that fit into the minutes, by the pace of a short run through the whole schedule."""
        paces = self.record["paces"]
        if variant not in paces:
            marks: list[float] = []
            trial = Job(variant, "trial", 1e-5, len(list(self.folder.glob("runs/*_trial_*"))))
            run = self.folder / "runs" / trial.name
            self.train(trial, TRIAL_STEPS, run, lambda *_: marks.append(time.monotonic()))
            # Steps of different phases take different times, and the last one's includes an evaluation.
            paces[variant] = statistics.mean(np.diff(marks[:-1]).tolist())
            self.write()
        return max(1, round(60 * self.options.minutes / paces[variant]))

    def judge(self, generator: BoltzmannGenerator) -> dict[str, Any]:
        """-log q of frames that training never saw, and the raw weights of fresh samples, at 300 K."""
        system = MolecularSystem.load(self.folder / "SYS")
        frames = read_trajectory(SHIPPED / "CHECK", system).at(TEMPERATURE)
        with torch.no_grad():
            log_q, _ = generator.log_prob(torch.as_tensor(np.array(frames.positions)), TEMPERATURE)
        finite = torch.isfinite(log_q)
        found = diagnose(generator.sample(self.options.samples, TEMPERATURE, seed=20261121).log_w)
        return {
            "held_out": float(-log_q[finite].mean()),
            "held_out_frames": len(log_q),
            "outside_frames": int((~finite).sum()),
            "ess": found.ess,
            "k_hat": found.k_hat,
            "log_z": found.log_z,
        }

    def write(self) -> None:
        write_json(self.file, self.record)
        write_atomic(self.folder / "flows.md", table(self.record["rows"].values()))


def flow_of(variant: str) -> dict[str, Any]:
    """The settings of `variant`, with the width that matches where its name asks for it."""
    settings = VARIANTS[variant]
    if not variant.endswith("matched"):
        return settings
    wanted = parameters_of(VARIANTS["coupling"])
    widths = [{**settings, "hidden": width} for width in range(16, 260, 4)]
    return min(widths, key=lambda candidate: abs(parameters_of(candidate) - wanted))


def parameters_of(settings: dict[str, Any]) -> int:
    return n_parameters(build_flow(FlowSettings.model_validate(settings), seed=0).state_dict())


def n_parameters(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def speeds(generator: BoltzmannGenerator) -> dict[str, float]:
    """Rows a second of a likelihood with its gradient, and of drawing; one thread, best of three."""
    flow, context = generator.flow, Context.of(generator.target.features, TEMPERATURE, PASS_ROWS)
    with torch.no_grad():
        values = flow.sample(flow.embed(context), generator=torch.Generator().manual_seed(1))[0]

    def learn() -> None:
        flow.log_prob(values, flow.embed(context)).sum().backward()

    def draw() -> None:
        with torch.no_grad():
            flow.sample(flow.embed(context), generator=torch.Generator().manual_seed(2))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {"learn_rows_per_second": best_rate(learn), "draw_rows_per_second": best_rate(draw)}
    finally:
        torch.set_num_threads(threads)


def best_rate(work: Callable[[], None]) -> float:
    taken = []
    for _ in range(4):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return PASS_ROWS / min(taken[1:])


def table(rows: Any) -> str:
    """Markdown, the best held-out -log q of each budget first."""
    titles = (
        "budget",
        "flow",
        "parameters",
        "learning rate",
        "seed",
        "steps",
        "training, s",
        "held-out -log q",
        "raw ESS, %",
        "k-hat",
        "learns, rows/s",
        "draws, rows/s",
    )
    lines = [titles, ("---",) * len(titles)]
    for row in sorted(rows, key=lambda row: (row["budget"] != "time", row["held_out"])):
        k_hat = "-" if row["k_hat"] is None else f"{row['k_hat']:.2f}"
        lines.append(
            (
                row["budget"],
                row["variant"],
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['rate']:g}",
                str(row["seed"]),
                str(row["steps"]),
                f"{row['train_seconds']:.0f}",
                f"{row['held_out']:.2f}",
                f"{100 * row['ess']:.1f}",
                k_hat,
                f"{row['learn_rows_per_second']:.0f}",
                f"{row['draw_rows_per_second']:.0f}",
            )
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="wall time of each run on equal time")
    parser.add_argument("--steps", type=int, default=650, help="steps of each run on equal rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3], help="learning rates")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    budgets = [name for name, size in (("time", options.minutes), ("rows", options.steps)) if size > 0]
    jobs = [
        Job(variant, budget, rate, seed)
        for seed in options.seeds
        for budget in budgets
        for rate in options.rates
        for variant in options.variants
    ]
    Comparison(options).run(jobs)
    print((options.out / "flows.md").read_text())


if __name__ == "__main__":
    main()
