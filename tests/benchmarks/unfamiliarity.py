"""Does the unfamiliarity of molecules foretell an effective sample size below 1 %? Over several benchmarks.

    python tests/benchmarks/unfamiliarity.py BENCH BENCH2 ...

reads what `boltzgen benchmark transfer` wrote and prints the AUROC of the score for each folder and for all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from boltzgen.files import read_json
from boltzgen.workflows.transfer_table import familiarity_auroc


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmarks", type=Path, nargs="+", metavar="BENCH")
    together = []
    for folder in parser.parse_args().benchmarks:
        own = [read_json(path) for path in sorted((folder / "molecules").glob("*.json"))]
        print(f"{folder}: {json.dumps(familiarity_auroc(own))}")
        together += own
    print(f"together: {json.dumps(familiarity_auroc(together))}")


if __name__ == "__main__":
    main()
