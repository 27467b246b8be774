"""Reading the words that a user gives to a backend in `ml_options`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.graph.elements import symbol_of


def refuse_unknown(backend: str, options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise InputError when an option is not one of `known`, naming the nearest."""
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known) or 'none'}."
            raise InputError(f"The backend {backend} has no option {name!r}{hint}")


def refuse_elements(backend: str, atomic_numbers: np.ndarray, known: Sequence[int]) -> None:
    """Raise UnsupportedError, naming the first atom of the region whose element is not one of `known`."""
    for index, number in enumerate(np.asarray(atomic_numbers).tolist()):
        if number not in known:
            names, its = ", ".join(symbol_of(k) for k in known), symbol_of(number, f"element {number}")
            raise UnsupportedError(
                f"The backend {backend} knows the elements {names}; atom {index} of the region (counted from "
                f"0) is {its}. Leave it out of `ml_region`, or use another `ml`."
            )


def whole_number(backend: str, options: Mapping[str, str], name: str, default: int) -> int:
    """The option `name` as an integer; InputError when it is none."""
    word = options.get(name)
    if word is None:
        return default
    try:
        return int(word)
    except ValueError:
        raise InputError(f"`ml_options={ {name: word} }` of {backend} is not a whole number.") from None


def positive_number(backend: str, options: Mapping[str, str], name: str, default: float) -> float:
    """The option `name` as a positive number; InputError when it is none."""
    word = options.get(name)
    if word is None:
        return default
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise InputError(f"`ml_options={ {name: word} }` of {backend} is not a positive number.")
    return value
