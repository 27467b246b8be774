"""Several transfer benchmarks seen together: what the unfamiliarity foretells, and the cost of growth.

    python tests/benchmarks/transfer_together.py BENCH BENCH2 ... [-o growth.png]

reads what `boltzgen benchmark transfer` wrote and prints, for each folder and for all, how well the
unfamiliarity foretells an effective sample size below 1 % (AUROC), and how ESS, gap and time grow with the
number of atoms. The figure shows all molecules, times scaled to 10 000 samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from boltzgen.files import read_json
from boltzgen.report.transfer import transfer_figure
from boltzgen.workflows.transfer.table import familiarity_auroc, growth, rows_of

SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmarks", type=Path, nargs="+", metavar="BENCH")
    parser.add_argument("-o", "--output", type=Path, help="PNG of the growth")
    asked = parser.parse_args()
    together = []
    for folder in asked.benchmarks:
        own = [read_json(path) for path in sorted((folder / "molecules").glob("*.json"))]
        print(f"{folder}: {json.dumps(familiarity_auroc(own))}")
        together += own
    print(f"together: {json.dumps(familiarity_auroc(together))}")
    rows = scaled_rows(together)
    print(json.dumps(growth(rows), indent=1))
    if asked.output is not None:
        print(transfer_figure(asked.output, rows, SAMPLES))


def scaled_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `records` with the seconds that `SAMPLES` samples would have taken."""
    drawn = {record["name"]: record["settings"]["samples"] for record in records}
    return [{**row, "seconds": row["seconds"] * SAMPLES / drawn[row["molecule"]]} for row in rows_of(records)]


if __name__ == "__main__":
    main()
