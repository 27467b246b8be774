#!/usr/bin/env bash
# Alternate locations: most readers take the first one, not the occupied one; MDAnalysis and ASE keep both as atoms.
# MDTraj 1.11.1.post2, MDAnalysis 2.11.0, biotite 1.6.0, ASE 3.29.0
#
# Guess:   of a side chain with occupancies 0.2 (A) and 0.8 (B) one gets B, or at any rate one of the two.
# Happens: MDTraj and biotite take A, the first in the file, and the occupancy is not looked at (biotite has
#          altloc="occupancy" for it). MDAnalysis and ASE return an oxygen too many: both locations at once, so that
#          masses, formulas, distances and RMSDs count it twice.
# Matters: the starting structure of a simulation, or the experimental conformer an ensemble is compared with, is the
#          minor one, or a molecule with an extra atom.
#
# Seen 30 November 2026 (SER with OG at x = 3.41 in A, 20 %, and x = 1.50 in B, 80 %):
#   MDTraj              OG at x = 3.41
#   biotite             OG at x = 3.41
#   biotite, occupancy  OG at x = 1.50
#   MDAnalysis          OG at x = 3.41, 1.50
#   ASE                 OG at x = 3.41, 1.50
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile MDAnalysis==2.11.0 mdtraj==1.11.1.post2 biotite==1.6.0 ase==3.29.0 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import ase.io
import biotite.structure.io.pdb as pdb
import MDAnalysis
import mdtraj

ATOMS = (("N", " ", 0, 0, 0, 1), ("CA", " ", 1.46, 0, 0, 1), ("C", " ", 2.01, 1.42, 0, 1), ("O", " ", 1.25, 2.39, 0, 1),
         ("CB", " ", 1.99, -0.77, -1.21, 1), ("OG", "A", 3.41, -0.78, -1.2, 0.2), ("OG", "B", 1.5, -0.2, -2.41, 0.8),
         ("OXT", " ", 3.24, 1.56, 0, 1))
with open("in.pdb", "w") as out:
    for i, (name, alt, x, y, z, occupancy) in enumerate(ATOMS, 1):
        print(f"ATOM  {i:5d}  {name:3s}{alt}SER A   1    {x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}  0.00          {name[0]:>2s}",
              file=out)
    print("END", file=out)
found = {}
t = mdtraj.load("in.pdb")
found["MDTraj"] = [10 * float(t.xyz[0, a.index, 0]) for a in t.topology.atoms if a.name == "OG"]
for option in ("first", "occupancy"):
    atoms = pdb.PDBFile.read("in.pdb").get_structure(model=1, altloc=option)
    found["biotite" if option == "first" else "biotite, occupancy"] = [
        float(a.coord[0]) for a in atoms if a.atom_name == "OG"]
default = pdb.PDBFile.read("in.pdb").get_structure(model=1)
found["MDAnalysis"] = [float(a.position[0]) for a in MDAnalysis.Universe("in.pdb").atoms if a.name == "OG"]
read = ase.io.read("in.pdb")
found["ASE"] = [float(a.x) for a in read if a.symbol == "O" and a.z < 0]
for name, xs in found.items():
    print(f"{name:19s} OG at x =", ", ".join(f"{x:.2f}" for x in xs))
one = {name: [round(x, 2) for x in xs] for name, xs in found.items()}
assert one["MDTraj"] == one["biotite"] == [3.41] and one["biotite, occupancy"] == [1.5]
assert round(float(default.coord[default.atom_name == "OG"][0, 0]), 2) == 3.41
assert one["MDAnalysis"] == one["ASE"] == [3.41, 1.5]
PY
