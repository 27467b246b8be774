#!/usr/bin/env bash
# RDKit 2026.9.1: onlyHeavyAtomsForRMS=False has no effect on pruning conformers; hydroxyl rotamers are pruned away.
#
# Guess:   pruneRmsThresh keeps conformers that differ, hydrogens counted when onlyHeavyAtomsForRMS=False.
# Happens: useSymmetryForPruning (True by default) compares without hydrogens whatever onlyHeavyAtomsForRMS says. The
#          trans and gauche forms of ethanol are one conformer, the ten of ethylene glycol become three. Both options
#          have to be turned off for the hydrogens to count (then without symmetry, so methyls count three times).
# Matters: hydrogen-bond donors point somewhere; a set of starting points or a reference ensemble built with pruning has
#          one arbitrary rotamer of every OH, SH and NH2.
#
# Seen 30 November 2026 (conformers left of 100, pruneRmsThresh=0.2):
#   ethanol         onlyHeavyAtomsForRMS=True  useSymmetryForPruning=True    1
#   ethanol         onlyHeavyAtomsForRMS=True  useSymmetryForPruning=False   1
#   ethanol         onlyHeavyAtomsForRMS=False useSymmetryForPruning=True    1
#   ethanol         onlyHeavyAtomsForRMS=False useSymmetryForPruning=False  73
#   ethylene glycol onlyHeavyAtomsForRMS=True  useSymmetryForPruning=True    3
#   ethylene glycol onlyHeavyAtomsForRMS=True  useSymmetryForPruning=False   3
#   ethylene glycol onlyHeavyAtomsForRMS=False useSymmetryForPruning=True    3
#   ethylene glycol onlyHeavyAtomsForRMS=False useSymmetryForPruning=False  78
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile rdkit==2026.9.1 numpy==2.3.5
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
from rdkit import Chem
from rdkit.Chem import AllChem

found = {}
for name, smiles in (("ethanol", "CCO"), ("ethylene glycol", "OCCO")):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    for heavy in (True, False):
        for symmetry in (True, False):
            options = AllChem.ETKDGv3()
            options.randomSeed, options.pruneRmsThresh = 7, 0.2
            options.onlyHeavyAtomsForRMS, options.useSymmetryForPruning = heavy, symmetry
            found[name, heavy, symmetry] = n = len(AllChem.EmbedMultipleConfs(mol, 100, options))
            print(f"{name:15s} onlyHeavyAtomsForRMS={heavy!s:5s} useSymmetryForPruning={symmetry!s:5s} {n:3d}")
for name in ("ethanol", "ethylene glycol"):
    assert found[name, False, True] == found[name, True, True], "the option takes effect now"
    assert found[name, False, False] > 20
assert found["ethanol", True, True] == 1
PY
