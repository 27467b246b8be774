"""Damage files of every format and feed them to boltzgen.

    python tests/fuzz/run.py                           100 000 mutations over every reader, on all cores
    python tests/fuzz/run.py --count 2000 --only pdb   some of one reader
    python tests/fuzz/run.py --case pdb:17 --out DIR   the folder of one case, and what becomes of it

Ends with 1 and a list of faults when there are any: a traceback, an end of the process, more than 10 s or
2 GiB, a sentence that is none, or an accepted file which another reader understands otherwise. ``--first N``
begins with another case: the next hundred thousand are new ones.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cases")]

from fuzz import runner  # noqa: E402
from fuzz.targets import targets  # noqa: E402

#: Cases of a target that one worker takes at a time.
_CHUNK = 250


def shares(count: int, only: list[str]) -> dict[str, int]:
    """How many of `count` mutations each target gets."""
    chosen = {name: target for name, target in targets().items() if not only or name in only}
    total = sum(target.weight for target in chosen.values())
    return {name: max(1, round(count * target.weight / total)) for name, target in chosen.items()}


def _work(task: tuple[str, range]) -> runner.Report:
    report = runner.Report()
    runner.run(targets()[task[0]], task[1], report)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], choices=sorted(targets()))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case")
    parser.add_argument("--out", type=Path, default=Path("fuzz-case"))
    asked = parser.parse_args()
    if asked.case:
        name, _, number = asked.case.partition(":")
        asked.out.mkdir(parents=True, exist_ok=True)
        print(*runner.one(targets()[name], int(number), asked.out))
        return 0
    start = time.time()
    tasks = [
        (name, range(first, min(first + _CHUNK, asked.first + share)))
        for name, share in shares(asked.count, asked.only).items()
        for first in range(asked.first, asked.first + share, _CHUNK)
    ]
    report = runner.Report()
    with multiprocessing.get_context("fork").Pool(asked.workers) as pool:
        for found in pool.imap_unordered(_work, tasks):
            for name, counts in found.counts.items():
                report.counts.setdefault(name, type(counts)()).update(counts)
            report.faults += found.faults
    for name, counts in sorted(report.counts.items()):
        print(f"{name:18s} {sum(counts.values()):7d}  {json.dumps(dict(counts))}")
    for name, number, what in sorted(report.faults):
        print(f"FAULT {name}:{number}  {what}")
    total = sum(sum(counts.values()) for counts in report.counts.values())
    print(f"{total} mutations, {len(report.faults)} faults, {time.time() - start:.0f} s")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
