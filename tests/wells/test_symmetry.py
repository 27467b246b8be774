"""The symmetric RMSD against RDKit's, rotations that keep a molecule, and bounded symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolAlign

from boltzgen.wells import symmetry
from boltzgen.wells.symmetry import Symmetry


def embedded(smiles: str, number: int, seed: int = 7) -> tuple[Chem.Mol, np.ndarray]:
    """The molecule with hydrogens, and (number, N, 3) nm."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(molecule, number, randomSeed=seed)
    return molecule, np.array([0.1 * one.GetPositions() for one in molecule.GetConformers()])


def symmetry_of(molecule: Chem.Mol) -> Symmetry:
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return Symmetry.of([atom.GetAtomicNum() for atom in molecule.GetAtoms()], np.array(bonds))


@pytest.mark.parametrize("smiles", ["O", "CCCC", "ClCC(F)Cl", "CC1CCCCC1", "CC(=O)[O-]", "FC(F)(F)c1ccccc1"])
def test_the_distance_is_that_of_rdkit(smiles):
    molecule, x = embedded(smiles, 4)
    found = symmetry_of(molecule).rmsd(x[0], x)
    theirs = [
        0.1 * rdMolAlign.GetBestRMS(Chem.Mol(molecule), Chem.Mol(molecule), k, 0, maxMatches=10**6)
        for k in range(4)
    ]
    np.testing.assert_allclose(found, theirs, atol=2e-6)


@pytest.mark.parametrize("smiles", ["CC(C)(C)C", "CCCC", "CC(C)C(F)(F)F"])
def test_assigned_terminal_atoms_give_the_same(smiles, monkeypatch):
    """As where a molecule has too many symmetries to list; the minima that are compared are near."""
    molecule, x = embedded(smiles, 3)
    listed = symmetry_of(molecule) if smiles != "CC(C)(C)C" else None
    monkeypatch.setattr(symmetry, "MOST_LISTED", 1)
    assigned = symmetry_of(molecule)
    assert assigned.groups and len(assigned.listed) <= 24
    if listed is None:
        wanted = [
            0.1 * rdMolAlign.GetBestRMS(Chem.Mol(molecule), Chem.Mol(molecule), k, 0, maxMatches=10**6)
            for k in range(3)
        ]
    else:
        wanted = listed.rmsd(x[0], x)
    np.testing.assert_allclose(assigned.rmsd(x[0], x), wanted, atol=2e-6)


def test_more_conformations_than_symmetries_are_compared_alike():
    molecule, x = embedded("ClCCCl", 12)
    found = symmetry_of(molecule)
    assert len(x) > len(found.listed) == 8
    np.testing.assert_allclose(found.rmsd(x[0], x), [found.rmsd(x[0], one[None])[0] for one in x], atol=1e-9)


@pytest.mark.parametrize(
    ("smiles", "number"), [("C", 12), ("CC", 6), ("c1ccccc1", 12), ("N", 3), ("ClC=C", 1), ("C#C", 2)]
)
def test_rotations_that_keep_a_molecule(smiles, number):
    from rdkit.Chem import rdForceFieldHelpers

    molecule, _ = embedded(smiles, 1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=5000)
    x = 0.1 * molecule.GetConformer().GetPositions()
    assert symmetry_of(molecule).number(x, 0.005) == number


def test_a_mirror_image_is_another_conformation_of_a_chiral_molecule():
    molecule, x = embedded("C[C@H](F)Cl", 1)
    found = symmetry_of(molecule)
    assert found.rmsd(x[0], x * np.array([1.0, 1.0, -1.0]))[0] > 0.03


def test_too_many_symmetries_are_told(monkeypatch):
    monkeypatch.setattr(symmetry, "MOST_OF_SKELETON", 3)
    molecule, _ = embedded("CC(C)(C)C", 1)
    assert not symmetry_of(molecule).complete
