"""Other people's parsers: what they raise becomes a sentence, what they warn of a note."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boltzgen.errors import BoltzgenError, InputError

#: Warnings to programmers, not about the file.
_NOT_FOR_USERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
    ResourceWarning,
)

#: What a parser stumbles over, not what it says of the file: the text is about its own code.
_STUMBLES = (AttributeError, TypeError, IndexError, NameError, AssertionError, SystemError)


def reason_of(error: BaseException) -> str:
    """What `error` tells a user about a file, in one line."""
    text = " ".join(str(error).split())[:200].rstrip(".")
    if isinstance(error, KeyError):
        return f"{text} is not known there"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, UnicodeError):
        return "a character of it is none"
    if isinstance(error, _STUMBLES) or not text:
        return "something in it is missing or out of place"
    return text


@contextmanager
def refusing(where: Path | str, what: str) -> Iterator[None]:
    """Whatever a parser raises inside the block, as the sentence that `where` does not read as `what`."""
    try:
        yield
    except BoltzgenError:
        raise
    except Exception as error:
        raise InputError(
            f"{where} does not read as {what} ({reason_of(error)}); it may be truncated or damaged. Write it "
            "again."
        ) from error


@contextmanager
def parsing(path: Path, what: str) -> Iterator[list[str]]:
    """Turn a parser's complaint, whatever its class, into a sentence about `path`.

    OpenMM's parsers meet a damaged file with exceptions of any class, bare Exception included. What they warn
    of stands in the list after the block, as notes.
    """
    said: list[str] = []
    with refusing(path, what), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    heard = [str(one.message) for one in caught if not issubclass(one.category, _NOT_FOR_USERS)]
    said += dict.fromkeys(f"{path.name}: {' '.join(one.split())}" for one in heard)
