"""``merge``: several folders of samples become one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.ensemble.store import join_folders, save_ensemble, summary
from boltzgen.errors import InputError


def merge(folders: Sequence[str | PathLike[str]], output: str | PathLike[str]) -> dict[str, Any]:
    """Write the samples of all `folders` (OUT) to the new OUT folder `output`; returns its summary.

    Rows keep their order and their weights. Raises InputError when the folders differ in system,
    measure, domain or temperature, when two of them share samples or were drawn with one seed from
    one model, and when `output` is one of them.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise InputError("give at least two folders to merge.")
    target = Path(output)
    if target.resolve() in [path.resolve() for path in paths]:
        raise InputError(f"{target}: is one of the folders to merge; name a new one as `output`.")
    if target.is_file():
        raise InputError(f"{target} is a file; `output` needs the name of a folder.")
    joined, status = join_folders(paths)
    provenance = {**joined.provenance, "command": sys.argv, "merged": [str(path) for path in paths]}
    ensemble = replace(joined, provenance=provenance)
    save_ensemble(ensemble, target, status=status)
    return summary(ensemble)
