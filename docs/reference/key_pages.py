"""The reference of keys: the settings that files hold, from the pydantic classes and their docstrings."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from markdown_words import code, plain, table
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from boltzgen.flows.settings import KINDS, FlowSettings
from boltzgen.training.losses.objective import LOSSES, LossSettings
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.settings import DatasetSettings


def page() -> str:
    """The reference of keys: those of a training, of each kind of flow and further loss, of a data set."""
    text = [
        "# Keys of configurations",
        "",
        "A file holds only departures from these defaults; on the command line they are `key.sub=value`.",
        "How they work together: [losses](../concepts.md#losses), [recipes](../energy_training.md),",
        "[flows](../flows.md), [data sets](../datasets.md).",
        "",
        "## boltzgen train",
        "",
        *_section(TrainingSettings, 3),
    ]
    for kind in KINDS.own:
        settings = KINDS.load_subclass(kind, "flow", FlowSettings)
        text += [f"### flow of kind {kind}", "", *_rows(settings, "flow")]
    named = {*TrainingSettings.model_fields}
    for loss in (loss for loss in LOSSES.own if loss not in named):
        settings = LOSSES.load_subclass(loss, "losses", LossSettings)
        text += [f"### losses.{loss}", "", *_rows(settings, f"losses.{loss}")]
    text += ["## boltzgen dataset build", "", *_section(DatasetSettings, 3)]
    return "\n".join(text)


def _section(settings, level, prefix=""):
    """The plain keys of a class, then each of its sections under a heading."""
    yield from _rows(settings, prefix)
    for name, field in settings.model_fields.items():
        inner = _section_class(field.annotation)
        if inner is not None and inner is not FlowSettings:
            yield from [f"{'#' * level} {prefix}{name}", "", plain(_summary(inner)), ""]
            yield from _section(inner, level, f"{prefix}{name}.")


def _rows(settings, prefix):
    prefix = prefix.rstrip(".") + "." if prefix else ""
    rows = []
    for name, field in settings.model_fields.items():
        if _section_class(field.annotation) is None or name == "flow":
            default = "needed" if field.default is PydanticUndefined and field.default_factory is None else ""
            if not default and _section_class(field.annotation) is None:
                default = code(_shown(field.get_default(call_default_factory=True)))
            rows.append(
                (code(prefix + name), _type(field.annotation), default, plain(field.description or ""))
            )
    return [*table(("key", "type", "default", "meaning"), rows), ""]


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0]


def _section_class(annotation: Any) -> type[BaseModel] | None:
    """The settings class behind an annotation, be it optional; None for a plain key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        found = [_section_class(each) for each in get_args(annotation)]
        return next((each for each in found if each is not None), None)
    return None


def _type(annotation: Any) -> str:
    """An annotation in the words of YAML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not type(None)))
    if origin is Literal:
        return " or ".join(code(each) for each in inner)
    if origin in (list, tuple):
        return "list" if origin is tuple else f"list of {_type(inner[0])}"
    if origin is dict or annotation is dict:
        return "mapping"
    words = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return words.get(annotation, "section" if isinstance(annotation, type) else "any")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("'", "") if value != "" else '""'
