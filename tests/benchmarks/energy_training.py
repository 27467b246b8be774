"""One row of the energy-training table: train or resume, draw a million samples, measure, write it down.

    python tests/benchmarks/energy_training.py row alanine-dipeptide-fab --reference REFERENCE
    python tests/benchmarks/energy_training.py row alanine-dipeptide-fab --seed 1 --minutes 9 --card
    python tests/benchmarks/energy_training.py reference alanine-dipeptide-fab -o REFERENCE
    python tests/benchmarks/energy_training.py table            # runs/energy/*/result.json -> Markdown

A row is the name of a shipped configuration; ``--set key=value`` departs from it (give such a row a
``--name``), and ``--card`` trains it on CUDA by the settings of ``card_rows.py``. Its folder is
``runs/energy/ROW-seedS``. Each call goes on where the last one stopped: the training at its checkpoint, the
samples at their chunk. ``--minutes`` ends a call in time, with exit code 75.

Printed and kept in ``result.json``: effective sample sizes (raw, and the clipped and deleted conventions),
forward ESS and Ramachandran distances to an independent reference, evaluations of data and training (an
energy or a gradient counts one) and, apart, those that only measure; the machine and its time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from card_rows import CARD_ROWS
from energy_measure import (
    CHUNK,
    convergence_report,
    draw_chunks,
    read_chunks,
    reference_report,
    weights_report,
)

from boltzgen.config.model import load_model
from boltzgen.config.settings import apply_overrides, load_settings
from boltzgen.config.shipped import find_config
from boltzgen.errors import InputError, StoppedError
from boltzgen.files import read_json, write_json
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.generator import BoltzmannGenerator, read_target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.progress import Progress
from boltzgen.system.examples import EXAMPLE
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.metrics import read_metrics
from boltzgen.training.settings import TrainingSettings
from boltzgen.trust.determinant import require_determinants
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.training.resuming import changed_settings
from boltzgen.workflows.training.train import train

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path("runs") / "energy"

#: Exit code of a call that ran out of its minutes; the same command goes on.
UNFINISHED = 75

#: Rows that are judged at more than the temperature of their configuration (K).
TEMPERATURES = {"alanine-dipeptide-temperatures": (300.0, 400.0, 500.0, 600.0)}

#: The independent reference: other seeds than any training data has.
REFERENCE_SEED = 987_654_321
REFERENCE: dict[str, Any] = {
    "engine": "torch",
    "timestep": "1fs",
    "temperatures": "300,350,410,480,560,655,770,900",
    "replicas": 128,
    "equilibration": "50ps",
    "exchange_interval": "0.25ps",
    "save_interval": "0.5ps",
    "torsion_moves": 5,
}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    row = verbs.add_parser("row", help="train or resume, sample, measure")
    row.add_argument("row")
    row.add_argument("--set", action="append", default=[], metavar="key=value", dest="overrides")
    row.add_argument("--seed", type=int, default=0)
    row.add_argument("--name", help="folder below --runs (default: ROW-seedS)")
    row.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    row.add_argument("--card", action="store_true", help="on CUDA, by the settings of card_rows.py")
    row.add_argument("--minutes", type=float, help="end this call after so many minutes")
    row.add_argument("--samples", type=int, default=1_000_000)
    row.add_argument(
        "--proposals",
        type=float,
        nargs="*",
        default=[],
        metavar="RATIO",
        help="draw at so many times a temperature: sample --proposal-temperature",
    )
    row.add_argument("--reference", type=Path, help="MD folder of the stage `reference`")
    row.add_argument("--runs", type=Path, default=RUNS)
    reference = verbs.add_parser("reference", help="independent replica exchange, converged by halves")
    reference.add_argument("example")
    reference.add_argument("-o", "--output", type=Path, required=True)
    reference.add_argument("--time", default="1ns", help="of each replica")
    reference.add_argument("--minutes", type=float)
    reference.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="key=value",
        dest="options",
        help="an option of `simulate`",
    )
    molecule = verbs.add_parser("molecule", help="the example of a row's configuration")
    molecule.add_argument("row")
    table = verbs.add_parser("table", help="all results as Markdown")
    table.add_argument("--runs", type=Path, default=RUNS)
    asked = parser.parse_args(words)
    work = {"row": run_row, "reference": run_reference, "molecule": print_molecule, "table": print_table}
    return work[asked.verb](asked)


def run_row(asked: argparse.Namespace) -> int:
    """One row as far as its minutes reach; 0 when it is finished."""
    if asked.card:
        if asked.row not in CARD_ROWS:
            print(f"{asked.row} is no row of card_rows.py: {', '.join(CARD_ROWS)}", file=sys.stderr)
            return 2
        asked.name = asked.name or f"{asked.row}-seed{asked.seed}"
        asked.device, (asked.row, _, own) = "cuda", CARD_ROWS[asked.row]
        asked.overrides = [*own, *asked.overrides]
    folder = asked.runs / (asked.name or f"{asked.row}-seed{asked.seed}")
    with StopRequest(max_time=None if asked.minutes is None else 60 * asked.minutes) as stop:
        try:
            trained(asked, folder, stop)
        except StoppedError as stopped:
            print(f"{folder}: {stopped} The same command goes on.")
            return UNFINISHED
        except InputError as refused:
            print(refused, file=sys.stderr)
            return refused.exit_code
        result = measured(asked, folder, stop)
    if result is None:
        print(f"{folder}: samples are being drawn; the same command goes on.")
        return UNFINISHED
    write_json(folder / "result.json", result)
    print(json.dumps(result, indent=1))
    print(markdown([result]))
    return 0


def trained(asked: argparse.Namespace, folder: Path, stop: StopRequest) -> None:
    """Train into `folder`, data included, or go on there, unless it is finished.

    InputError when the finished run is of another row, seed or settings.
    """
    run = folder / "run"
    if (run / "model" / "model.json").is_file():
        words = [*asked.overrides, f"seed={asked.seed}"]
        wanted = load_settings(TrainingSettings, find_config(asked.row), words)
        changed = changed_settings(run / "config.yaml", wanted, free=("workers", "memory"))
        if changed:
            raise InputError(f"{run} was trained with another {', '.join(changed)}; give it another --name.")
        return
    train(
        asked.row,
        asked.overrides,
        run,
        resume="auto",
        device=asked.device,
        seed=asked.seed,
        stop=stop,
        progress=printed(every=30.0),
    )


def printed(every: float) -> Progress:
    """Progress as lines, `every` so many seconds."""
    last = -every

    def progress(done: int, total: int, values: Any = None) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            print(f"{done} of {total}", values or "", flush=True)

    return progress


def measured(asked: argparse.Namespace, folder: Path, stop: StopRequest) -> dict[str, Any] | None:
    """The finished row; None when `stop` came before all samples were drawn."""
    run = folder / "run"
    settings = load_settings(TrainingSettings, run / "config.yaml")
    model = load_model(run)
    molecule, target = read_target(str(settings.system), isomers=model.isomers)
    weights = hashlib.sha256((run / "model" / "weights.safetensors").read_bytes()).hexdigest()
    temperatures = TEMPERATURES.get(asked.row, (settings.evaluation.temperature,))
    flow = model.flow.to(device=asked.device, dtype=torch.float64)
    generator = BoltzmannGenerator(flow, target.to(asked.device))
    decide_compilation([generator.target.potential], asked.samples * len(temperatures), None, asked.device)
    found, references = [], []
    with closing(generator.target):
        require_determinants(generator, temperatures[0])
        for kelvin in temperatures:
            hotter = [ratio * kelvin for ratio in asked.proposals]
            generator = BoltzmannGenerator(asked_at(flow, hotter), generator.target)
            drawn_at = "-".join(["", *(f"{proposal:g}" for proposal in hotter)])
            place = folder / f"samples-{kelvin:g}K{drawn_at}-{weights[:12]}"
            if not draw_chunks(generator, kelvin, asked.seed, place, asked.samples, stop):
                return None
            drawn = read_chunks(place, asked.samples)
            found.append({"temperature_K": kelvin, **weights_report(drawn)})
            if asked.reference is not None:
                digests = list(model.record.get("data_sha256", ()))
                report = reference_report(generator, molecule, drawn, asked.reference, kelvin, digests)
                references += [] if report is None else [report]
    drawn_rows = -(-asked.samples // CHUNK) * CHUNK * len(temperatures)
    return {
        "row": folder.name,
        "configuration": asked.row,
        "overrides": asked.overrides,
        "proposals": asked.proposals,
        "seed": asked.seed,
        "system": str(settings.system),
        "weights_sha256": weights,
        "evaluations": evaluations(run, model.record, drawn_rows),
        "shipped": shipped(settings),
        "machine": machine(asked.device),
        "data_seconds": seconds_of_data(run, settings),
        "training_seconds": float(last_metrics(run).get("seconds") or 0.0),
        "results": found,
        "references": references,
        "commit": commit(),
    }


def evaluations(run: Path, record: dict[str, Any], measuring: int) -> dict[str, int]:
    """The budget (data and training), and apart from it what only measured."""
    budget, data = int(record["energy_evaluations"]), int(record["data_evaluations"])
    return {
        "data": data,
        "training": budget - data,
        "budget": budget,
        "measuring_on_the_way": int(last_metrics(run).get("evaluation_energies") or 0),
        "measuring_at_the_end": measuring,
    }


def data_folders(settings: TrainingSettings) -> list[str]:
    if settings.data is None:
        return []
    return [settings.data] if isinstance(settings.data, str) else list(settings.data)


def shipped(settings: TrainingSettings) -> str:
    """Whether anything that the package ships was learned from."""
    demo = [path for path in data_folders(settings) if "demo" in str(Path(path).resolve())]
    return f"shipped data: {', '.join(demo)}" if demo else "no shipped data, no shipped weights"


def last_metrics(run: Path) -> dict[str, Any]:
    """The last known value of every column of the run's metrics."""
    last: dict[str, Any] = {}
    for row in read_metrics(run / "metrics.jsonl"):
        last.update({key: value for key, value in row.items() if value is not None})
    return last


