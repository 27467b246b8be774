"""A prepared molecule in a few words: its name, its force field and its solvent, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What the names of force-field files begin with -> the force field; the first that fits counts.
FORCE_FIELDS = {
    "amber14-all": "ff14SB",
    "amber14/protein.ff14SB": "ff14SB",
    "amber19-all": "ff19SB",
    "amber19/protein.ff19SB": "ff19SB",
    "amber99sbildn": "ff99SB-ILDN",
    "amber99sb.": "ff99SB",
    "amber03": "ff03",
    "charmm36": "charmm36",
    "gaff2": "gaff2",
    "gaff-2": "gaff2",  # OpenMM's files of openmmforcefields, such as gaff-2.11.xml
    "gaff": "gaff",
    "mmff94s": "mmff94s",
    "mmff94": "mmff94",
}

#: Models of implicit solvent -> method; a file such as ``amber99_obc.xml`` is OBC's.
SOLVENTS = {"hct": "hct", "obc1": "obc", "obc2": "obc", "gbn": "gbn", "gbn2": "gbn2"}

#: How some of them are written.
_WRITTEN = {
    "charmm36": "CHARMM36",
    "gaff": "GAFF",
    "gaff2": "GAFF2",
    "mmff94": "MMFF94",
    "mmff94s": "MMFF94s",
}
_WATERS = {"hct": "HCT", "obc1": "OBC1", "obc2": "OBC2", "gbn": "GBn", "gbn2": "GBn2"}


def force_field_of(name: str) -> str | None:
    """The force field that the file `name` holds; None when it is not known here."""
    return next((field for start, field in FORCE_FIELDS.items() if name.startswith(start)), None)


def force_field_words(options: Mapping[str, Any], region: Mapping[str, Any] | None = None) -> str:
    """``ff14SB, OBC1``, ``MMFF94, vacuum``, ``parameters of the input, vacuum``, ``ff14SB + gfn2, vacuum``.

    options: what `prepare` was asked (``system.json``, ``provenance.options``). region: that of a hybrid.
    """
    files = options.get("forcefield") or ()
    files = [files] if isinstance(files, str) else list(files)
    fields = [force_field_of(str(name)) or Path(str(name)).stem for name in files]
    words = ", ".join(dict.fromkeys(_WRITTEN.get(field, field) for field in fields))
    words = words or "parameters of the input"
    if region:
        words += f" + {region.get('backend')}"
    implicit = str(options.get("implicit") or "none")
    if implicit != "none":
        return f"{words}, {_WATERS.get(implicit, 'OBC' if 'obc' in implicit else Path(implicit).stem)}"
    # a topology of another program brings its solvent with its parameters
    return f"{words}, vacuum" if files else words


def subject(name: str, provenance: Mapping[str, Any], region: Mapping[str, Any] | None) -> dict[str, str]:
    """What figures say of a molecule: ``molecule`` and ``force_field``."""
    options = provenance.get("options")
    return {
        "molecule": name,
        "force_field": force_field_words(options if isinstance(options, Mapping) else {}, region),
    }
