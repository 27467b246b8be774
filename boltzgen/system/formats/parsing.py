"""Other people's parsers: what they raise becomes a sentence, what they warn of a note."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boltzgen.errors import InputError

#: Warnings to programmers, not about the file.
_NOT_FOR_USERS = (
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
    ResourceWarning,
)


@contextmanager
def parsing(path: Path, what: str) -> Iterator[list[str]]:
    """Turn a parser's complaint, whatever its class, into a sentence about `path`.

    OpenMM's parsers meet a damaged file with exceptions of any class, bare Exception included. What they warn
    of stands in the list after the block, as notes.
    """
    said: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        heard = [str(one.message) for one in caught if not issubclass(one.category, _NOT_FOR_USERS)]
        said += dict.fromkeys(f"{path.name}: {' '.join(one.split())}" for one in heard)
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path} does not read as {what} ({reason}); it may be truncated or damaged. Write it again."
        ) from error
