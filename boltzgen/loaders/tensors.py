"""Tensors of safetensors files: the header is read by ourselves first, and held against the file's size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.files import file_size, parse_json, read_error

if TYPE_CHECKING:
    from torch import Tensor

#: Bytes of a header; those of our largest models have some ten thousand.
LARGEST_HEADER = 16 * 2**20

#: Bytes of a number of each type that is read.
_ITEM = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}

_MISSING = "no such file; the checkpoint or model is incomplete, copy it anew."


def tensor_shapes(path: Path, remedy: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in `path`, from the header alone.

    InputError, ending with the `remedy`, where the file is missing, truncated, of another format, or its
    header does not describe the bytes that are there.
    """
    size = file_size(path, missing=_MISSING, kind="a safetensors file")
    try:
        with open(path, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, LARGEST_HEADER):
                raise InputError(
                    f"{path}: not a readable safetensors file (its header should have {length} bytes, the "
                    f"file has {size}); {remedy}"
                )
            header = handle.read(length)
    except OSError as error:
        raise read_error(path, error) from error
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a readable safetensors file (its header is no text); {remedy}"
        ) from error
    content = parse_json(text, str(path), remedy)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a readable safetensors file (its header is no mapping); {remedy}")
    content.pop("__metadata__", None)
    found, spans = {}, []
    for name, one in content.items():
        shape, begin, end = _entry(one)
        if shape is None:
            raise InputError(f"{path}: not a readable safetensors file (tensor {name[:80]!r}); {remedy}")
        found[name] = shape
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise InputError(f"{path}: not a readable safetensors file (its tensors have gaps); {remedy}")
        at = end
    if at != size - 8 - length:
        raise InputError(
            f"{path}: not a readable safetensors file (it is truncated, or has bytes too many); {remedy}"
        )
    return found


def read_tensors(path: Path, remedy: str = "copy it anew, or use an older checkpoint.") -> dict[str, Tensor]:
    """The tensors of a safetensors file; errors as in `tensor_shapes`, with the `remedy`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensor_shapes(path, remedy)
    try:
        return load_file(str(path))
    except OSError as error:
        raise read_error(path, error) from error
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {remedy}") from error


def _entry(one: Any) -> tuple[tuple[int, ...] | None, int, int]:
    """Shape and span of one entry of a header; None for the shape of what is none."""
    wrong = None, 0, 0
    if not isinstance(one, dict) or set(one) != {"dtype", "shape", "data_offsets"}:
        return wrong
    shape, span = one["shape"], one["data_offsets"]
    item = _ITEM.get(one["dtype"]) if isinstance(one["dtype"], str) else None
    if item is None or not _whole_numbers(shape) or not _whole_numbers(span) or len(span) != 2:
        return wrong
    if len(shape) > 8 or span[1] - span[0] != math.prod(shape) * item:
        return wrong
    return tuple(shape), span[0], span[1]


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)
