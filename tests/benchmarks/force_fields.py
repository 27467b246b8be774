"""Every force field with every implicit solvent on every molecule, against OpenMM Reference.

    python tests/benchmarks/force_fields.py --output docs/runs/force_fields.md [--only ff19SB]
        [--thermal 24] [--distorted 24]

Writes one line a pair, and the worst of each force field and solvent, which docs/force_fields.md quotes.
Ten minutes on one core. Ends with exit code 1 when a pair exceeds the limits: 1e-6 relative in float64,
0.01 kT in float32 on thermal conformations.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cases"))

import torch
from force_field_cases import (
    FILES,
    FORCE_FIELDS,
    MODELS,
    MOLECULES,
    Agreement,
    agreement,
    conformations,
    solvents,
    system_of,
    system_of_file,
)

from boltzgen.errors import BoltzgenError

RELATIVE_LIMIT, SINGLE_LIMIT = 1e-6, 0.01

HEAD = (
    "| force field | implicit | molecule | atoms | conformations | dE | dF | float32, kT |\n"
    "|---|---|---|---:|---:|---:|---:|---:|"
)
WORST_HEAD = "| force field | implicit | molecules | dE | dF | float32, kT |\n|---|---|---:|---:|---:|---:|"


def cells(
    thermal: int, distorted: int, only: str | None
) -> Iterator[tuple[str, str, str, int, Agreement | str]]:
    """(force field or file, implicit, molecule, atoms, agreement or the reason of a refusal)."""
    for source in [*FORCE_FIELDS, *FILES]:
        if only is not None and only != source:
            continue
        for molecule in MOLECULES if source in FORCE_FIELDS else MOLECULES[:3]:
            frames = None
            for implicit in solvents(source) if source in FORCE_FIELDS else MODELS:
                try:
                    with tempfile.TemporaryDirectory() as folder:
                        system = (
                            system_of(source, implicit, molecule)
                            if source in FORCE_FIELDS
                            else system_of_file(source, implicit, molecule, Path(folder))
                        )
                    frames = frames or conformations(system, thermal, distorted)
                    yield source, implicit, molecule, system.n_atoms, agreement(system, frames)
                except BoltzgenError as error:
                    yield source, implicit, molecule, 0, str(error)


def worst(found: dict[tuple[str, str], list[Agreement]]) -> list[str]:
    """The table of docs/force_fields.md: the worst molecule of each force field and solvent."""
    return [WORST_HEAD] + [
        f"| {source} | {implicit} | {len(all_)} | {max(a.energy for a in all_):.0e} "
        f"| {max(a.force for a in all_):.0e} | {max(a.single for a in all_):.4f} |"
        for (source, implicit), all_ in found.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=[*FORCE_FIELDS, *FILES])
    parser.add_argument("--thermal", type=int, default=24)
    parser.add_argument("--distorted", type=int, default=24)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines, failures, agreed = [HEAD], 0, {}
    print(HEAD, flush=True)
    for source, implicit, molecule, atoms, found in cells(asked.thermal, asked.distorted, asked.only):
        if isinstance(found, str):
            line, good = f"| {source} | {implicit} | {molecule} | - | - | refused: {found} | | |", False
        else:
            agreed.setdefault((source, implicit), []).append(found)
            good = max(found.energy, found.force) <= RELATIVE_LIMIT and found.single <= SINGLE_LIMIT
            numbers = f"{found.conformations} | {found.energy:.0e} | {found.force:.0e} | {found.single:.1e}"
            mark = "" if good else " **beyond the limits**"
            line = f"| {source} | {implicit} | {molecule} | {atoms} | {numbers}{mark} |"
        failures += not good
        lines.append(line)
        print(line, flush=True)
    said = f"{len(lines) - 1} pairs, {failures} beyond the limits."
    lines = [f"{said}\n", *worst(agreed), "", *lines]
    print("\n".join(lines[: len(agreed) + 2]))
    if asked.output is not None:
        asked.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
