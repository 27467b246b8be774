#!/usr/bin/env bash
# RDKit 2026.9.1: MMFF and UFF ignore every interaction between molecules unless told otherwise.
#
# Guess:   the MMFF energy of two waters is a function of their distance.
# Happens: ignoreInterfragInteractions is True by default in MMFFGetMoleculeForceField, MMFFOptimizeMolecule(Confs) and
#          their UFF twins: two fragments of one molecule object pass through each other, and minimising a dimer, a salt
#          with its counter-ion or a host with its guest leaves them where they were, with a converged flag.
# Matters: ensembles of complexes, microsolvated molecules and salts pre-optimised or ranked by MMFF.
#
# Seen 30 November 2026 (kcal/mol, two rigid waters, O-O distance in Angstrom):
#   O-O 1.0: MMFF 2.187, UFF 2.058, MMFF with all interactions 4933.293
#   O-O 2.0: MMFF 2.187, UFF 2.058, MMFF with all interactions 12645.979
#   O-O 3.0: MMFF 2.187, UFF 2.058, MMFF with all interactions 18.626
#   O-O 6.0: MMFF 2.187, UFF 2.058, MMFF with all interactions 2.639
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile rdkit==2026.9.1 numpy==2.3.5
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
from rdkit import Chem
from rdkit.Chem import AllChem

mol = Chem.AddHs(Chem.MolFromSmiles("O.O"))
AllChem.EmbedMolecule(mol, randomSeed=1)
conf = mol.GetConformer()
first, second = Chem.GetMolFrags(mol)
start = conf.GetPositions()
found = []
for distance in (1.0, 2.0, 3.0, 6.0):
    for fragment, shift in ((first, 0.0), (second, distance)):
        for i in fragment:
            x, y, z = start[i] - start[fragment[0]]
            conf.SetAtomPosition(i, (x + shift, y, z))
    kinds = AllChem.MMFFGetMoleculeProperties(mol)
    row = [AllChem.MMFFGetMoleculeForceField(mol, kinds).CalcEnergy(),
           AllChem.UFFGetMoleculeForceField(mol).CalcEnergy(),
           AllChem.MMFFGetMoleculeForceField(mol, kinds, ignoreInterfragInteractions=False).CalcEnergy()]
    found.append(row)
    print(f"O-O {distance:.1f}: MMFF {row[0]:.3f}, UFF {row[1]:.3f}, MMFF with all interactions {row[2]:.3f}")
for column in (0, 1):
    assert max(r[column] for r in found) - min(r[column] for r in found) < 1e-6, "the default has changed"
assert found[0][2] - found[3][2] > 5
PY
