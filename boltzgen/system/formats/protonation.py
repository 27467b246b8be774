"""Residues whose names state a protonation form: HIP, ASH, LYN and their like in a PDB or mmCIF.

OpenMM's readers rename most forms to the common residue (HIP to HIS), and know no bonds of the others (LYN).
So the form is read from the text, and the residue goes by its common name from there on.
"""

from __future__ import annotations

import io
import re
from itertools import groupby
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system.formats.pdb_text import first_model, residue_keys

if TYPE_CHECKING:
    from openmm import app

#: Name of a form, in the conventions of Amber, CHARMM and OPLS -> the variant of OpenMM's Modeller.
FORMS = {
    "HID": "HID",
    "HIE": "HIE",
    "HIP": "HIP",
    "HIN": "HIN",
    "HSD": "HID",
    "HSE": "HIE",
    "HSP": "HIP",
    "ASH": "ASH",
    "GLH": "GLH",
    "LYN": "LYN",
    "LSN": "LYN",
    "CYX": "CYX",
    "CYM": "CYX",  # neither has a hydrogen; the disulfide bond, or its absence, tells them apart
}

#: Forms of whose bonds OpenMM's table of standard bonds knows nothing -> the residue that has the same.
_WITHOUT_BONDS = {"LYN": "LYS", "LSN": "LYS", "CYM": "CYS", "HSE": "HIS", "HIN": "HIS"}
_TOKEN = re.compile(rf"\b({'|'.join(_WITHOUT_BONDS)})\b")


def with_common_names(text: str, kind: str) -> str:
    """`text`, a PDB or (`kind`) ``mmcif``, with the residues of `_WITHOUT_BONDS` under their common names."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.startswith(("ATOM", "HETATM")):
            continue
        if kind == "mmcif":
            lines[number] = _TOKEN.sub(lambda found: _WITHOUT_BONDS[found[1]], line)
        elif line[17:20] in _WITHOUT_BONDS:
            lines[number] = f"{line[:17]}{_WITHOUT_BONDS[line[17:20]]}{line[20:]}"
    return "".join(lines)


def stated_variants(text: str, kind: str, topology: app.Topology, label: str) -> list[str | None]:
    """For each residue of `topology`, read from `text`, the variant that its name states; None for none.

    Raises
    ------
    InputError: a CYX without a second sulfur, a CYM with one; or names that cannot be told apart.
    """
    names = _residue_names(text, kind)
    residues = list(topology.residues())
    if not any(name in FORMS for name in names):
        return [None] * len(residues)
    if len(names) != len(residues):
        form = next(name for name in names if name in FORMS)
        raise InputError(
            f"{label} names a residue {form}, but the residues of its lines ({len(names)}) are not those "
            f"that were read ({len(residues)}): number the residues of each chain in order."
        )
    bridged = _with_disulfide(topology)
    for name, residue in zip(names, residues, strict=True):
        if name in ("CYX", "CYM") and (name == "CYX") != (residue.index in bridged):
            raise InputError(_false_cysteine(name, f"{label}: residue {name} {residue.id}"))
    return [FORMS.get(name) for name in names]


def _false_cysteine(name: str, where: str) -> str:
    if name == "CYX":
        return (
            f"{where} is half of a disulfide by its name, but no second sulfur is bonded to it. Add the bond "
            "as CONECT record, or name the residue CYS (with hydrogen) or CYM (charge -1)."
        )
    return f"{where} is a thiolate by its name, but a disulfide bond ends at its sulfur; name it CYX."


def _with_disulfide(topology: app.Topology) -> set[int]:
    """Indices of the residues in which a bond between two sulfurs ends."""
    return {
        atom.residue.index
        for bond in topology.bonds()
        if all(end.element is not None and end.element.symbol == "S" for end in bond)
        for atom in bond
    }


def _residue_names(text: str, kind: str) -> list[str]:
    """The names of the residues of the first model, in order."""
    keys = _mmcif_keys(text) if kind == "mmcif" else residue_keys(first_model(text))
    return [key[-1] for key, _ in groupby(keys)]


def _mmcif_keys(text: str) -> list[tuple[str, ...]]:
    """(chain, number, insertion, residue name) of each atom of the first model, as OpenMM reads them."""
    from openmm.app.internal.pdbx.reader.PdbxReader import PdbxReader

    blocks: list = []
    PdbxReader(io.StringIO(text)).read(blocks)
    table = blocks[0].getObj("atom_site")

    def column(*choices: str) -> int:
        return next((index for index in map(table.getAttributeIndex, choices) if index != -1), -1)

    model = column("pdbx_PDB_model_num")
    columns = [
        column("label_asym_id", "auth_asym_id"),
        column("auth_seq_id", "label_seq_id"),
        column("pdbx_PDB_ins_code"),
        column("auth_comp_id", "label_comp_id"),
    ]
    rows = table.getRowList()
    return [
        tuple("" if index == -1 else row[index] for index in columns)
        for row in rows
        if model == -1 or row[model] == rows[0][model]
    ]
