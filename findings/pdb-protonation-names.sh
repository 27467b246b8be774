#!/usr/bin/env bash
# MDTraj 1.11.1.post2 and OpenMM 8.6.1: reading a PDB renames protonation states away, and not the same ones.
#
# Guess:   HID, HIE and HIP (or CHARMM's HSD, HSE, HSP), ASH, GLH and LYN are names one chose; load and save keeps them.
# Happens: both call the histidines HIS, OpenMM all but HSE; OpenMM also makes ASH ASP and GLH GLU, MDTraj keeps those;
#          CYX becomes CYS in both, LYN stays in both. HB1 and HB2 of a CH2 become HB3 and HB2, in that order. The
#          hydrogens themselves stay. standard_names=False of mdtraj.load_pdb keeps the names.
# Matters: a saved PDB given to tleap or pdb4amber has its HIP read as HIS, i.e. HIE, and the protonated ASP as charged
#          with a hydrogen too many; selections such as "resname HIP" or "name HB1" are empty after loading.
#
# Seen 30 November 2026:
#   MDTraj: HID>HIS, HIE>HIS, HIP>HIS, HSD>HIS, HSE>HIS, HSP>HIS, CYX>CYS; kept: ASH, GLH, LYN, CYM
#   OpenMM: HID>HIS, HIE>HIS, HIP>HIS, HSD>HIS, HSP>HIS, ASH>ASP, GLH>GLU, CYX>CYS; kept: HSE, LYN, CYM
#   HB1, HB2 of serine in MDTraj: HB3, HB2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile mdtraj==1.11.1.post2 openmm==8.6.1 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import mdtraj
from openmm import app


def write(residue, names):
    with open("in.pdb", "w") as out:
        for i, name in enumerate(names):
            print(f"ATOM  {i + 1:5d}  {name:3s} {residue} A   1    {1.2 * i:8.3f}   0.000   0.000  1.00  0.00"
                  f"          {name[0]:>2s}", file=out)
        print("END", file=out)


changed = {"MDTraj": {}, "OpenMM": {}}
for residue in ("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "ASH", "GLH", "LYN", "CYX", "CYM"):
    write(residue, ("N", "CA", "C", "O"))
    for program, topology in (("MDTraj", mdtraj.load("in.pdb").topology), ("OpenMM", app.PDBFile("in.pdb").topology)):
        name = next(iter(topology.residues() if program == "OpenMM" else topology.residues)).name
        changed[program][residue] = name
    kept = mdtraj.load_pdb("in.pdb", standard_names=False).topology.residue(0).name
    assert kept == residue, "standard_names=False renames now"
for program, names in changed.items():
    print(f"{program}: " + ", ".join(f"{a}>{b}" for a, b in names.items() if a != b)
          + "; kept: " + ", ".join(a for a, b in names.items() if a == b))
write("SER", ("N", "CA", "HA", "CB", "HB1", "HB2", "OG", "C", "O"))
hydrogens = [a.name for a in mdtraj.load("in.pdb").topology.atoms if a.name.startswith("HB")]
print("HB1, HB2 of serine in MDTraj:", ", ".join(hydrogens))
assert all(changed[p][r] == "HIS" for p in changed for r in ("HID", "HIE", "HIP"))
assert changed["OpenMM"]["ASH"] == "ASP" and changed["MDTraj"]["ASH"] == "ASH"
assert changed["OpenMM"]["GLH"] == "GLU" and changed["MDTraj"]["GLH"] == "GLH"
assert hydrogens == ["HB3", "HB2"]
PY
