"""Records: what a JSON file that boltzgen writes holds, as a model that its content is held against.

Types are strict (no text for a number), and keys that nobody wrote are refused. What is checked is used as it
was read: hashes cover it, and older files lack what has a default here.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from boltzgen.errors import InputError
from boltzgen.files import LONGEST_SHOWN, read_json

#: Bytes of a name, as most file systems have it.
_LONGEST_NAME = 255


class Record(BaseModel):
    """The content of one file, or of a mapping in it. A file names its schema and may be signed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    schema_: str | None = Field(default=None, alias="schema")
    content_sha256: str | None = None


class OpenRecord(Record):
    """One to which others may add keys; those that are named here are checked."""

    model_config = ConfigDict(extra="allow")


def _is_name(part: str) -> bool:
    """Whether `part` can be one part of a path that stays where it is."""
    foreign = any(sign in part for sign in ("/", "\\", "\0"))
    return part not in ("", ".", "..") and not foreign and len(part.encode()) <= _LONGEST_NAME


def _file_name(name: str) -> str:
    if not _is_name(name):
        raise ValueError(f"{name[:LONGEST_SHOWN]!r} is not the name of a file beside it")
    return name


def _path_below(name: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or not all(map(_is_name, path.parts)):
        raise ValueError(f"{name[:LONGEST_SHOWN]!r} is not a path below its folder")
    return name


#: The name of a file in the folder of the record.
FileName = Annotated[str, AfterValidator(_file_name)]

#: A relative path that stays below the folder of the record; see `below` for links.
PathBelow = Annotated[str, AfterValidator(_path_below)]

#: A count; a temperature in K.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Kelvin = Annotated[float, Field(gt=0)]


class Digest(Record):
    """What a manifest says of a file (`boltzgen.digests`)."""

    bytes: Count | None = None
    sha256: str | None = None


def checked(cls: type[Record], content: Any, source: str, remedy: str) -> dict[str, Any]:
    """`content`, read from `source`, if it is what `cls` describes; InputError, ending with `remedy`."""
    if not isinstance(content, dict):
        raise InputError(f"{source}: expected a mapping, found a {type(content).__name__}; {remedy}")
    try:
        cls.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{source}: damaged, {_first(cls, error)}; {remedy}") from error
    return content


def read_record(
    cls: type[Record], path: Path, *, schema: str, missing: str, remedy: str, of: str
) -> dict[str, Any]:
    """The JSON file `path`, which follows `schema` and is what `cls` describes.

    of: what the file should be, for the message that it is something else. Errors as in `checked`.
    """
    content = read_json(path, missing=missing)
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise InputError(f"{path}: not {of} (it does not follow the schema {schema}); {remedy}")
    return checked(cls, content, str(path), remedy)


def below(folder: Path, name: str, source: Path) -> Path:
    """The path `name`, which `source` names, below `folder`; InputError where it or a link leaves that."""
    try:
        _path_below(name)
        place = folder / name
        inside = place.resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{source}: {error}; copy the folder anew, or build it again.") from error
    if not inside:
        raise InputError(
            f"{source}: {name!r} is a link that leaves {folder}; copy what it names into the folder."
        )
    return place


def _first(cls: type[Record], error: ValidationError) -> str:
    """The first fault of `error` in words."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])[:LONGEST_SHOWN]
    if fault["type"] == "extra_forbidden":
        word = str(fault["loc"][-1])
        close = difflib.get_close_matches(word, cls.model_fields, n=1) if len(fault["loc"]) == 1 else []
        return f"the key {key!r} is not one of its keys" + (f" ({close[0]!r} is)" if close else "")
    if fault["type"] == "missing":
        return f"the key {key!r} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    if not key:
        return message
    shown = repr(fault["input"])
    shown = shown if len(shown) <= 60 else type(fault["input"]).__name__
    return f"{key!r} is {shown}: {message[:1].lower()}{message[1:]}"
