"""Chains beside exchanges: python tests/benchmarks/chains/table.py OUT [--setting short]

Reads what exchange.py, moves.py and, if it ran, openmm_price.py left in OUT, and prints a table for the
docs. Of several seeds the geometric mean counts; a side whose walkers are shorter than 50 of their own
correlation times is marked.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from measured import lines_of

#: Correlation times that a walker should be long.
LONG = 50


def mean(values: Sequence[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


#: What is compared.
COSTS = ("energies_a_sample", "cpu_a_sample")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--setting", default="short")
    asked = parser.parse_args()
    found: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for record in lines_of(asked.out / "exchange.jsonl"):
        if record["setting"] == asked.setting:
            found[str(record["sequence"])]["exchange"].append(record)
    for record in lines_of(asked.out / "chains.jsonl"):
        found[str(record["sequence"])]["chains"].append(record)
    openmm = {
        str(record["sequence"]): record["cpu_seconds_an_energy"]
        for record in lines_of(asked.out / "openmm.jsonl")
    }
    print(
        "| molecule | exchange: energies, CPU s a sample | chains: the same | ratio: energies; CPU s | "
        "OpenMM's exchange: CPU s a sample, ratio |"
    )
    print("|---|---|---|---|---|")
    ratios: list[list[float]] = []
    over_openmm: list[float] = []
    for name, both in found.items():
        if len(both) == 2:
            costs = {side: [mean([one[key] for one in both[side]]) for key in COSTS] for side in both}
            ratios.append([a / b for a, b in zip(costs["exchange"], costs["chains"], strict=True)])
            cells = [
                f"{costs[side][0]:.0f}; {costs[side][1]:.2f}{' (short)' if is_short(both[side]) else ''}"
                for side in ("exchange", "chains")
            ]
            beside = ""
            if name in openmm:
                its = costs["exchange"][0] * openmm[name]
                over_openmm.append(its / costs["chains"][1])
                beside = f"{its:.2f}; {over_openmm[-1]:.1f}x"
            over = f"{ratios[-1][0]:.1f}x; {ratios[-1][1]:.2f}x"
            print(f"| {name} | {cells[0]} | {cells[1]} | {over} | {beside} |")
    if ratios:
        energies, cpu = zip(*ratios, strict=True)
        print(
            f"| median; least | | | {statistics.median(energies):.1f}x, {min(energies):.1f}x; "
            f"{statistics.median(cpu):.2f}x, {min(cpu):.2f}x | {_median_and_least(over_openmm)} |"
        )


def _median_and_least(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}x, {min(values):.1f}x" if values else ""


def is_short(records: Sequence[dict]) -> bool:
    """Whether a walker of one of the runs has less than `LONG` independent rows."""
    return any(one["samples"] / one.get("walks", one.get("walkers")) < LONG for one in records)


if __name__ == "__main__":
    main()
