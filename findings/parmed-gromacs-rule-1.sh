#!/usr/bin/env bash
# ParmEd 4.3.1: of a GROMACS topology with combination rule 1 it reads C6 as sigma and C12 as epsilon.
#
# Guess:   rule 1 (atom types by C6 and C12: the GROMOS force fields, many ATB molecules) is converted, or refused.
# Happens: the two columns are taken for nm and kJ/mol whatever the rule: an atom of sigma 3.18 Angstrom becomes one of
#          0.03 Angstrom with an epsilon of nothing. The structure says combining_rule "geometric", and the topology it
#          writes has rule 3 with these numbers, consistently wrong, so that reading it back shows nothing. The one
#          warning is about 1-4 pairs set to zero.
# Matters: a molecule without repulsion: charges fall into each other as soon as it is simulated, while a single-point
#          energy of one extended conformer looks plausible.
#
# Seen 30 November 2026:
#   meant: sigma 3.18 A, epsilon 0.168 kcal/mol
#   read:  sigma 0.029 A, epsilon 7.2e-07 kcal/mol; rule written: 3; warnings: 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile parmed==4.3.1 numpy==2.3.5
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import warnings

import parmed

top = """[ defaults ]
1 COMB yes 0.5 0.8333
[ atomtypes ]
CA 6 12.01 0.0 A V W
[ moleculetype ]
M 3
[ atoms ]
1 CA 1 MOL C1 1  0.3 12.01
2 CA 1 MOL C2 2 -0.3 12.01
3 CA 1 MOL C3 3  0.3 12.01
4 CA 1 MOL C4 4 -0.3 12.01
5 CA 1 MOL C5 5  0.3 12.01
6 CA 1 MOL C6 6 -0.3 12.01
[ bonds ]
1 2 1 0.15 200000
2 3 1 0.15 200000
3 4 1 0.15 200000
4 5 1 0.15 200000
5 6 1 0.15 200000
EXCLUSIONS[ system ]
x
[ molecules ]
M 1
"""
c6, c12 = 2.9e-3, 3.0e-6
with open("in.top", "w") as out:
    out.write(top.replace("COMB", "1").replace("V W", f"{c6} {c12}").replace("EXCLUSIONS", ""))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    structure = parmed.load_file("in.top")
    structure.save("out.top", overwrite=True)
atom = structure.atoms[0]
lines = open("out.top").read().split("[ defaults ]")[1].splitlines()
rule = next(line.split()[1] for line in lines[1:] if line.strip() and line.strip()[0] != ";")
print(f"meant: sigma {10 * (c12 / c6) ** (1 / 6):.2f} A, epsilon {c6**2 / (4 * c12) / 4.184:.3f} kcal/mol")
print(f"read:  sigma {atom.sigma:.3f} A, epsilon {atom.epsilon:.1e} kcal/mol; rule written: {rule}; warnings: {len(caught)}")
assert abs(atom.sigma - 10 * c6) < 1e-6 and atom.epsilon < 1e-5, "ParmEd converts rule 1 now"
assert rule == "3"
PY
