#!/usr/bin/env bash
# ParmEd 4.3.1: [ exclusions ] of a GROMACS topology are dropped without a warning, on reading and so on writing.
#
# Guess:   a section that is a plain list of atom pairs is kept, or refused.
# Happens: the pairs beyond nrexcl that the topology excludes interact in the structure that is read, in every system made
#          from it, and in the topology or prmtop that is written; no warning, no error.
# Matters: exclusions come with restrained ligands, dual topologies, virtual sites and coarse-grained models; through
#          ParmEd on the way to OpenMM or Amber their energies become wrong by whole Lennard-Jones walls.
#
# Seen 30 November 2026:
#   excluded in the file: 1-5, 1-6, 2-6; in the structure: none; written: False; warnings about it: 0
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
top = top.replace("COMB", "2").replace("V W", "0.35 0.40")
top = top.replace("EXCLUSIONS", "[ exclusions ]\n1 5 6\n2 6\n")
with open("in.top", "w") as out:
    out.write(top)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    structure = parmed.load_file("in.top")
    structure.save("out.top", overwrite=True)
about = [w for w in caught if "exclu" in str(w.message).lower()]
pairs = {(a.idx + 1, b.idx + 1) for a in structure.atoms for b in a.exclusion_partners if a.idx < b.idx}
written = "[ exclusions ]" in open("out.top").read()
print(f"excluded in the file: 1-5, 1-6, 2-6; in the structure: {sorted(pairs) or 'none'}; "
      f"written: {written}; warnings about it: {len(about)}")
assert not pairs and not written and not about, "ParmEd minds [ exclusions ] now"
PY
