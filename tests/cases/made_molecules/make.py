"""Makes ``configs/dataset-small-molecules.yaml``; from the root, with the folder of tests on PYTHONPATH::

    PYTHONPATH=tests python tests/cases/made_molecules/make.py

A minute of a core. The file is what counts: RDKit's embeddings, which choose stereo, change with versions.
"""

from __future__ import annotations

from pathlib import Path

from cases.made_molecules.draw import SEED, splits
from cases.made_molecules.pool import Candidate
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from boltzgen.system.small_molecule.stereo import with_stereo_of_coordinates

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "dataset-small-molecules.yaml"
HEADER = Path(__file__).with_name("header.yaml")
#: Embeddings that show isomers; those more than this (kcal/mol) above the lowest are passed over.
_EMBEDDINGS, _STRAINED = 8, 12.0


def stated(smiles: str) -> str:
    """`smiles` with the stereo that it leaves open: that of the first embedding which is not strained."""
    molecule = Chem.MolFromSmiles(smiles)
    elements = Chem.FindPotentialStereo(Chem.AddHs(molecule))
    if all(one.specified == Chem.StereoSpecified.Specified for one in elements):
        return smiles
    placed = Chem.AddHs(molecule)
    rows = list(rdDistGeom.EmbedMultipleConfs(placed, _EMBEDDINGS, randomSeed=SEED))
    isomers = [with_stereo_of_coordinates(Chem.Mol(placed, False, row)) for row in rows]
    energies = [energy for _, energy in rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(placed, maxIters=2000)]
    kept = next(row for row in rows if energies[row] < min(energies) + _STRAINED)
    return str(Chem.MolToSmiles(Chem.RemoveHs(_without_open_nitrogen(isomers[kept]))))


def _without_open_nitrogen(molecule: Chem.Mol) -> Chem.Mol:
    """Nitrogens of three neighbours invert: none of them states a hand."""
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 7 and atom.GetTotalDegree() == 3:
            atom.SetChiralTag(Chem.CHI_UNSPECIFIED)
    return molecule


def lines(candidates: list[Candidate], numbers: dict[str, int]) -> list[str]:
    """One a molecule; names count on in `numbers`, kind by kind."""
    found = []
    for one in candidates:
        numbers[one.kind] = numbers.get(one.kind, 0) + 1
        found.append(f"  {{smiles: '{stated(one.smiles)}', name: {one.kind}-{numbers[one.kind]:03d}}},")
    return found


def main() -> None:
    RDLogger.DisableLog("rdApp.*")
    numbers: dict[str, int] = {}
    text = HEADER.read_text(encoding="utf-8")
    for split, candidates in splits().items():
        text += "\n".join([f"{split}: [", *lines(candidates, numbers), "]\n"])
    CONFIG.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
