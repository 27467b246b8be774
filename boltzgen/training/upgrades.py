"""Files of older versions brought to the present one, a step at a time: the chain, flows and checkpoints.

A stored thing says which version it follows (``boltzgen.checkpoint/1``). For each older version stands one
function here (for models in `boltzgen.config.upgrades`) which makes the next version of it, from the record
and the tensors alone. A step is exact: the flow gives the same numbers afterwards. What cannot be had exactly
is refused, with the boltzgen that reads it. A file of each version is kept in ``tests/golden``.

Who changes what is stored (names or shapes of tensors, meaning of the features, keys of a record) makes
the golden files of the version that ends (``tests/golden/make_versions.py``), raises the number and adds the
step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from boltzgen import __version__
from boltzgen.errors import InputError
from boltzgen.flows.tensor_names import upgrade_tensor_names

#: What the schema of a checkpoint is called, and its present version.
CHECKPOINT, CHECKPOINT_VERSION = "boltzgen.checkpoint", 2

#: Keys of a flow's settings that version 1 wrote for every kind, and the kind that has them.
_OWNED = {
    "layers": "coupling",
    "mask_seed": "coupling",
    "local": "autoregressive",
    "degree": "autoregressive",
}

#: Tensors that one token's embedding generates, by the last part of their names, in the flows of version 1:
#: inputs by hidden width, or hidden width and one by parameters.
_BY_INPUT = re.compile(r"(?:layers\.\d+\.)?(?:enter|own|enter_circular)\.(?:weight|bias)")
_BY_HIDDEN = re.compile(r"(?:layers\.\d+\.)?(?:leave\.\d|leave_linear|leave_circular)\.(?:weight|bias)")

#: What a loss remembers was that of `reweighted` alone in version 1, and had no name.
_OF_ONE_LOSS = re.compile(r"^buffer/(\d)")

#: What a coupling layer sees of a torsion: sines and cosines of its first three multiples.
_WAVES = 6


@dataclass(frozen=True)
class Stored:
    """What the files of one model or checkpoint hold: the JSON record, and tensors named ``part/name``."""

    record: dict[str, Any]
    tensors: dict[str, Tensor]


Step = Callable[[Stored], Stored]


def schema_version(record: object, family: str, newest: int, place: Path) -> int:
    """Which version of `family` the `record` in the file `place` follows, 1 to `newest`.

    InputError when it is of something else, or of a newer boltzgen: the sentence says which to install.
    """
    schema = record.get("schema") if isinstance(record, dict) else None
    match = re.fullmatch(re.escape(family) + r"/([1-9]\d{0,8})", str(schema))
    if not isinstance(record, dict) or match is None:
        raise InputError(
            f"{place}: expected the schema {family}/{newest} (or an older one), found {schema!r}; it is "
            "damaged, or not a file of boltzgen."
        )
    version = int(match[1])
    if version > newest:
        writer = record.get("boltzgen_version")
        wanted = f"boltzgen-sampler {writer}" if writer else "a newer boltzgen-sampler"
        raise InputError(
            f"{place} follows {schema}, this boltzgen ({__version__}) reads {family}/{newest} and older; "
            f"install {wanted}{' or newer' if writer else ''}."
        )
    return version


def upgraded(stored: Stored, family: str, steps: Mapping[int, Step], place: Path) -> Stored:
    """`stored`, read from the file `place`, as the newest version has it; `steps`: n -> the step to n + 1.

    InputError when it is not of this `family`, is newer, is damaged, or cannot be upgraded exactly.
    """
    newest = max(steps) + 1
    for version in range(schema_version(stored.record, family, newest, place), newest):
        try:
            stored = steps[version](stored)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"{place}: not a whole file of {family}/{version} ({type(error).__name__}: {first}); it is "
                "damaged."
            ) from error
        stored = Stored({**stored.record, "schema": f"{family}/{version + 1}"}, stored.tensors)
    return stored


def written_record(family: str, version: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` as it is written, under the schema and boltzgen of now, not those it was read with."""
    head = {"schema": f"{family}/{version}", "boltzgen_version": __version__}
    return {**head, **{key: value for key, value in record.items() if key not in head}}


def in_part(stored: Stored, part: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Stored:
    """`stored` with the tensors named ``part/name`` replaced by what `change` makes of them, by name."""
    start, own, others = f"{part}/", {}, {}
    for name, value in stored.tensors.items():
        if name.startswith(start):
            own[name.removeprefix(start)] = value
        else:
            others[name] = value
    return Stored(stored.record, others | {start + name: value for name, value in change(own).items()})


def flow_settings_from_1(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a flow without the keys of other kinds, which version 1 wrote at their defaults."""
    kind = settings["kind"]
    if kind == "attention":
        raise InputError(
            "flows of kind attention are gone; the last boltzgen that reads one is its commit 90e764f."
        )
    return {key: value for key, value in settings.items() if _OWNED.get(key, kind) == kind}


def shaped_by_weights(tensors: dict[str, Tensor], hidden: int) -> dict[str, Tensor]:
    """Generated weights of a flow of width `hidden` in their own shape; version 1 began with them in one row.

    The tensors have the names of version 1.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.ndim == (2 if name.endswith(".weight") else 1):
            if _BY_INPUT.fullmatch(name):
                if "enter_circular" in name and len(value) != _WAVES * hidden:
                    raise InputError(
                        "its coupling layers see two multiples of each torsion, later ones three; the last "
                        "boltzgen that reads it is its commit 32c60ff."
                    )
                value = value.unflatten(0, (-1, hidden))
            elif _BY_HIDDEN.fullmatch(name):
                value = value.unflatten(0, (hidden + 1, -1))
        found[name] = value
    return found


def _checkpoint_from_1(stored: Stored) -> Stored:
    """Version 2: the parts of flows by the field's words, and a loss's memory under the name of the loss."""
    if any(name.endswith("/exp_avg") for name in stored.tensors):
        raise InputError(
            "the run was trained with AdamW, whose state SOAP cannot go on from; the last boltzgen that goes "
            "on with it is its commit d0a71e3. The model of a finished run can be trained on: key 'start'."
        )
    stored = in_part(in_part(stored, "flow", upgrade_tensor_names), "average", upgrade_tensor_names)
    tensors = {
        _OF_ONE_LOSS.sub(r"buffer/reweighted/\1", name): value for name, value in stored.tensors.items()
    }
    return Stored(stored.record, tensors)


def upgraded_run_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The content of the ``config.yaml`` that any version of a run wrote, with the keys of today.

    The file carries no version, so that what is done here leaves a present one as it is.
    """
    flow = values.get("flow")
    if not isinstance(flow, dict) or "kind" not in flow:
        return values
    return {**values, "flow": flow_settings_from_1(flow)}


#: Version -> what makes the next one of it.
CHECKPOINT_STEPS: dict[int, Step] = {1: _checkpoint_from_1}
