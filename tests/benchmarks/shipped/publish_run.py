"""Publish a run: ``python tests/benchmarks/shipped/publish_run.py RUN NAME``, RUN finished.

Its configuration, environment, metrics and model go into docs/runs/NAME, without a path of this machine; see
`boltzgen.workflows.installation.publication.publish_run`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from boltzgen.workflows.installation.publication import publish_run

RUNS = Path(__file__).resolve().parents[3] / "docs" / "runs"


def main() -> None:
    """Read the command line and copy the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("run", "name"):
        parser.add_argument(word)
    parser.add_argument("--folder", type=Path, default=RUNS)
    given = parser.parse_args()
    print(publish_run(given.run, given.folder / given.name))


if __name__ == "__main__":
    main()
