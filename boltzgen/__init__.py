"""Boltzmann generators: from a molecule to a free energy with its error.

The package is light to import: nothing below loads torch or OpenMM until it is used.
The verbs of the command line are the functions of ``boltzgen.workflows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from boltzgen.generator import BoltzmannGenerator

__version__ = "0.1.0"


def load(path: str | PathLike[str]) -> BoltzmannGenerator:
    """The Boltzmann generator stored in `path` (a run, a checkpoint or a released model)."""
    from boltzgen.generator import BoltzmannGenerator

    return BoltzmannGenerator.load(path)
