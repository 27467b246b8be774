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
    """The flow in `model`, asked about `system`.

    Parameters
    ----------
    model: a run, a model folder or the name of a shipped model.
    system: SYS, ``example:NAME``, ``model:NAME`` (a model system), or a molecule in memory.

    Returns
    -------
    BoltzmannGenerator: its ``sample(number, temperature, seed=0)`` gives an ensemble, its
        ``log_prob(positions, temperature)`` densities with respect to the shape measure (lengths in nm).

    Raises
    ------
    InputError: either cannot be read. UnsupportedError: the molecule cannot be treated.

    Example
    -------
    >>> import boltzgen as bg
    >>> generator = bg.load_generator("RUN", "SYS")
    >>> ensemble = generator.sample(100, temperature=300.0, seed=1)
    >>> ensemble.positions.shape, ensemble.log_w.shape
    ((100, 9, 3), (100,))
    """
    trained = load_model(Path(model))
    if isinstance(system, MolecularSystem):
        return BoltzmannGenerator(trained.flow, Target.from_system(system, isomers=trained.isomers))
    return BoltzmannGenerator(trained.flow, read_target(str(system), isomers=trained.isomers)[1])


def load_samples(folder: str | PathLike[str]) -> Ensemble:
    """The weighted samples in `folder` (OUT), rejected ones too.

    Returns
    -------
    Ensemble: positions (n, N, 3) in nm, ``log_q``, ``u`` (in kT) and ``log_w`` (n,); `boltzgen.sample` and
        docs/files.md say what they are.

    Raises
    ------
    InputError: the folder holds no samples, or a file of it is missing, truncated or foreign.

    Example
    -------
    >>> import boltzgen as bg
    >>> ensemble = bg.load_samples("OUT")
    >>> ensemble.temperature, len(ensemble), ensemble.log_w.shape
    (300.0, 200, (200,))
    """
    if (Path(folder) / "model.json").exists() or (Path(folder) / "model" / "model.json").exists():
        raise InputError(
            f"{folder}: a model, not samples; name its molecule too: load_generator({str(folder)!r}, 'SYS')."
        )
    return load_ensemble(folder)
