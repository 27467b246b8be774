"""Numbers in files: what counts as one, where parsers are more generous than a file may be.

Python takes ``1_000`` and the digits of all scripts for numbers, and OpenMM 8.6.1, when it deserializes,
takes the beginning of a word (``1e3x`` is 1000, ``0,1`` is 0, ``abc`` is 0, ``1.9`` is the integer 1), all of
it silently: a damaged file would become another molecule.
"""

from __future__ import annotations

import re

_REAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_SPECIAL = frozenset(("nan", "inf", "infinity"))


def is_real(word: str) -> bool:
    """Whether `word` is a decimal number as C and Python write it."""
    return len(word) < 64 and _REAL.fullmatch(word) is not None


def is_real_or_special(word: str) -> bool:
    """`is_real`, or an infinity or NaN as C++ writes them."""
    return is_real(word) or word.lstrip("+-").lower() in _SPECIAL


def is_whole(word: str) -> bool:
    """Whether `word` is a whole number of at most 18 digits; "-0", a sign without a number, is none."""
    return _WHOLE.fullmatch(word) is not None and word != "-0"
