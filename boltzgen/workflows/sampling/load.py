"""What was made, ready to be asked: samples in memory, or a trained model and a molecule."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from boltzgen.config.model import load_model
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.system.molecular_system import MolecularSystem


def load_generator(
    model: str | PathLike[str], system: str | PathLike[str] | MolecularSystem
) -> BoltzmannGenerator:
    """The flow in `model` (a run or a model folder) on `system` (SYS, ``model:NAME`` or in memory).

    Raises InputError when either cannot be read, UnsupportedError when the molecule cannot be treated.
    """
    trained = load_model(Path(model))
    if isinstance(system, MolecularSystem):
        return BoltzmannGenerator(trained.flow, Target.from_system(system, isomers=trained.isomers))
    return BoltzmannGenerator(trained.flow, read_target(str(system), isomers=trained.isomers)[1])


def load_samples(folder: str | PathLike[str]) -> Ensemble:
    """The ensemble in the folder `folder` (OUT); InputError in one sentence when it is none."""
    if (Path(folder) / "model.json").exists() or (Path(folder) / "model" / "model.json").exists():
        raise InputError(
            f"{folder}: a model, not samples; name its molecule too: load({str(folder)!r}, 'SYS')."
        )
    return load_ensemble(folder)
