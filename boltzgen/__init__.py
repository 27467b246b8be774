"""Boltzmann generators: from a molecule to a free energy with its error.

The package is light to import: nothing below loads torch or OpenMM until it is used.
The verbs of the command line are the functions of ``boltzgen.workflows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from boltzgen.provenance import VERSION

if TYPE_CHECKING:
    from os import PathLike

    from boltzgen.ensemble.ensemble import Ensemble
    from boltzgen.generator import BoltzmannGenerator
    from boltzgen.system.molecular_system import MolecularSystem

__version__ = VERSION


@overload
def load(path: str | PathLike[str], system: None = None) -> Ensemble: ...
@overload
def load(path: str | PathLike[str], system: str | PathLike[str] | MolecularSystem) -> BoltzmannGenerator: ...
def load(
    path: str | PathLike[str], system: str | PathLike[str] | MolecularSystem | None = None
) -> Ensemble | BoltzmannGenerator:
    """The samples in the folder `path` (OUT); with `system`, the flow in `path` asked about that molecule.

    `path` is then a run or a model folder, `system` a SYS folder, ``model:NAME`` or a molecule in memory.
    """
    from boltzgen.workflows.sampling.load import load_generator, load_samples

    return load_samples(path) if system is None else load_generator(path, system)
