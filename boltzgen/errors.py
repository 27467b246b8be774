"""Exceptions that a user can meet, and the exit code of each.

Each message is one or two sentences: what was given, what was expected, what to do.
The command line prints the message alone; a traceback appears only with ``--debug``.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNRELIABLE = 3
EXIT_PARTIAL = 4
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


class BoltzgenError(Exception):
    """Something failed at run time; the message says what and what to do."""

    exit_code = EXIT_FAILED


class InputError(BoltzgenError):
    """What the user gave cannot be used: a file, a key, an option."""

    exit_code = EXIT_USAGE


class UnsupportedError(InputError):
    """The input is sound, but names something that boltzgen cannot treat (virtual sites, say)."""


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message names the extra to install."""


class UnreliableError(BoltzgenError):
    """The run finished, the verdict is ``unreliable``, and ``--strict`` was given."""

    exit_code = EXIT_UNRELIABLE


class PartialError(BoltzgenError):
    """The run ended with part of the result; what is done has been saved."""

    exit_code = EXIT_PARTIAL


class StoppedError(BoltzgenError):
    """A signal or ``--max-time`` stopped the run; a good checkpoint is on disk."""

    exit_code = EXIT_STOPPED
