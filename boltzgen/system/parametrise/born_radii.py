"""Radii of atoms for Generalized Born models: which set each model was made with, and which a prmtop has.

The sets are tleap's ``PBradii``, made here by OpenMM's own functions of elements and bonds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError

if TYPE_CHECKING:
    from openmm import app

#: Each model's set, as Amber's manual has it: igb=1 mbondi, 2 and 5 mbondi2, 7 bondi, 8 mbondi3.
BEST = {"hct": "mbondi", "obc1": "mbondi2", "obc2": "mbondi2", "gbn": "bondi", "gbn2": "mbondi3"}

#: Functions of OpenMM's customgbforces, topology -> Angstrom.
SETS = {
    "bondi": "_bondi_radii",
    "mbondi": "_mbondi_radii",
    "mbondi2": "_mbondi2_radii",
    "mbondi3": "_mbondi3_radii",
}

#: Angstrom; prmtops hold radii to eight digits.
_SAME = 1e-3


def check_radii(radii: str | None, implicit: str) -> None:
    """Raise InputError unless `radii` is None or a set, with a model by name to use it."""
    if radii is None:
        return
    if radii not in SETS:
        raise InputError(f"`radii={radii!r}` is not known; expected {', '.join(SETS)}.")
    if implicit not in BEST:
        raise InputError(
            f"`radii={radii!r}` goes with a solvent of the names {', '.join(BEST)}, such as "
            '`implicit="obc2"`; '
            f"`implicit={implicit!r}` was given."
        )


def radii_of(topology: app.Topology, name: str) -> np.ndarray:
    """(N,) nm, of the set `name`."""
    from openmm.app.internal import customgbforces

    return np.asarray(getattr(customgbforces, SETS[name])(topology), dtype=np.float64) * 0.1


def sets_like(topology: app.Topology, radii: np.ndarray) -> list[str]:
    """The sets to which `radii` (N,) nm are equal; several where a molecule does not tell them apart."""
    return [name for name in SETS if np.abs(radii_of(topology, name) - radii).max() < 0.1 * _SAME]


def with_radii(prmtop: app.AmberPrmtopFile, name: str) -> None:
    """Give `prmtop` the radii of the set `name`, in place."""
    radii = radii_of(prmtop.topology, name) * 10.0
    prmtop._prmtop._raw_data["RADII"] = [f"{radius:.8E}" for radius in radii]


def radii_note(prmtop: app.AmberPrmtopFile, implicit: str, file: str) -> list[str]:
    """What is to be said of a prmtop's own radii under `implicit`; nothing where they are the model's."""
    raw = prmtop._prmtop._raw_data
    radii = np.array([float(word) for word in raw["RADII"]]) * 0.1
    found = sets_like(prmtop.topology, radii)
    if BEST[implicit] in found:
        return []
    stated = " ".join("".join(raw.get("RADIUS_SET", ())).split())
    named = found[0] if found else f"of no set known here{f' ({stated})' if stated else ''}"
    return [
        f"{file} has the radii {named}, which are used; {implicit} was made with {BEST[implicit]}: "
        f'`radii="{BEST[implicit]}"` sets these.'
    ]
