"""`boltzgen run` with simulations and pilots as short as its roads can do with, for tests of the road.

As a program it is the command line with them: ``python short_roads.py run ...``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Draws of a pilot.
PILOT = 300


def shorten(change: Callable[[Any, str, Any], None]) -> None:
    """Change the sizes by `change`, which is `setattr` or that of a monkeypatch.

    Some ten walkers, each for half a picosecond; else a hundred walkers make 100 000 energies at the least.
    """
    from boltzgen.workflows.roads import defaults, look, walk

    sizes = {
        "BASE_EVALUATIONS": 4_000,
        "EVALUATIONS_A_TORSION": 0,
        "REPLICAS": 12,
        "FEWEST_LADDERS": 2,
        "LEAST": {"torch": 0.5, "openmm": 0.4},
    }
    for name, value in sizes.items():
        change(defaults, name, value)
    for module in (look, walk):
        if hasattr(module, "PILOT"):
            change(module, "PILOT", PILOT)


if __name__ == "__main__":
    from boltzgen_cli.entry import run

    shorten(setattr)
    run()
