"""Damage to files: what editors, disks, downloads, other programs and people do to them.

`mutate` changes bytes and lines in one to three places. Every change is drawn from the `random.Random` that
is given, so a case is its seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

#: Values that stand where a number stood.
NUMBERS = (
    *("0", "-1", "1", "2", "-0.0", "1e-320", "1e30", "-1e308", "1e999", "nan", "inf", "-inf", "NaN"),
    *("2147483648", "-2147483649", "9223372036854775808", "999999", "0x10", "1_000", "1,5", "1d0", "*****"),
    *("1e", "--1", "1.2.3", "٣", "", "9" * 5000),
)

#: Words that stand where a word stood.
WORDS = (
    *("", " ", "X", "CA", "H", "ALA", "null", "true", "~", "[]", "{}", "'", '"', "&", "<", ">", "%", "#"),
    *("!", "\\", "/", "..", "$HOME", "\x00", "\ufeff", "é", "\u202e", "𝟙", "A" * 300, "a b", ";", "\t"),
)

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[^\s,;:<>\[\]{}\"'=]+")


def mutate(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to three changes; text as text (half of the time), everything else as bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if text and rng.random() < 0.85:
            data = rng.choice(_TEXT)(text, rng).encode("utf-8", "surrogatepass")
        else:
            data = rng.choice(_BYTES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    """One bit of a byte."""
    if not data:
        return b"\x01"
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _set(data: bytes, rng: random.Random) -> bytes:
    """One to eight bytes to values that mean much in headers."""
    if not data:
        return b"\xff"
    place = rng.randrange(len(data))
    new = rng.choice((b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, b"\x00" * 4, b"\x80", b"\n"))
    return data[:place] + new + data[place + len(new) :]


def _cut_out(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[place + rng.choice((1, 1, 4, 8, 512, 4096)) :]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 1, 4, 100))) + data[place:]


def _double(data: bytes, rng: random.Random) -> bytes:
    """A stretch again, or zeros in its place."""
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 8, 512, 4096))
    middle = data[place : place + length]
    if rng.random() < 0.5:
        return data[:place] + middle + data[place:]
    return data[:place] + bytes(len(middle)) + data[place + length :]


def _line_out(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return "".join(lines[:place] + lines[place + rng.choice((1, 1, 1, 2, 5)) :])


def _line_twice(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    place, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    return "".join([*lines[:to], lines[place], *lines[to:]])


def _lines_exchanged(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return "".join(lines)


def _line_shifted(text: str, rng: random.Random) -> str:
    """A blank more or less: columns move."""
    lines = text.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    column = rng.randrange(len(lines[place]) + 1)
    start, end = lines[place][:column], lines[place][column:]
    lines[place] = start + (" " + end if rng.random() < 0.5 else end[1:])
    return "".join(lines)


def _in_place(pattern: re.Pattern[str], values: tuple[str, ...]) -> Callable[[str, random.Random], str]:
    """One match of `pattern`, found from a random place on, for one of `values`; at times in its width."""

    def change(text: str, rng: random.Random) -> str:
        found = pattern.search(text, rng.randrange(len(text))) or pattern.search(text)
        if found is None:
            return text
        new = rng.choice(values)
        if rng.random() < 0.5:
            new = new[: len(found[0])].rjust(len(found[0]))
        return text[: found.start()] + new + text[found.end() :]

    return change


def _words_exchanged(text: str, rng: random.Random) -> str:
    one = _WORD.search(text, rng.randrange(len(text)))
    two = _WORD.search(text, rng.randrange(len(text)))
    if one is None or two is None or one.end() > two.start():
        return text
    return text[: one.start()] + two[0] + text[one.end() : two.start()] + one[0] + text[two.end() :]


def _digit(text: str, rng: random.Random) -> str:
    found = re.compile(r"\d").search(text, rng.randrange(len(text)))
    return text if found is None else text[: found.start()] + str(rng.randrange(10)) + text[found.end() :]


def _ends_of_lines(text: str, rng: random.Random) -> str:
    return text.replace("\n", rng.choice(("\r\n", "\r", " ", "\n\n", "\v\n")))


def _letter_case(text: str, rng: random.Random) -> str:
    found = _WORD.search(text, rng.randrange(len(text)))
    return text if found is None else text[: found.start()] + found[0].swapcase() + text[found.end() :]


_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _flip, _set, _set, _cut_out, _truncate, _insert, _double),
)
_TEXT: tuple[Callable[[str, random.Random], str], ...] = (
    *(_line_out, _line_out, _line_twice, _lines_exchanged, _line_shifted, _line_shifted),
    *(_in_place(_NUMBER, NUMBERS), _in_place(_NUMBER, NUMBERS), _in_place(_WORD, WORDS), _words_exchanged),
    *(_digit, _digit, _ends_of_lines, _letter_case),
)
