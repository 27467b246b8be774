"""Exceptions that a user can meet, and the exit code of each.

Each message is one or two sentences: what was given, what was expected, what to do.

Arguments in messages, in reasons of verdicts and in notes
----------------------------------------------------------
They stand between backticks, by their names in the verb's function (that of `boltzgen.workflows`, also in
rooms far below): "add `overwrite=True`", "give frames of another run as `data`". The first words of an
InputError name the argument that it is about, with what was given: "`ph=15` is outside 0 to 14.". Values are
Python's: a string in double quotes where a user is to write it so, by ``!r`` where it was given. A verb is
named as a call: "make it with `prepare(INPUT, output=SYS)`"; words in capitals stand for what the user knows.
No text of the library holds an option of the command line, which finds its own words for all of these.
Keys of files are in single quotes, never in backticks.
"""

from __future__ import annotations

import re

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNRELIABLE = 3
EXIT_PARTIAL = 4
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


#: A word that is longer than any path, and characters that move the cursor or turn the text around.
_LONG = re.compile(r"\S{4200,}|[^\s/]{300,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_FIELD = re.compile(r"`([a-z]\w*)(?:=[^`]*)?`")


class BoltzgenError(Exception):
    """Something failed at run time; the message says what and what to do.

    `result` is what there is all the same, with ``to_json``: the part that was done, or what was judged.
    """

    exit_code = EXIT_FAILED

    def __init__(self, *words: object, result: object = None) -> None:
        super().__init__(*words)
        self.result = result

    def __str__(self) -> str:
        """The message; what it quotes of a file or an argument, control characters and all, kept readable."""
        return _LONG.sub(lambda found: f"{found[0][:40]}...", _CONTROL.sub(_escaped, super().__str__()))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class InputError(BoltzgenError):
    """What the user gave cannot be used: a file, a key, an argument."""

    exit_code = EXIT_USAGE

    @property
    def field(self) -> str | None:
        """The argument that the error is about: the one that the message begins with; None for another start.

        It is read from the message, so that the two cannot differ and an error from another process has it.
        """
        found = _FIELD.match(str(self))
        return found[1] if found else None


class UnsupportedError(InputError):
    """The input is sound, but names something that boltzgen cannot treat (virtual sites, say)."""


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message names the extra to install."""


class UnreliableError(BoltzgenError):
    """The run finished, the verdict is ``unreliable``, and `strict` was asked for."""

    exit_code = EXIT_UNRELIABLE


class PartialError(BoltzgenError):
    """The run ended with part of the result; what is done has been saved."""

    exit_code = EXIT_PARTIAL


class StoppedError(BoltzgenError):
    """A signal or the time limit stopped the run; a good checkpoint is on disk."""

    exit_code = EXIT_STOPPED
