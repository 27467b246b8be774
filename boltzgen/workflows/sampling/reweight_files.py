"""What `reweight` writes beside the samples: the energies, to go on from, and what the step cost.

reweight.npz     rows (m,) int64 and u (m,) float64: energies computed so far, in the order of evaluation;
                 task: JSON text of what they belong to; seconds
reweight.json    schema boltzgen.reweight/1, written with the samples
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import atomic_path, parse_json, read_json, write_json
from boltzgen.folders import holds_other_files
from boltzgen.loaders.arrays import Wanted, read_npz

SCHEMA = "boltzgen.reweight/1"

ENERGIES, RECORD = "reweight.npz", "reweight.json"

#: Why a run that needs no energies ended, until it did: there is nothing in the folder that it needs.
BEGUN = "not yet"


def read_energies(out: Path, resume: str) -> dict[str, Any] | None:
    """The energies in the folder `out`: ``rows``, ``u``, ``seconds``, ``task``; None for a fresh start.

    InputError when `out` holds something else, or a run while `resume` is ``never``.
    """
    if not holds_other_files(out):
        return None
    if not (out / ENERGIES).exists() and not (out / RECORD).exists():
        raise InputError(f"{out} holds other files; choose another folder.")
    begun = None if (out / ENERGIES).exists() else read_json(out / RECORD)
    if isinstance(begun, dict) and begun.get("ended") == BEGUN:
        return None
    if resume == "never":
        raise InputError(
            f'{out} already holds reweighted samples; add `resume="auto"` to go on, or choose another folder.'
        )
    if not (out / ENERGIES).exists():  # another temperature alone: nothing was evaluated
        return None
    wanted = {
        "rows": Wanted("i", ("rows",)),
        "u": Wanted("f", ("rows",)),
        "task": Wanted("U", ()),
        "seconds": Wanted("f", (), finite=True),
    }
    remedy = "choose another folder."
    found = read_npz(out / ENERGIES, wanted, missing="no such file.", remedy=remedy, strict=True)
    task = parse_json(str(found["task"]), str(out / ENERGIES), remedy)
    if not isinstance(task, dict) or (found["rows"] < 0).any():
        raise InputError(f"{out / ENERGIES}: damaged; {remedy}")
    return {"rows": found["rows"], "u": found["u"], "task": task, "seconds": float(found["seconds"])}


def write_energies(out: Path, task: dict[str, Any], rows: np.ndarray, u: np.ndarray, seconds: float) -> None:
    """Keep what was computed, atomically."""
    with atomic_path(out / ENERGIES) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, rows=rows, u=u, task=np.array(json.dumps(task)), seconds=np.array(seconds))


def begin_record(out: Path, task: dict[str, Any]) -> None:
    """Say whose folder `out` is before the samples are written: killed there, the same command goes on."""
    write_record(out, {"schema": SCHEMA, "task": task, "status": "partial", "ended": BEGUN})


def write_record(out: Path, record: dict[str, Any]) -> None:
    write_json(out / RECORD, record)
