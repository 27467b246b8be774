"""What every refusal of a file must be: an InputError of one line that names the file and says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from boltzgen.errors import InputError

#: A sentence that says what to do has one of these words.
REMEDY = re.compile(
    r"\b(copy|write|save|give|name|make|install|run|sample|simulate|choose|remove|delete|use|train|prepare|build|"
    r"is it|see|set|wait|ask|convert|lower|quote|cut|go on|expected|must be)\b",
    re.IGNORECASE,
)


def refusal(read: Callable[[], Any], path: Path) -> str:
    """The message of the InputError that `read` raises of the file `path`."""
    with pytest.raises(InputError) as caught:
        read()
    told = str(caught.value)
    assert str(path)[:150] in told, told
    assert "\n" not in told and len(told) < 1200, told
    assert REMEDY.search(told.replace(str(path), "")), told
    return told