def seconds_of_data(run: Path, settings: TrainingSettings) -> float:
    """Wall time of the data, those that the run made itself included."""
    folders = [*map(Path, data_folders(settings)), *sorted((run / "data").glob("*"))]
    manifests = [path / "manifest.json" for path in folders]
    return sum(float(read_json(path).get("wall_seconds") or 0.0) for path in manifests if path.is_file())


def machine(device: str) -> str:
    """The card, or the processor and how many of its cores are used."""
    if device == "cuda":
        return torch.cuda.get_device_name(0)
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor() or platform.machine()


def commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def run_reference(asked: argparse.Namespace) -> int:
    """Simulate with a seed of its own, then say how far the halves of the run agree."""
    options = {**REFERENCE, **apply_overrides({}, asked.options), "time": asked.time}
    source = EXAMPLE + asked.example
    with StopRequest(max_time=None if asked.minutes is None else 60 * asked.minutes) as stop:
        try:
            simulated(source, asked.output, REFERENCE_SEED, options, stop)
        except StoppedError as stopped:
            print(f"{stopped} The same command goes on.")
            return UNFINISHED
    report = convergence_report(asked.output, MolecularSystem.load(source), 300.0)
    print(json.dumps(report, indent=1))
    return 0


def simulated(source: str, folder: Path, seed: int, options: dict[str, Any], stop: StopRequest) -> None:
    """Simulate into `folder`, or go on there; nothing is done when it is finished."""
    manifest = folder / "manifest.json"
    if manifest.is_file() and read_json(manifest).get("status") == "complete":
        return
    simulate(
        source,
        folder,
        seed=seed,
        resume="auto",
        stop=stop,
        progress=printed(every=30.0),
        command=sys.argv,
        **options,
    )


