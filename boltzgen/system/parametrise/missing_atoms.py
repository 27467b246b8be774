"""Heavy atoms that a residue lacks: the commonest fault of PDB files, and the reason behind many others."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from boltzgen.system.formats.pdb_text import STANDARD_RESIDUES

if TYPE_CHECKING:
    from openmm import app


def missing_heavy_atoms(
    forcefield: app.ForceField, residue: app.topology.Residue, names: Sequence[str]
) -> list[str]:
    """Names of the heavy atoms of `residue` that are missing by a template of one of `names`, or at its end.

    A name that the template does not know stands for one that is missing, of the same element: only as many
    atoms count as missing as elements do.
    """
    present = {atom.name for atom in residue.atoms()}
    found: list[str] = []
    templates = [forcefield._templates[name] for name in names if name in forcefield._templates]
    if templates:
        best = min(templates, key=lambda template: len({atom.name for atom in template.atoms} ^ present))
        lacking = Counter(_symbol(atom) for atom in best.atoms)
        lacking.subtract(_symbol(atom) for atom in residue.atoms())
        for atom in best.atoms:
            if atom.name not in present and _symbol(atom) not in ("H", "") and lacking[_symbol(atom)] > 0:
                found.append(atom.name)
    if not found and _ends_open(residue):
        found.append("OXT")
    return found


def lacking(residue: app.topology.Residue, atoms: Sequence[str], label: str) -> str:
    """The sentence about a `residue` of the file `label` without these `atoms`, and what adds them."""
    out = shlex.quote(f"{Path(label).stem}-fixed.pdb")
    return (
        f"{label}: residue {residue.name} {residue.id} lacks the atom{'s'[: len(atoms) > 1]} "
        f"{', '.join(atoms)}. Add what is missing with PDBFixer (pip install 'boltzgen-sampler[pdbfixer]'): "
        f"`pdbfixer {shlex.quote(label)} --add-atoms=heavy --output={out}`, then prepare {out} with "
        "`add_hydrogens=True`."
    )


def _ends_open(residue: app.topology.Residue) -> bool:
    """Whether an amino acid's carbonyl carbon has one neighbour beside CA: neither OXT nor a next residue."""
    carbons = [atom for atom in residue.atoms() if atom.name == "C"]
    if residue.name not in STANDARD_RESIDUES or "CA" not in {atom.name for atom in residue.atoms()}:
        return False
    for carbon in carbons:
        bonds = [bond for bond in residue.bonds() if carbon in (bond[0], bond[1])]
        return len(bonds) == 2
    return False


def _symbol(atom: app.topology.Atom) -> str:
    return "" if atom.element is None else str(atom.element.symbol)
