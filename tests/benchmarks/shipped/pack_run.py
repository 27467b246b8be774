"""Pack a run to be kept with the code: ``python tests/benchmarks/shipped/pack_run.py RUN PACKED``.

Averaged weights, moments and some frames of each molecule; see
`boltzgen.workflows.training.packing.pack_run`. Says how large the folder is.
"""

from __future__ import annotations

import argparse

from boltzgen.workflows.training.packing import KEPT_FRAMES, pack_run


def main() -> None:
    """Read the command line and pack the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("run", "packed"):
        parser.add_argument(word)
    parser.add_argument("--frames", type=int, default=KEPT_FRAMES)
    given = parser.parse_args()
    folder = pack_run(given.run, given.packed, frames=given.frames)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
