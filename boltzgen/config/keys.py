"""The keys of a configuration: where each stands, what it takes, and where a misplaced one belongs."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from boltzgen.settings import Settings

#: Places that a message names for one misplaced key.
_MOST_PLACES = 4

_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


@dataclass(frozen=True)
class Key:
    """A key: its dotted name, its type and bounds in words, its default, and its meaning and unit."""

    name: str
    type: str
    default: Any
    meaning: str

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def keys_of(cls: type[BaseModel], values: Mapping[str, Any] | None = None, above: str = "") -> Iterator[Key]:
    """Every key of `cls`, those of the settings in it below them, in the order of the classes.

    values: a configuration, in which names choose the class of a part (the kind of a flow, say); without it
    the defaults choose. above: what stands before each name.
    """
    for name, field in cls.model_fields.items():
        value = None if values is None else values.get(name)
        inner = class_below(field.annotation, name, value)
        if inner is None:
            yield Key(
                above + name, _type_of(field), _default(field), " ".join((field.description or "").split())
            )
        else:
            chosen = value if isinstance(value, Mapping) else None
            yield from keys_of(inner, chosen, f"{above}{name}.")


def class_below(annotation: Any, name: str, value: Any) -> type[BaseModel] | None:
    """The settings class of the part `name`, whose content is `value`; None where it holds no keys."""
    found = settings_in(annotation)
    if found is not None and issubclass(found, Settings):
        return found.reader(name, value if isinstance(value, Mapping) else {})
    return found


def settings_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a type such as ``A | None``; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return settings_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        found = [settings_in(part) for part in get_args(annotation)]
        return next((part for part in found if part is not None), None)
    return None


def right_places(
    word: str, beside: Iterable[str], cls: type[BaseModel], values: Mapping[str, Any]
) -> list[str]:
    """Names that the unknown key `word` may stand for, the likeliest first; empty where none is near.

    beside: the keys known where it stands. A key that is called so elsewhere in `cls` counts, and so does one
    that is spelt nearly so.
    """
    every = [key.name for key in keys_of(cls, values)]
    likeness = {name: _likeness(word, name.rpartition(".")[2]) for name in every}
    near = max(likeness.values(), default=0.0)
    elsewhere = [name for name in every if likeness[name] == near >= _NEARLY]
    here = difflib.get_close_matches(word, list(beside), n=1, cutoff=0.5)
    if not elsewhere or any(_likeness(word, name) >= near for name in here):
        return here
    return [*elsewhere, *(name for name in here if _likeness(word, name) >= _NEARLY)][:_MOST_PLACES]


def _likeness(first: str, second: str) -> float:
    return difflib.SequenceMatcher(None, first, second).ratio()


#: Likeness (0 to 1) from which two words are a slip of the finger apart.
_NEARLY = 0.8


def _default(field: FieldInfo) -> Any:
    return "(needed)" if field.is_required() else field.get_default(call_default_factory=True)


def _type_of(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(one, name):g}"
        for one in field.metadata
        for name, sign in _BOUNDS.items()
        if isinstance(getattr(one, name, None), int | float)
    ]
    return " ".join([_words(field.annotation), *bounds])


def _words(annotation: Any) -> str:
    """A type for people: ``number``, ``list of text``, ``reference or free``."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in inner if part is not type(None)))
    if origin is list:
        return f"list of {_words(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(_words(part) for part in inner)}]"
    if origin is dict:
        return "keys with values"
    known = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return known.get(annotation, getattr(annotation, "__name__", str(annotation)))
