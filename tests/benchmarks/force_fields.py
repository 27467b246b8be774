"""Every force field with every implicit solvent on every molecule, against OpenMM Reference.

    python tests/benchmarks/force_fields.py --output docs/runs/force_fields.csv [--only ff19SB]
        [--thermal 24] [--distorted 24]

Writes one line a pair, and prints the worst of each force field, which docs/force_fields.md quotes.
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
from boltzgen.files import csv_text

RELATIVE_LIMIT, SINGLE_LIMIT = 1e-6, 0.01

COLUMNS = (
    "force_field",
    "implicit",
    "molecule",
    "atoms",
    "conformations",
    "energy_relative",
    "force_relative",
    "float32_kT",
)
WORST_HEAD = (
    "| force field or file | solvents | pairs | dE | dF | float32, kT |\n|---|---:|---:|---:|---:|---:|"
)


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


def worst(found: dict[str, list[tuple[str, Agreement]]]) -> list[str]:
    """The table of docs/force_fields.md: the worst of each force field, over solvents and molecules."""
    lines = [WORST_HEAD]
    for source, pairs in found.items():
        energy, force, single = (
            max(getattr(agreed, name) for _, agreed in pairs) for name in ("energy", "force", "single")
        )
        solvents_met = len({implicit for implicit, _ in pairs})
        numbers = f"{energy:.0e} | {force:.0e} | {single:.4f}"
        lines.append(f"| {source} | {solvents_met} | {len(pairs)} | {numbers} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=[*FORCE_FIELDS, *FILES])
    parser.add_argument("--thermal", type=int, default=24)
    parser.add_argument("--distorted", type=int, default=24)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows, failures, agreed = [], 0, {}
    for source, implicit, molecule, atoms, found in cells(asked.thermal, asked.distorted, asked.only):
        row = {"force_field": source, "implicit": implicit, "molecule": molecule}
        if isinstance(found, str):
            good, said = False, f"refused: {found}"
        else:
            agreed.setdefault(source, []).append((implicit, found))
            good = max(found.energy, found.force) <= RELATIVE_LIMIT and found.single <= SINGLE_LIMIT
            row |= {
                "atoms": atoms,
                "conformations": found.conformations,
                "energy_relative": f"{found.energy:.0e}",
                "force_relative": f"{found.force:.0e}",
                "float32_kT": f"{found.single:.1e}",
            }
            said = f"{row['energy_relative']} {row['force_relative']} {row['float32_kT']}"
        failures += not good
        rows.append(row)
        print(f"{source}, {implicit}, {molecule}: {said}{'' if good else ', beyond the limits'}", flush=True)
    print(f"{len(rows)} pairs, {failures} beyond the limits.\n")
    print("\n".join(worst(agreed)))
    if asked.output is not None:
        asked.output.write_text(csv_text(COLUMNS, rows), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
