#!/usr/bin/env bash
# tblite 0.8.0 (GFN2-xTB): radicals without a spin are doublets without a word, and O2 without one is a singlet that is
# lower than the triplet.
#
# Guess:   an odd number of electrons with uhf=0, the default, is refused (as PySCF, Psi4 and ORCA do); for O2 the method
#          finds the triplet to be the ground state.
# Happens: CH3 with uhf=0 is what it is with uhf=1, to the last digit; uhf=2 IS refused. So a forgotten hydrogen, or a
#          charge off by one, is not noticed (water with charge 1 runs as a doublet; charge 0.5 runs, too). O2 by default is
#          a closed shell with two half-filled levels, 6.9 kJ/mol below uhf=2: GFN2 has no spin polarisation.
# Matters: charges and spins of thousands of generated molecules are usually left to the program to check.
#
# Seen 30 November 2026 (Hartree):
#   CH3, default          -3.562668
#   CH3, uhf=0            -3.562668
#   CH3, uhf=1            -3.562668
#   O2, default           -7.906611
#   O2, uhf=2             -7.903977
#   H2O, charge=1, uhf=0  -4.397339
#   H2O, charge=0.5       -5.070383
#   CH3, uhf=2: Total number of electrons (7) and number unpaired electrons (2) is not compatible
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile tblite==0.8.0 numpy==2.3.5
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import numpy as np
from tblite.interface import Calculator

BOHR = 1.8897259886


def energy(numbers, xyz, **options):
    calculator = Calculator("GFN2-xTB", np.array(numbers), BOHR * np.array(xyz, dtype=float), **options)
    calculator.set("verbosity", 0)
    return calculator.singlepoint()["energy"]


methyl = [6, 1, 1, 1], [[0, 0, 0], [1.08, 0, 0], [-0.54, 0.935, 0], [-0.54, -0.935, 0]]
oxygen = [8, 8], [[0, 0, 0], [0, 0, 1.2]]
water = [8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]
e = {"CH3, default": energy(*methyl), "CH3, uhf=0": energy(*methyl, uhf=0), "CH3, uhf=1": energy(*methyl, uhf=1),
     "O2, default": energy(*oxygen), "O2, uhf=2": energy(*oxygen, uhf=2),
     "H2O, charge=1, uhf=0": energy(*water, charge=1, uhf=0), "H2O, charge=0.5": energy(*water, charge=0.5)}
for name, value in e.items():
    print(f"{name:21s} {value:.6f}")
try:
    energy(*methyl, uhf=2)
    refused = False
except RuntimeError as error:
    refused = True
    print("CH3, uhf=2:", error)
assert refused and abs(e["CH3, uhf=0"] - e["CH3, uhf=1"]) < 1e-9, "odd electrons are treated otherwise now"
assert abs(e["CH3, default"] - e["CH3, uhf=1"]) < 1e-9
assert 0.002 < e["O2, uhf=2"] - e["O2, default"] < 0.003
PY
