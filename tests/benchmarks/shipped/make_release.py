"""Make a release: ``python tests/benchmarks/shipped/make_release.py RUN NAME METRICS CARD``, RUN finished.

METRICS is a JSON file with force_field, solvent and figures (name -> value and standard_error), CARD the card
in Markdown. The release goes into models/NAME; see `boltzgen.workflows.installation.models.write_release`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from boltzgen.files import read_json, read_text
from boltzgen.workflows.installation.models import write_release

MODELS = Path(__file__).resolve().parents[3] / "models"


def main() -> None:
    """Read the command line and write the release."""
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("run", "name", "metrics", "card"):
        parser.add_argument(word)
    parser.add_argument("--folder", default=str(MODELS))
    given = parser.parse_args()
    card = read_text(given.card, missing="no such card.")
    print(write_release(given.run, given.name, read_json(given.metrics), card, given.folder))


if __name__ == "__main__":
    main()
