"""The one reader of YAML files and ``key=value`` overrides.

A configuration is a frozen pydantic model with a docstring per field; a file holds only departures
from the defaults. Unknown keys are errors that name the nearest known key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from boltzgen.config.keys import right_places, settings_in
from boltzgen.errors import InputError
from boltzgen.files import LONGEST_SHOWN, read_text
from boltzgen.loaders.yaml_text import LARGEST_YAML, parse_yaml
from boltzgen.settings import Settings

S = TypeVar("S", bound=Settings)

#: How pydantic calls the alternatives of a key that takes one value or a list.
_ALTERNATIVE = re.compile(r"str|int|float|constrained-\w+|(list|tuple)\[.*\]")


def load_settings(cls: type[S], path: str | PathLike[str], overrides: Iterable[str] = ()) -> S:
    """Read the YAML file `path` into `cls`, after applying ``key.sub=value`` `overrides`.

    Raises InputError, in one or two sentences, for a missing, empty or broken file, duplicate or
    unknown keys (with the nearest known one), and values of the wrong type or out of range.
    """
    values = read_yaml(path)
    return build_settings(cls, values, overrides, source=str(path))


def build_settings(
    cls: type[S], values: Mapping[str, Any], overrides: Iterable[str] = (), *, source: str = "settings"
) -> S:
    """`values` with `overrides` as a `cls`; `source` is named in messages."""
    merged = apply_overrides(values, overrides)
    try:
        return cls.model_validate(merged)
    except ValidationError as error:
        raise InputError(_sentence(cls, error, source, merged)) from error
    except InputError as error:  # of a kind or loss that no package brings
        raise InputError(f"{source}: {error}") from error


def dump_yaml(settings: Settings | Mapping[str, Any]) -> str:
    """The resolved settings as YAML, every key written, defaults included; a mapping as it is."""
    values = settings.model_dump(mode="json") if isinstance(settings, Settings) else dict(settings)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def read_yaml(path: str | PathLike[str]) -> dict[str, Any]:
    """The mapping in the YAML file `path`; InputError when it is anything else."""
    missing = "no such configuration file; name one, or a shipped configuration."
    text = read_text(path, missing=missing, kind="a YAML text file", largest=LARGEST_YAML)
    value = parse_yaml(text, source=str(path))
    if value is None:
        raise InputError(f"{path}: the configuration is empty; expected at least one 'key: value' line.")
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected 'key: value' lines, found a {type(value).__name__}.")
    return value


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`values` with each ``key.sub=value`` of `overrides` put in; values are read as YAML."""
    merged = _copied(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise InputError(
                f"{override[:LONGEST_SHOWN]!r} is not an override; write key=value or key.sub=value."
            )
        node = merged
        for name in names[:-1]:
            child = node.setdefault(name, {})
            if child is None:
                child = node[name] = {}
            if not isinstance(child, dict):
                raise InputError(f"{override!r}: {name!r} holds a single value and has no keys below it.")
            node = child
        node[names[-1]] = parse_yaml(text, source=override)
    return merged


#: Words of a list that a sentence repeats.
LISTED = 12


def nearest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the known word nearest to `word`, or at most `LISTED` known ones."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f" Known: {', '.join(known[:LISTED])}{more}." if known else ""


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _sentence(cls: type[BaseModel], error: ValidationError, source: str, values: Mapping[str, Any]) -> str:
    """The first faults of `error` in words (at most three)."""
    faults = _of_one_alternative(error.errors(include_url=False))
    sentences = [_fault(cls, fault, values) for fault in faults[:3]]
    more = f" ({len(faults) - 3} more faults)" if len(faults) > 3 else ""
    return f"{source}: {' '.join(dict.fromkeys(sentences))}{more}"


def _of_one_alternative(faults: list[Any]) -> list[Any]:
    """`faults`, where a key may be one thing or a list: those of the one that was meant, by its own name.

    Pydantic tries each alternative and puts its name into the location of what it finds wrong there.
    """
    plain, tried, lists = [], [], set()
    for fault in faults:
        location = fault["loc"]
        place = next((n for n, part in enumerate(location) if _ALTERNATIVE.fullmatch(str(part))), None)
        if place is None:
            plain.append(fault)
            continue
        key, below = location[:place], location[place + 1 :]
        if below or isinstance(fault["input"], list):
            lists.add(key)
        tried.append((key, location[place].startswith("list"), {**fault, "loc": (*key, *below)}))
    return plain + [fault for key, of_list, fault in tried if of_list == (key in lists)] or faults


def _fault(cls: type[BaseModel], fault: Any, values: Mapping[str, Any]) -> str:
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    kind = fault["type"]
    if kind == "extra_forbidden":
        return f"unknown key {key!r}.{_place_of(cls, location, values)}"
    if kind == "missing":
        return f"the key {key!r} is missing."
    if kind in ("model_type", "model_attributes_type"):
        owner = _model_at(cls, location, values)
        known = list(owner.model_fields)[:4] if owner else []
        return f"{key!r} is {fault['input']!r:.60}: expected keys below it, {', '.join(known)}, ..."
    message = fault["msg"].removeprefix("Value error, ").rstrip(".")
    given = fault["input"]
    if not key:
        return f"{message}."
    shown = repr(given)
    if len(shown) > 60:
        shown = type(given).__name__ if isinstance(given, dict | list) else f"{shown[:60]}..."
    return f"{key!r} is {shown}: {message[:1].lower()}{message[1:]}."


def _place_of(cls: type[BaseModel], location: list[str], values: Mapping[str, Any]) -> str:
    """`` Did you mean 'x'?`` for the unknown key at `location`: here, or where a key is called so."""
    owner = _model_at(cls, location[:-1], values)
    beside = list(owner.model_fields) if owner else []
    found = right_places(location[-1], beside, cls, values)
    if not found:
        return nearest(location[-1], beside)
    top = [name for name in found if "." not in name and name not in beside and len(location) > 1]
    *first, last = [f"{name!r} at the top level" if name in top else repr(name) for name in found]
    return f" Did you mean {', '.join(first)} or {last}?" if first else f" Did you mean {last}?"


def _model_at(cls: type[BaseModel], location: list[str], values: Mapping[str, Any]) -> type[BaseModel] | None:
    """The settings class that owns the keys under `location` of `values`; None inside lists."""
    owner: type[BaseModel] | None = cls
    annotation: Any = cls
    value: Any = values
    for name in location:
        value = value.get(name) if isinstance(value, Mapping) else None
        if owner is not None and name in owner.model_fields:
            annotation = owner.model_fields[name].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        else:
            return None
        owner = settings_in(annotation)
        if owner is not None and issubclass(owner, Settings):
            owner = owner.reader(name, value)
    return owner
