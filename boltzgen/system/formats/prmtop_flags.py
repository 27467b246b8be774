"""The sections of an Amber prmtop that OpenMM's reader ignores: refused where they are energy, else noted.

Source: "AMBER parameter/topology file specification", https://ambermd.org/prmtop.pdf, and the reader itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from boltzgen.errors import UnsupportedError
from boltzgen.system.formats.numbers import is_whole

if TYPE_CHECKING:
    from openmm import app

#: What OpenMM reads, and what has no energy here (names, trees, boxes, radii where no solvent asks for them).
KNOWN = frozenset(
    "TITLE CTITLE POINTERS FORCE_FIELD_TYPE ATOM_NAME CHARGE ATOMIC_NUMBER MASS ATOM_TYPE_INDEX "
    "NUMBER_EXCLUDED_ATOMS EXCLUDED_ATOMS_LIST NONBONDED_PARM_INDEX RESIDUE_LABEL RESIDUE_POINTER "
    "RESIDUE_NUMBER RESIDUE_CHAINID RESIDUE_ICODE ATOM_NUMBER ATOM_ELEMENT ATOM_BFACTOR ATOM_OCCUPANCY "
    "BOND_FORCE_CONSTANT BOND_EQUIL_VALUE ANGLE_FORCE_CONSTANT ANGLE_EQUIL_VALUE "
    "DIHEDRAL_FORCE_CONSTANT DIHEDRAL_PERIODICITY DIHEDRAL_PHASE SCEE_SCALE_FACTOR SCNB_SCALE_FACTOR "
    "SOLTY LENNARD_JONES_ACOEF LENNARD_JONES_BCOEF LENNARD_JONES_CCOEF LENNARD_JONES_14_ACOEF "
    "LENNARD_JONES_14_BCOEF BONDS_INC_HYDROGEN BONDS_WITHOUT_HYDROGEN ANGLES_INC_HYDROGEN "
    "ANGLES_WITHOUT_HYDROGEN DIHEDRALS_INC_HYDROGEN DIHEDRALS_WITHOUT_HYDROGEN HBOND_ACOEF HBOND_BCOEF "
    "HBCUT AMBER_ATOM_TYPE TREE_CHAIN_CLASSIFICATION JOIN_ARRAY IROTAT RADIUS_SET RADII SCREEN IPOL "
    "SOLVENT_POINTERS ATOMS_PER_MOLECULE BOX_DIMENSIONS".split()
)

#: Beginnings of the names of sections that OpenMM reads in prmtops of CHARMM's and of ff19SB's kind.
_KNOWN_KINDS = ("CHARMM_", "CMAP_")

#: Beginnings of the names of sections that are energy, and what they are.
ENERGY = {
    "POLARIZABILITY": "polarisation",
    "DIPOLE_DAMP_FACTOR": "polarisation",
    "AMOEBA_": "the AMOEBA force field",
    "LES_": "locally enhanced sampling",
    "PERT_": "a perturbed state",
    "ALPERT": "a perturbed state",
    "CAP_INFO": "a solvent cap",
    "LENNARD_JONES_DCOEF": "a 12-6-4 term",
}


def check_flags(sections: Mapping[str, Sequence[str]], path: Path) -> list[str]:
    """Notes about the unknown among `sections` (name -> values).

    Raises
    ------
    UnsupportedError: names a section that is energy and would be dropped.
    """
    for name, values in sections.items():
        for beginning, what in ENERGY.items():
            if name.startswith(beginning) and any(_is_not_zero(value) for value in values):
                raise UnsupportedError(
                    f"{path}: section {name} holds {what}, for which boltzgen has no "
                    "term. Make the prmtop with a force field without it (ff14SB, ff19SB), or bring the "
                    "energy as an OpenMM System XML."
                )
    if any(_is_not_zero(value) for value in sections.get("IPOL", ())):
        raise UnsupportedError(
            f"{path}: its section IPOL asks for polarisation, which boltzgen has no term for and would drop. "
            "Make the prmtop with a force field without it (ff14SB, ff19SB)."
        )
    unknown = [name for name in sections if name not in KNOWN and not name.startswith(_KNOWN_KINDS)]
    if not unknown:
        return []
    return [
        f"{path.name} has sections that nothing here reads ({', '.join(unknown)}); check that they are no "
        "energy."
    ]


def pointers(text: str) -> list[int]:
    """The numbers of the section POINTERS of a prmtop: how many there are of what."""
    section = text.partition("%FLAG POINTERS")[2].partition("%FLAG")[0]
    words = [word for line in section.splitlines()[1:] if line[:1] != "%" for word in line.split()]
    return [int(word) for word in words if is_whole(word)]  # others are refused by `prmtop_values`


def _is_not_zero(value: str) -> bool:
    try:
        return float(value) != 0.0
    except ValueError:
        return bool(value)


def has_born_radii(prmtop: app.AmberPrmtopFile) -> bool:
    """Whether every atom of a prmtop has a positive radius for implicit solvent."""
    raw = prmtop._prmtop._raw_data
    return all(raw.get(key) and min(map(float, raw[key])) > 0 for key in ("RADII", "SCREEN"))
