"""How fast a release draws, beside the code of another checkout with the same weights.

    python tests/benchmarks/draw_speed.py MODEL SYS [SYS ...] [--base CHECKOUT] [--draws 2048] [--repeats 5]

Samples with density and energy, one thread, the least processor time of all repeats; all versions take turns,
each in a process of its own, so that the ratios hold on a busy machine too. `--walkers 32` times passes of so
many rows instead, as chains make them: whole ones, and those from the middle and the last quarter of the
coordinates on. Energies are not compiled. The steps of the flow are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KELVIN = 310.0


def worker(options: argparse.Namespace) -> None:
    """For each line of stdin the seconds of each task, and the effective share of all draws so far."""
    import numpy as np
    import torch

    import boltzgen
    from boltzgen.ensemble.ensemble import Ensemble
    from boltzgen.ensemble.join import concatenate

    torch.set_num_threads(1)
    generator = boltzgen.load_generator(options.model, options.systems[0])
    generator.flow.to(getattr(torch, options.dtype))
    if options.compiled:
        generator.flow.use_compiler()
    random, drawn = torch.Generator().manual_seed(7), list[Ensemble]()

    def draw() -> None:
        drawn.extend(generator.draw(options.draws, KELVIN, generator=random))

    tasks: list[Callable[[], object]] = passes(generator, options.walkers) if options.walkers else [draw]
    for task in tasks:
        task()
    drawn.clear()
    print("ready", flush=True)
    for _ in sys.stdin:
        seconds = []
        for task in tasks:
            start = time.process_time()
            task()
            seconds.append(time.process_time() - start)
        share = 0.0
        if drawn:
            log_w = concatenate(drawn).log_w
            weights = np.exp(log_w - log_w.max())
            share = float(weights.sum() ** 2 / (weights**2).sum() / len(weights))
        print(*seconds, share, flush=True)


def passes(generator: object, rows: int) -> list[Callable[[], object]]:
    """A whole pass, and where the flow can those from the middle and the last quarter on."""
    import torch

    flow, embedding = generator.flow, generator.embed(KELVIN, rows)
    latents, _ = flow.draw_latents(embedding, generator=torch.Generator().manual_seed(3))
    if not hasattr(flow, "decode_kept"):
        return [torch.no_grad()(lambda: flow.decode(latents, embedding))] * 3
    kept, size = flow.decode_kept(latents, embedding)[2], latents.shape[1]
    return [
        lambda first=first: flow.decode_changed(latents, embedding, kept, first)
        for first in (0, size // 2, 3 * size // 4)
    ]


def start(
    code: Path, options: argparse.Namespace, system: str, dtype: str, compiled: bool
) -> subprocess.Popen:
    """A worker with the package of checkout `code`."""
    command = [sys.executable, __file__, options.model, system, "--worker", "--dtype", dtype]
    command += ["--draws", str(options.draws), "--walkers", str(options.walkers)]
    command += ["--compiled"] if compiled else []
    environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=code
    )


def measure(workers: dict[str, subprocess.Popen], repeats: int) -> dict[str, list[float]]:
    """Least seconds of each task by worker, and last its effective share; they take turns."""
    for process in workers.values():
        assert process.stdout is not None
        process.stdout.readline()
    found: dict[str, list[list[float]]] = {name: [] for name in workers}
    for _ in range(repeats):
        for name, process in workers.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            found[name].append([float(word) for word in process.stdout.readline().split()])
    for process in workers.values():
        process.communicate()
    return {
        name: [min(column) for column in zip(*(row[:-1] for row in rows), strict=True)] + rows[-1][-1:]
        for name, rows in found.items()
    }


def report(system: str, options: argparse.Namespace, found: dict[str, list[float]]) -> None:
    reference = next(iter(found.values()))
    for name, (*seconds, share) in found.items():
        rows = options.walkers or options.draws
        line = f"{Path(system).name:10s} {name:20s}"
        for own, other in zip(seconds, reference, strict=False):
            line += f" {1e3 * own / rows:8.3f} ms {other / own:6.2f}x"
        if not options.walkers:
            rate = rows / seconds[0]
            line += f" {rate:8.0f}/s, effective {100 * share:6.2f} %, {share * rate:7.1f}/s"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--draws", type=int, default=2048)
    parser.add_argument("--walkers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="float64", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.model = str(Path(options.model).resolve()) if Path(options.model).exists() else options.model
    options.systems = [str(Path(system).resolve()) for system in options.systems]
    if options.worker:
        worker(options)
        return
    versions = [("float64", False), ("float32", False), ("float64", True), ("float32", True)]
    for system in options.systems:
        workers = {}
        if options.base:
            for dtype, _ in versions[:2]:
                workers[f"base {dtype}"] = start(options.base.resolve(), options, system, dtype, False)
        for dtype, compiled in versions:
            name = f"{dtype}{', compiled' if compiled else ''}"
            workers[name] = start(ROOT, options, system, dtype, compiled)
        report(system, options, measure(workers, options.repeats))


if __name__ == "__main__":
    main()
