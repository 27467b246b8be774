"""Fifty drug-like molecules and fragments: what MMFF94 in OpenMM is compared with RDKit on."""

from __future__ import annotations

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from boltzgen.system.molecular_system import MolecularSystem

DRUG_LIKE = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "caffeine": "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "ibuprofen": "CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "nicotine": "CN1CCC[C@H]1c1cccnc1",
    "sulfanilamide": "Nc1ccc(cc1)S(=O)(=O)N",
    "sulfamethoxazole": "Cc1cc(no1)NS(=O)(=O)c1ccc(N)cc1",
    "saccharin anion": "O=C1[N-]S(=O)(=O)c2ccccc12",
    "lidocaine cation": "CC[NH+](CC)CC(=O)Nc1c(C)cccc1C",
    "benzocaine": "CCOC(=O)c1ccc(N)cc1",
    "salbutamol": "CC(C)(C)NC[C@H](O)c1ccc(O)c(CO)c1",
    "metformin cation": "CN(C)C(=N)NC(N)=[NH2+]",
    "histamine dication": "[NH3+]CCc1c[nH+]c[nH]1",
    "imidazole": "c1c[nH]cn1",
    "glycine zwitterion": "[NH3+]CC(=O)[O-]",
    "proline zwitterion": "C1C[C@H]([NH2+]C1)C(=O)[O-]",
    "penicillin core": "CC1(C)S[C@@H]2CC(=O)N2[C@H]1C(=O)[O-]",
    "dimethyl phosphate": "COP(=O)([O-])OC",
    "methyl phosphate": "COP(=O)(O)O",
    "pyridoxal phosphate": "Cc1ncc(COP(=O)([O-])[O-])c(C=O)c1O",
    "trimethylphosphine": "CP(C)C",
    "nitrobenzene": "[O-][N+](=O)c1ccccc1",
    "metronidazole": "Cc1ncc([N+](=O)[O-])n1CCO",
    "acetonitrile": "CC#N",
    "benzonitrile, fluorinated": "N#Cc1cc(F)ccc1C(F)(F)F",
    "propargyl alcohol": "C#CCO",
    "2-butyne": "CC#CC",
    "ethinyl core": "C#CC1(O)CCCC1",
    "furfural": "O=Cc1ccco1",
    "thiophene amide": "NC(=O)c1cccs1",
    "thiazole": "Cc1csc(N)n1",
    "oxazole": "c1cocn1",
    "tetrazole": "Cc1nnn[nH]1",
    "1,2,3-triazole": "Cn1ccnn1",
    "indole": "c1ccc2[nH]ccc2c1",
    "quinoline": "c1ccc2ncccc2c1",
    "purine nucleobase": "Nc1ncnc2[nH]cnc12",
    "pyridine oxide": "[O-][n+]1ccccc1",
    "N-methylpyridinium": "C[n+]1ccccc1",
    "biphenyl, mixed halogens": "Clc1ccc(cc1Br)-c1ccccc1I",
    "chloroform": "ClC(Cl)Cl",
    "dimethyl sulfoxide": "CS(C)=O",
    "cysteamine disulfide": "NCCSSCCN",
    "thiolate": "CC[S-]",
    "thioamide": "CC(N)=S",
    "methyl azide": "CN=[N+]=[N-]",
    "allene": "CC=C=CC",
    "oxime": r"C/C(=N\O)c1ccccc1",
    "retinal fragment": r"C/C(=C\C=O)/C=C/C",
    "cyclopropene": "CC1=CC1",
    "cyclobutane": "OC1CCC1",
    "epoxide": "C[C@H]1CO1",
    "adamantane": "C1C2CC3CC1CC(C2)C3",
    "steroid core": "C1CC[C@@H]2[C@@H](C1)CC[C@H]1CCC[C@@H]12",
    "12-membered lactone": "O=C1CCCCCCCCCCO1",
    "crown": "C1COCCOCCOCCO1",
    "trimethylsilane": "C[SiH](C)C",
    "choline": "C[N+](C)(C)CCO",
    "urea": "NC(N)=O",
    "water": "O",
}

#: Acetate as Corina writes it: aromatic bonds to both oxygens.
ACETATE = """@<TRIPOS>MOLECULE
acetate
 7 6 1 0 0
SMALL
USER_CHARGES

@<TRIPOS>ATOM
 1 CM 0.000 0.000 0.000 C.3 1 ACT -0.3
 2 CX 1.510 0.000 0.000 C.2 1 ACT 0.9
 3 OA 2.100 1.110 0.000 O.co2 1 ACT -0.9
 4 OB 2.100 -1.110 0.000 O.co2 1 ACT -0.9
 5 HA -0.370 1.030 0.000 H 1 ACT 0.1
 6 HB -0.370 -0.510 0.890 H 1 ACT 0.05
 7 HC -0.370 -0.510 -0.890 H 1 ACT 0.05
@<TRIPOS>BOND
 1 1 2 1
 2 2 3 ar
 3 2 4 ar
 4 1 5 1
 5 1 6 1
 6 1 7 1
"""


def embedded(smiles: str, seed: int = 7) -> Chem.Mol:
    """The molecule with hydrogens and one conformer."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) == 0
    return molecule


def distorted(molecule: Chem.Mol) -> list[np.ndarray]:
    """Positions (N, 3) in Angstrom: as embedded, shaken a little, shaken hard."""
    positions = np.asarray(molecule.GetConformer().GetPositions())
    rng = np.random.default_rng(len(positions))
    return [positions + amplitude * rng.normal(size=positions.shape) for amplitude in (0.0, 0.05, 0.2)]


def tripos(molecule: Chem.Mol, types: list[str]) -> str:
    """A mol2 text of `molecule` without charges; `types` of its heavy atoms, which come first."""
    places = molecule.GetConformer().GetPositions()
    counts = f"{molecule.GetNumAtoms()} {molecule.GetNumBonds()} 1 0 0"
    lines = ["@<TRIPOS>MOLECULE", "*****", counts, "SMALL", "NO_CHARGES", "", "@<TRIPOS>ATOM"]
    for atom, place in zip(molecule.GetAtoms(), places, strict=True):
        number = atom.GetIdx() + 1
        kind = types[number - 1] if number <= len(types) else "H"
        where = " ".join(f"{value:.4f}" for value in place)
        lines.append(f"{number} {atom.GetSymbol()}{number} {where} {kind} 1 LIG 0.0")
    lines.append("@<TRIPOS>BOND")
    for bond in molecule.GetBonds():
        order = "ar" if bond.GetIsAromatic() else str(int(bond.GetBondTypeAsDouble()))
        ends = f"{bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1}"
        lines.append(f"{bond.GetIdx() + 1} {ends} {order}")
    return "\n".join([*lines, ""])


def as_rdkit(system: MolecularSystem, smiles: str) -> Chem.Mol:
    """The graph of `smiles` with the coordinates of `system`, whose stereo RDKit then assigns."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert [a.GetAtomicNum() for a in molecule.GetAtoms()] == system.atomic_numbers.tolist()
    conformer = Chem.Conformer(molecule.GetNumAtoms())
    conformer.SetPositions(10.0 * np.array(system.reference_positions))
    molecule.RemoveAllConformers()
    molecule.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(molecule, replaceExistingTags=True)
    return molecule
