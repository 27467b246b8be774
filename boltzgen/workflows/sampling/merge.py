"""``merge``: several folders of samples become one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from boltzgen.contents import check_output
from boltzgen.ensemble.store import join_folders, save_ensemble, summary
from boltzgen.errors import InputError
from boltzgen.folders import alone_in
from boltzgen.workflows.sampling.records import Summary


def merge(folders: Sequence[str | PathLike[str]], output: str | PathLike[str]) -> Summary:
    """Write the samples of all `folders` (OUT) to the new OUT folder `output`.

    Rows keep their order and their weights, which are on one scale, since every density is normalised.

    Returns
    -------
    Summary: the content of ``summary.json`` of `output`.

    Raises
    ------
    InputError: the folders differ in system, measure, domain or temperature, two of them share samples or
    were drawn with one seed from one model, or `output` is one of them.

    Example
    -------
    >>> import boltzgen as bg
    >>> _ = bg.sample("RUN", "SYS", "MORE", 100, temperature=300.0, seed=2)
    >>> bg.merge(["OUT", "MORE"], "ALL").requested
    300
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise InputError("give at least two folders to merge.")
    target = Path(output)
    if target.resolve() in [path.resolve() for path in paths]:
        raise InputError(f"{target}: is one of the folders to merge; name a new one as `output`.")
    if target.is_file():
        raise InputError(f"{target} is a file; `output` needs the name of a folder.")
    check_output(target, "ensemble")
    with alone_in(target):
        joined, status = join_folders(paths)
        provenance = {**joined.provenance, "command": sys.argv, "merged": [str(path) for path in paths]}
        ensemble = replace(joined, provenance=provenance)
        save_ensemble(ensemble, target, status=status)
    return Summary(summary(ensemble))
