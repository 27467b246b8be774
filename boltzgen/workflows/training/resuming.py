"""Going on with a training run: from which checkpoint, and with which settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from boltzgen.config.settings import build_settings, read_yaml
from boltzgen.errors import InputError
from boltzgen.training.checkpoint import checkpoint_version, complete_checkpoints
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.upgrades import upgraded_run_settings

#: What may differ when a run goes on: where files lie, when it ends, what is measured and kept on the way.
FREE = (
    "system",
    "data",
    "data_system",
    "dataset",
    "start",
    "until",
    "optimizer.steps",
    "evaluation",
    "checkpoint_every",
    "workers",
)


def checkpoint_to_resume(folder: Path, resume: str) -> Path | None:
    """The checkpoint to start from; refuses to overwrite a run that was not asked to go on."""
    found = complete_checkpoints(folder / "checkpoints")
    if resume == "auto":
        return found[-1] if found else None
    if resume != "never":
        return Path(resume)
    if found:
        raise InputError(
            f'{folder} already holds a run (last checkpoint {found[-1].name}); go on with `resume="auto"`, '
            "or name another folder."
        )
    return None


def steps_of(checkpoint: Path | None) -> int:
    """Steps behind `checkpoint`, as its name says; 0 for none, and for a name of another kind."""
    number = "" if checkpoint is None else checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else 0


def changed_settings(
    written: Path, settings: TrainingSettings, free: Collection[str] = FREE
) -> dict[str, tuple[Any, Any]]:
    """Dotted keys in which `settings` differ from the file `written`: (before, now); `free` ones left out.

    The file may be of an older version of boltzgen.
    """
    former = build_settings(TrainingSettings, upgraded_run_settings(read_yaml(written)), source=str(written))
    before, now = _flat(former.model_dump()), _flat(settings.model_dump())
    return {
        key: (before.get(key), now.get(key))
        for key in dict.fromkeys([*now, *before])
        if before.get(key) != now.get(key)
        and not any(key == name or key.startswith(f"{name}.") for name in free)
    }


def check_resumed(settings: TrainingSettings, folder: Path, checkpoint: Path, *, chosen: bool) -> None:
    """Refuse to go on in `folder` from `checkpoint` with settings that the run did not begin with.

    A checkpoint that was `chosen` by name may go on with other losses and rates. Another flow never: some
    departures (the masks) would fit and be silently wrong.
    """
    checkpoint_version(checkpoint)  # what a newer boltzgen wrote is refused as that, not for its settings
    written = checkpoint / "config.yaml"  # of a packed run
    if not written.is_file():
        written = checkpoint.parent.parent / "config.yaml"
    if not written.is_file():
        return
    changed = changed_settings(written, settings)
    flow = [key for key in changed if key.split(".")[0] == "flow"]
    if flow:
        raise InputError(
            f"{checkpoint} was trained with another flow ({', '.join(flow)}); "
            f"resume with the configuration in {written}."
        )
    if changed and not chosen:
        told = ", ".join(f"{key}={now} (was {before})" for key, (before, now) in list(changed.items())[:3])
        raise InputError(
            f"{folder} was begun with other settings: {told}{', ...' if len(changed) > 3 else ''}; go on "
            f"with those in {written}, name another folder, or change them on purpose with "
            f'`resume="{checkpoint}"`.'
        )


def keep_former_settings(settings: TrainingSettings, folder: Path, checkpoint: Path) -> None:
    """Keep the settings of before as ``config-to-CHECKPOINT.yaml`` where the new ones train otherwise."""
    written = folder / "config.yaml"
    if written.is_file() and changed_settings(written, settings):
        written.rename(folder / f"config-to-{checkpoint.name}.yaml")


def check_steps(settings: TrainingSettings, checkpoint: Path, step: int) -> None:
    """Refuse a checkpoint that lies beyond the last step: nothing would be trained."""
    if step > settings.optimizer.steps:
        raise InputError(
            f"{checkpoint} stands at step {step}, beyond optimizer.steps={settings.optimizer.steps}; ask for "
            "more steps, or name another folder."
        )


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found