def print_molecule(asked: argparse.Namespace) -> int:
    name = CARD_ROWS[asked.row][0] if asked.row in CARD_ROWS else asked.row
    print(str(load_settings(TrainingSettings, find_config(name)).system).removeprefix(EXAMPLE))
    return 0


def print_table(asked: argparse.Namespace) -> int:
    results = [read_json(path) for path in sorted(asked.runs.glob("*/result.json"))]
    if not results:
        print(f"{asked.runs}: no result.json yet.", file=sys.stderr)
        return 1
    text = markdown(results)
    (asked.runs / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def markdown(results: list[dict[str, Any]]) -> str:
    """One line for each row and temperature; percent, evaluations in powers of ten."""
    head = (
        "row",
        "T (K)",
        "evaluations (data + training)",
        "raw ESS",
        "clipped",
        "deleted",
        "k-hat",
        "forward ESS",
        "Ramachandran TV",
        "floor",
        "data + training (min)",
        "machine",
        "shipped",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for result in results:
        references = {item["temperature_K"]: item for item in result["references"]}
        for found in result["results"]:
            cells = _cells(result, found, references.get(found["temperature_K"]))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(result: dict[str, Any], found: dict[str, Any], reference: dict[str, Any] | None) -> list[str]:
    spent = result["evaluations"]
    pairs = [] if reference is None else reference["ramachandran"]
    return [
        result["row"],
        f"{found['temperature_K']:g}",
        f"{spent['budget']:.2g} ({spent['data']:.2g} + {spent['training']:.2g})",
        *(f"{100 * found[key]:.2f} %" for key in ("ess_raw", "ess_clipped", "ess_deleted")),
        "-" if found["k_hat"] is None else f"{found['k_hat']:.2f}",
        "-" if reference is None else f"{100 * reference['forward_ess']:.2f} %",
        ", ".join(f"{pair['tv_reweighted']:.4f}" for pair in pairs) or "-",
        ", ".join(f"{pair['tv_floor']:.4f}" for pair in pairs) or "-",
        f"{result['data_seconds'] / 60:.1f} + {result['training_seconds'] / 60:.1f}",
        result["machine"],
        result["shipped"],
    ]


if __name__ == "__main__":
    sys.exit(main())
