"""The atoms as a file of coordinates states them, before a reader renames, merges or drops any.

OpenMM's readers give atoms the names of today's PDB, and leave out what they take for another location of an
atom. Both hide what `boltzgen.system.correspondence` and `used_sites` look for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.formats.numbers import is_real_or_special
from boltzgen.system.formats.pdb_text import atom_lines, first_model
from boltzgen.units import NM_PER_ANGSTROM

#: nm; an atom of the file and one of the reader nearer than this are the same.
_SAME_PLACE = 2e-4

#: What stands for "none" in the columns of a PDB or mmCIF file.
_NONE = frozenset(("", ".", "?"))


@dataclass(frozen=True)
class Site:
    """One atom. element: its symbol, "" where the file has none; location: "" for the only one.

    place: x, y, z in nm, None where the file holds no coordinates. occupancy: 1 where it has none.
    row: its number among the atom lines of the file, from 0.
    """

    residue: str
    number: str
    name: str
    element: str = ""
    chain: str = ""
    location: str = ""
    place: tuple[float, float, float] | None = None
    occupancy: float = 1.0
    row: int = -1

    def __str__(self) -> str:
        return f"{self.residue} {self.number} {self.name}"

    @property
    def whose(self) -> tuple[str, str]:
        """Chain and number of the residue."""
        return self.chain, self.number


def pdb_sites(text: str) -> list[Site]:
    """The ATOM and HETATM lines of the first model of a PDB text; every alternate location is one."""
    return [
        Site(
            line[17:21].strip(),
            line[22:27].strip(),
            line[12:16].strip(),
            line[76:78].strip(),
            line[21:22].strip(),
            line[16:17].strip(),
            _place([line[start : start + 8] for start in (30, 38, 46)]),
            _occupancy(line[54:60].strip()),
            row,
        )
        for row, (_, line) in enumerate(atom_lines(first_model(text)))
    ]


def mmcif_sites(text: str) -> tuple[list[Site], int]:
    """The rows of ``_atom_site`` in the first model, and how many models there are.

    Columns are those that OpenMM's PDBxFile takes: the author's names and numbers, where they are given.
    """
    from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

    blocks: list = []
    PdbxReader(io.StringIO(text)).read(blocks)
    table = next(found for block in blocks if (found := block.getObj("atom_site")) is not None)

    def column(row: Sequence[str], *names: str) -> str:
        for name in names:
            index = table.getAttributeIndex(name)
            if index != -1:
                return "" if row[index] in _NONE else str(row[index])
        return ""

    rows = table.getRowList()
    models = list(dict.fromkeys(column(row, "pdbx_PDB_model_num") for row in rows))
    sites = [
        Site(
            column(row, "auth_comp_id", "label_comp_id"),
            column(row, "auth_seq_id", "label_seq_id") + column(row, "pdbx_PDB_ins_code"),
            column(row, "auth_atom_id", "label_atom_id"),
            column(row, "type_symbol"),
            column(row, "auth_asym_id", "label_asym_id"),
            column(row, "label_alt_id"),
            _place([column(row, f"Cartn_{axis}") for axis in "xyz"]),
            _occupancy(column(row, "occupancy")),
            number,
        )
        for number, row in enumerate(rows)
        if column(row, "pdbx_PDB_model_num") == models[0]
    ]
    return sites, len(models)


def gro_sites(text: str) -> list[Site]:
    """The atoms of the first frame of a gro text."""
    lines = text.splitlines()
    return [
        Site(line[5:10].strip(), line[:5].strip(), line[10:15].strip())
        for line in lines[2 : 2 + int(lines[1])]
    ]


def check_columns(text: str, path: Path) -> None:
    """Refuse a gro text whose atom lines have their decimal points in other columns than the first one.

    The distance of the points is the precision (GROMACS manual, file format gro); OpenMM takes it from one
    line for all.
    """
    lines = text.splitlines()
    columns = None
    for number, line in enumerate(lines[2 : 2 + int(lines[1])], start=3):
        points = [place for place, letter in enumerate(line) if letter == "." and place >= 20][:3]
        if columns is None:
            columns = points
        even = len(points) == 3 and points[2] - points[1] == points[1] - points[0]
        if points != columns or not even:
            raise InputError(
                f"{path} is damaged: the decimal points of line {number} stand unevenly, or in other columns "
                "than those of the first atom. Write it again."
            )


def _place(words: Sequence[str]) -> tuple[float, float, float]:
    for word in words:
        if not is_real_or_special(word.strip()):
            raise ValueError(f"{word.strip()!r} is not a coordinate")
    x, y, z = (float(word) * NM_PER_ANGSTROM for word in words)
    return x, y, z


def _occupancy(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return 1.0


def used_sites(sites: Sequence[Site], positions: np.ndarray, path: Path) -> tuple[Site, ...] | None:
    """Those of `sites` that a reader has taken, in the order of its `positions` (N, 3) nm.

    None where its order is not that of the file, as with chains that are written in turns.

    Raises
    ------
    InputError: the reader has dropped an atom that is no alternate location of one it has taken.
    """
    taken, dropped, count = [], [], 0
    for site in sites:
        if count < len(positions) and np.abs(positions[count] - site.place).max() < _SAME_PLACE:
            taken.append(site)
            count += 1
        else:
            dropped.append(site)
    if count < len(positions):
        if len(positions) != len(sites):
            _check_reordered(sites, positions, path)
        return None
    _check_dropped(taken, dropped, path)
    return tuple(taken)


def _check_reordered(sites: Sequence[Site], positions: np.ndarray, path: Path) -> None:
    """The same check where the reader's order is another: by place alone."""
    places = np.array([site.place for site in sites]).reshape(-1, 3)
    found = [bool((np.abs(positions - place).max(axis=1) < _SAME_PLACE).any()) for place in places]
    taken = [site for site, kept in zip(sites, found, strict=True) if kept]
    _check_dropped(taken, [site for site, kept in zip(sites, found, strict=True) if not kept], path)


def _check_dropped(taken: Sequence[Site], dropped: Sequence[Site], path: Path) -> None:
    own = {(site.whose, site.residue, site.name) for site in taken}
    mutants = {(site.whose, site.residue) for site in taken}
    numbers = {site.whose for site in taken}
    lost = [
        site
        for site in dropped
        if not site.location
        or not (
            (site.whose, site.residue, site.name) in own
            or (site.whose in numbers and (site.whose, site.residue) not in mutants)
        )
    ]
    if not lost:
        return
    first = lost[0]
    names = [site.name for site in lost if (site.whose, site.residue) == (first.whose, first.residue)]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    where = f"{path}: residue {first.residue} {first.number}{f' of chain {first.chain}' * bool(first.chain)}"
    if all((first.whose, first.residue, name) in own for name in names):
        raise InputError(
            f"{where} has {len(names)} atoms twice ({shown}) without alternate locations, so that one of "
            "each would be dropped. Give each residue a number of its own, or remove the duplicates."
        )
    raise InputError(
        f"{where}: {len(lost)} atoms would be dropped (here {shown}). Give each residue a number of its own, "
        "and each atom one alternate location or several that begin with the first."
    )
