"""``models``: what comes with the package, and how a run becomes a release."""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.config.model import load_model, model_record
from boltzgen.config.settings import nearest
from boltzgen.config.shipped import check_sums, find_model, shipped_models
from boltzgen.errors import InputError
from boltzgen.files import make_folder, read_json, read_text, sha256_file, write_atomic, write_json
from boltzgen.loaders.records import OpenRecord, checked
from boltzgen.loaders.tensors import tensor_shapes
from boltzgen.workflows.installation.publication import publish_file

SCHEMA = "boltzgen.release/1"

#: What a name may consist of; it becomes a folder and a word at the terminal.
NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")

#: What every release says of itself in ``metrics.json``, besides the schema and the name.
REQUIRED = ("force_field", "solvent", "figures")


@dataclass(frozen=True)
class Release:
    """One released model.

    Attributes
    ----------
    molecules: how many it was trained on. temperatures: K, rising. parameters: numbers in the flow.
    figures: what was measured, name -> ``{"value": ..., "standard_error": ...}``. size: bytes of its files.
    """

    name: str
    folder: Path
    molecules: int
    force_field: str
    solvent: str
    temperatures: tuple[float, ...]
    parameters: int
    figures: dict[str, Any]
    size: int

    @classmethod
    def read(cls, folder: Path) -> Release:
        """The release in `folder`; InputError when a file of it is missing or was changed."""
        check_sums(folder)
        record, metrics = model_record(folder), read_json(folder / "metrics.json")
        _check_metrics(metrics, str(folder / "metrics.json"))
        return cls(
            name=folder.name,
            folder=folder,
            molecules=len(record["systems"]),
            force_field=str(metrics["force_field"]),
            solvent=str(metrics["solvent"]),
            temperatures=tuple(float(t) for t in record["temperatures_K"]),
            parameters=_parameters(folder / "weights.safetensors"),
            figures=dict(metrics["figures"]),
            size=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        )

    def summary(self) -> dict[str, Any]:
        """For the table that the command prints."""
        low, high = min(self.temperatures), max(self.temperatures)
        return {
            "molecules trained on": self.molecules,
            "force field": self.force_field,
            "solvent": self.solvent,
            "temperature / K": f"{low:g}" if low == high else f"{low:g} to {high:g}",
            "parameters": f"{self.parameters / 1e6:.2f} million",
            "size": f"{self.size / 1e6:.1f} MB",
            **{name: _shown(figure) for name, figure in self.figures.items()},
        }


def releases() -> list[Release]:
    """The models that come with the package, their files checked, by name.

    Returns
    -------
    list of Release: what each was trained on, its size in bytes, and what was measured of it.

    Raises
    ------
    InputError: a file of one is missing or was changed.

    Example
    -------
    >>> import boltzgen as bg
    >>> [release.force_field for release in bg.releases() if release.name == "peptides-ff14sb-obc1"]
    ['ff14SB (amber14-all.xml)']
    """
    return [Release.read(folder) for folder in shipped_models().values()]


def model_card(name: str) -> str:
    """The card of the shipped model `name` in Markdown: data, cost, figures, where it fails.

    Raises
    ------
    InputError: no shipped model has this name, or a file of it was changed.

    Example
    -------
    >>> import boltzgen as bg
    >>> print(bg.model_card("peptides-ff14sb-obc1").splitlines()[0])
    # peptides-ff14sb-obc1
    """
    known = shipped_models()
    if name not in known:
        ship = nearest(name, known) if known else " No model is shipped; train one with `train()`."
        raise InputError(f"{name}: no shipped model has this name.{ship}")
    check_sums(known[name])
    return read_text(known[name] / "README.md", missing="the release has no card.")


def write_release(
    run: str | PathLike[str],
    name: str,
    metrics: Mapping[str, Any],
    card_text: str,
    folder: str | PathLike[str],
) -> Path:
    """Make ``folder/name`` from the finished run or model folder `run`; returns it.

    Parameters
    ----------
    metrics: ``force_field``, ``solvent``, ``figures`` (name -> ``{"value", "standard_error"}``, null
        where a number is not known, with a ``reason``) and whatever else belongs to them. The words of
        `prepare` must stand in the first two (``gaff2``; ``none``, ``obc2``): `run` and `show` look for them.
    card_text: the card in Markdown: data, cost, figures on unseen molecules with error bars, where it fails.

    Raises
    ------
    InputError: the run holds no model or no config.yaml, the name cannot be one, or is taken.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be the name of a model: use a-z, 0-9, '.', '_', '+' and '-'.")
    whole = {"schema": SCHEMA, "name": name, **metrics}
    _check_metrics(whole, "metrics")
    source = find_model(run)
    load_model(source)
    place = Path(folder) / name
    if place.exists():
        raise InputError(f"{place} is there already; remove it, or give the release another name.")
    config = next((p for p in (Path(run) / "config.yaml", source / "config.yaml") if p.is_file()), None)
    if config is None:
        raise InputError(f"{run}: no config.yaml; name the run folder that `train()` wrote.")
    made = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=make_folder(folder)))
    try:
        names = ("weights.safetensors", "model.json", "seen.safetensors")
        for path in (*(source / name for name in names), config):
            if path.is_file():
                publish_file(path, made / path.name, config.parent)
        write_json(made / "metrics.json", whole)
        write_atomic(made / "README.md", card_text)
        write_atomic(made / "SHA256SUMS", sums_of(made))
        made.chmod(0o755)
        made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return place


def sums_of(folder: Path) -> str:
    """The lines of ``SHA256SUMS`` for the files of `folder`, as ``sha256sum`` writes and checks them."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    return "".join(f"{sha256_file(path)}  {path.name}\n" for path in files)


class _Figure(OpenRecord):
    """What was measured, with its error; a number that is not known is null."""

    value: float | None
    standard_error: float | None
    reason: str = ""


class _Metrics(OpenRecord):
    """``metrics.json``; a release may say more."""

    force_field: str
    solvent: str
    figures: dict[str, _Figure]


def _check_metrics(metrics: Any, where: str) -> None:
    """InputError unless `metrics` holds what a release must say."""
    if not isinstance(metrics, Mapping) or metrics.get("schema") != SCHEMA:
        raise InputError(f"{where}: does not follow the schema {SCHEMA}.")
    if missing := [key for key in REQUIRED if key not in metrics]:
        raise InputError(f"{where}: {', '.join(missing)} missing; a release says its {', '.join(REQUIRED)}.")
    remedy = "a figure needs a value and a standard_error (or null)."
    checked(_Metrics, dict(metrics), where, remedy)


def _parameters(weights: Path) -> int:
    """How many numbers the tensors in `weights` hold; their values are not read."""
    return sum(math.prod(shape) for shape in tensor_shapes(weights, "install the model anew.").values())


def _shown(figure: Mapping[str, Any]) -> str:
    """A figure with its error, both with the error's first two digits."""
    value, error = figure["value"], figure["standard_error"]
    if value is None:
        return f"not known ({figure.get('reason', 'no reason given')})"
    return f"{value:.3g}" if error is None else f"{value:.3g} +- {error:.2g}"
