"""Boltzmann generators: from a molecule to a free energy with its error.

The package is light to import: nothing below loads torch or OpenMM until it is used.
The verbs of the command line are the functions of ``boltzgen.workflows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from boltzgen.generator import BoltzmannGenerator
    from boltzgen.system.molecular_system import MolecularSystem

__version__ = "0.1.0"


def load(model: str | PathLike[str], system: str | PathLike[str] | MolecularSystem) -> BoltzmannGenerator:
    """The flow in `model` (a run or a model folder), asked about `system` (SYS or ``model:NAME``)."""
    from boltzgen.workflows.load import load_generator

    return load_generator(model, system)
