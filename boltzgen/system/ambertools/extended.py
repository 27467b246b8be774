"""The molecule whose charges are computed: canonical, in one stated conformer, whatever the input was.

Its atoms stand in the order of the canonical SMILES of the molecule or of its mirror image, whichever text
is smaller. So the charges depend neither on the order of the atoms in a file nor on its coordinates, and
mirror images have the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import BoltzgenError
from boltzgen.system.small_molecule.conformers import SEED
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log

if TYPE_CHECKING:
    from rdkit import Chem

#: Conformers of which the most extended is taken, and attempts for each.
CONFORMERS, _ATTEMPTS = 10, 20

#: Angstrom squared; extents closer than this are equal, and the first is taken.
_EQUAL = 1e-3


@dataclass(frozen=True)
class Extended:
    """smiles: canonical, with every hydrogen. molecule: its atoms in that order, one conformer (Angstrom).

    order: for each of them its number in the input. of_input: whether the conformer is the input's, because
    none could be embedded.
    """

    smiles: str
    molecule: Chem.Mol
    order: tuple[int, ...]
    of_input: bool

    @property
    def positions(self) -> np.ndarray:
        """(N, 3) Angstrom."""
        return np.array(self.molecule.GetConformer().GetPositions(), dtype=np.float64)

    @property
    def conformer(self) -> str:
        """Which conformer it is, in words."""
        if self.of_input:
            return "the input's"
        return f"the most extended of {CONFORMERS} by RDKit's ETKDGv3, seed {SEED}"


def extended(molecule: Chem.Mol) -> Extended:
    """The canonical form of `molecule`, which has its hydrogens and a conformer."""
    from rdkit import Chem

    bare = Chem.Mol(molecule)
    bare.RemoveAllConformers()
    mirrored = Chem.Mol(bare)
    for atom in mirrored.GetAtoms():
        atom.InvertChirality()
    smiles, order = min(_written(bare), _written(mirrored))
    parameters: Any = Chem.SmilesParserParams()
    parameters.removeHs = False
    made = Chem.MolFromSmiles(smiles, parameters)
    if made is None or [_kind(made, k) for k in range(len(order))] != [_kind(bare, k) for k in order]:
        raise BoltzgenError(f"RDKit does not read its own SMILES {smiles}; give the charges as a file.")
    with rdkit_log():
        placed = _most_extended(made)
    if placed is not None:
        return Extended(smiles, placed, order, of_input=False)
    conformer = Chem.Conformer(len(order))
    for place, number in enumerate(order):
        conformer.SetAtomPosition(place, molecule.GetConformer().GetAtomPosition(number))
    made.AddConformer(conformer)
    return Extended(smiles, made, order, of_input=True)


def _written(molecule: Chem.Mol) -> tuple[str, tuple[int, ...]]:
    """The canonical SMILES and which atom stands at each of its places."""
    from rdkit import Chem

    smiles = str(Chem.MolToSmiles(molecule))
    order = molecule.GetPropsAsDict(includePrivate=True, includeComputed=True)["_smilesAtomOutputOrder"]
    return smiles, tuple(int(atom) for atom in order)


def _kind(molecule: Chem.Mol, index: int) -> tuple[int, int, int]:
    atom = molecule.GetAtomWithIdx(index)
    return atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetDegree()


def _most_extended(molecule: Chem.Mol) -> Chem.Mol | None:
    """`molecule` with the conformer whose atoms lie farthest from their middle; None where there is none."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.maxIterations = _ATTEMPTS
    parameters.useMacrocycleTorsions = True
    parameters.numThreads = 1
    for small_rings, random_start in ((True, False), (False, True)):  # they fail in cages, see `conformers`
        parameters.useSmallRingTorsions = small_rings
        parameters.useRandomCoords = random_start
        placed = Chem.Mol(molecule)
        with suppress(RuntimeError):
            rdDistGeom.EmbedMultipleConfs(placed, CONFORMERS, parameters)
        numbers = [conformer.GetId() for conformer in placed.GetConformers()]
        if numbers:
            extents = [round(_extent(placed, number) / _EQUAL) for number in numbers]
            best = numbers[extents.index(max(extents))]
            return Chem.Mol(placed, False, best)
    return None


def _extent(molecule: Chem.Mol, number: int) -> float:
    """Sum of the squared distances of the atoms from their middle, Angstrom squared."""
    places = np.asarray(molecule.GetConformer(number).GetPositions())
    return float(((places - places.mean(axis=0)) ** 2).sum())
