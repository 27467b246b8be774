"""Files of conformers that other programs read: an SDF with properties, and ``crest_conformers.xyz``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzgen.system.graph.bond_orders import lewis_structure
from boltzgen.system.graph.elements import symbol_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.terms.charges import partial_charges
from boltzgen.units import HARTREE, NM_PER_ANGSTROM
from boltzgen.wells.gathering import Well

#: Why there is no SDF.
NO_LEWIS = "RDKit finds no Lewis structure of it (united atoms, unusual valences), which an SDF needs"


def crest_xyz(wells: Sequence[Well], symbols: Sequence[str]) -> str:
    """The text of ``crest_conformers.xyz``: `wells` by rising energy, the energy in Eh as the comment line.

    The energy is the *potential* energy of the minimum, by which the programs that read such files weigh.
    """
    lines = []
    for well in sorted(wells, key=lambda one: one.energy):
        lines += [f"{len(symbols):5d}", f"{well.energy / HARTREE:20.10f}"]
        for symbol, (x, y, z) in zip(symbols, well.positions / NM_PER_ANGSTROM, strict=True):
            lines.append(f" {symbol:<3s}{x:16.8f}{y:16.8f}{z:16.8f}")
    return "\n".join(lines) + "\n"


def conformers_sdf(
    system: MolecularSystem, wells: Sequence[Well], properties: Sequence[Mapping[str, Any]]
) -> str | None:
    """The text of an SDF, one record a well with its `properties`; None where there is no Lewis structure.

    Bonds are those of `system`; their orders are perceived with its charge, which bonds and elements fix.
    """
    from rdkit import Chem

    charges = partial_charges(system.openmm_system())
    molecule = lewis_structure(system, 0 if charges is None else round(float(charges.sum())))
    if molecule is None:
        return None
    records = []
    for number, (well, own) in enumerate(zip(wells, properties, strict=True), 1):
        placed = Chem.Mol(molecule)
        conformer = placed.GetConformer()
        for atom, place in enumerate(well.positions / NM_PER_ANGSTROM):
            conformer.SetAtomPosition(atom, [float(value) for value in place])
        Chem.AssignStereochemistryFrom3D(placed, replaceExistingTags=True)
        placed.SetProp("_Name", _text(f"{system.name} well {number}"))
        fields = [f">  <{key}>\n{_text(value)}\n" for key, value in own.items() if value is not None]
        records.append("\n".join([Chem.MolToMolBlock(placed) + "\n".join(fields), "$$$$"]))
    return "\n".join(records) + "\n"


def _text(value: Any) -> str:
    """One line; nothing in it ends a record."""
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else ""
    return " ".join(str(value).split()).replace("$$$$", "") or "-"


def symbols_of(system: MolecularSystem) -> list[str]:
    """Element symbols; ``X`` for united atoms."""
    return [symbol_of(int(z)) for z in np.asarray(system.atomic_numbers)]
