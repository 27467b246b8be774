"""XTC files, decompressed in a process of their own: a damaged one can end the process that reads it.

The C code of xdrfile follows the bits of a frame into tables without asking whether they are theirs. What its
process found comes back as an npz file; its end by a signal is a sentence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from boltzgen.errors import InputError
from boltzgen.loaders.arrays import Wanted, read_npz

#: Reads the file that is named first, and keeps frames and cells in the other one.
_READ = """
import sys
import numpy as np
from mdtraj.formats import XTCTrajectoryFile
with XTCTrajectoryFile(sys.argv[1]) as file:
    positions, _, _, cells = file.read()
np.savez(sys.argv[2], positions=positions, **({} if cells is None else {"cells": cells}))
"""

_REMEDY = "it is damaged, copy it anew."


def read_xtc(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions (frames, atoms, 3) nm of the XTC file `path`, and its cells (frames, 3, 3) nm or None.

    The framing is checked before (`boltzgen.data.framing.check_whole`). InputError for a damaged file.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "frames.npz"
        done = subprocess.run(
            [sys.executable, "-c", _READ, str(path.resolve()), str(made)], capture_output=True, check=False
        )
        if done.returncode or not made.is_file():
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            why = lines[-1][:200] if lines and done.returncode > 0 else "its bits make no frames"
            raise InputError(f"{path} cannot be read ({why}); {_REMEDY}")
        wanted = {
            "positions": Wanted("f", ("frames", "atoms", 3)),
            "cells": Wanted("f", ("frames", 3, 3), optional=True),
        }
        try:
            found = read_npz(made, wanted, missing=_REMEDY, remedy=_REMEDY)
        except InputError as error:
            raise InputError(f"{path} cannot be read ({error})") from error
    cells = found.get("cells")
    return found["positions"], None if cells is None or not (np.abs(cells) > 1e-15).any() else cells
