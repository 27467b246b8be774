"""A run packed so that it can be kept with the code: what it takes to go on elsewhere, in megabytes."""

from __future__ import annotations

import shutil
from os import PathLike
from pathlib import Path

from boltzgen.config.model import load_model
from boltzgen.config.settings import load_settings
from boltzgen.data.dataset import Dataset
from boltzgen.errors import InputError
from boltzgen.files import make_folder
from boltzgen.training.checkpoint import complete_checkpoints, pack_checkpoint
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.packed import FRAMES, pack_frames

#: Frames of each molecule that are kept, of all temperatures together.
KEPT_FRAMES = 200


def pack_run(run: str | PathLike[str], folder: str | PathLike[str], *, frames: int = KEPT_FRAMES) -> Path:
    """Pack the last checkpoint of the run in `run`, and frames of its data sets, into `folder`.

    Parameters
    ----------
    frames: of each molecule that has data (those kept for validation too), of all temperatures together.

    Returns
    -------
    Path: `folder`, with ``state.json`` and ``state.safetensors`` (`boltzgen.training.packing`),
    ``config.yaml``, and ``frames`` (`boltzgen.workflows.datasets.packed`). ``train(..., resume=folder)``
    goes on from it, on data sets built with ``build_dataset(..., frames=folder)``.

    Raises
    ------
    InputError: there is no checkpoint, or a data set that the run names is not where it was.
    """
    run, folder = Path(run), Path(folder)
    found = complete_checkpoints(run / "checkpoints")
    if not found:
        raise InputError(f"{run} holds no checkpoint; name the folder of a training run.")
    settings = load_settings(TrainingSettings, run / "config.yaml")
    named = [settings.dataset] if isinstance(settings.dataset, str) else settings.dataset or []
    molecules = [one for name in named for one in Dataset.load(name).molecules]
    make_folder(folder)
    for one in molecules:
        if one.data is not None and one.status == "complete" and one.split != "test":
            pack_frames(one, folder / FRAMES, frames)
    shutil.copyfile(run / "config.yaml", folder / "config.yaml")
    record = load_model(run / "model").record
    return pack_checkpoint(found[-1], folder, int(record["data_evaluations"]))
