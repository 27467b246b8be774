#!/usr/bin/env bash
# biotite 1.6.0: the backbone dihedrals of a capped amino acid are all nan.
#
# Guess:   dihedral_backbone(ACE-ALA-NME) gives the one phi and psi there are, as MDTraj and MDAnalysis do.
# Happens: caps are no amino acids to biotite and an angle needs three neighbouring amino acids: phi, psi and omega are
#          nan for all three residues, without a warning. (sasa, by its default ProtOr radii, is nan for every hydrogen:
#          a plain sum is nan, too.)
# Matters: ACE-X-NME are the standard test molecules; code that works on proteins gives an empty Ramachandran plot.
#
# Seen 30 November 2026:
#   phi, psi, omega of ACE, ALA, NME: [[nan, nan, nan], [nan, nan, nan], [nan, nan, nan]]
#   phi from its four atoms: 180.0 degrees
#   sasa: nan for 12 of 12 hydrogens, 0 of 10 others; sum nan, nansum 328.3, with Single 339.1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile biotite==1.6.0 numpy==2.3.5
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import biotite.structure as struc
import biotite.structure.io.pdb as pdb
import numpy as np

ATOMS = """HH31 ACE 1 2.000 1.000 0.000,CH3 ACE 1 2.000 2.090 0.000,HH32 ACE 1 1.486 2.454 0.890,HH33 ACE 1 1.486 2.454 -0.890
C ACE 1 3.427 2.641 0.000,O ACE 1 4.391 1.877 0.000,N ALA 2 3.555 3.970 0.000,H ALA 2 2.733 4.556 0.000
CA ALA 2 4.853 4.614 0.000,HA ALA 2 5.408 4.316 0.890,CB ALA 2 5.661 4.221 -1.232,HB1 ALA 2 5.123 4.521 -2.131
HB2 ALA 2 6.630 4.719 -1.206,HB3 ALA 2 5.809 3.141 -1.241,C ALA 2 4.713 6.129 0.000,O ALA 2 3.601 6.653 0.000
N NME 3 5.846 6.835 0.000,H NME 3 6.737 6.359 0.000,C NME 3 5.846 8.284 0.000,H1 NME 3 4.819 8.648 0.000
H2 NME 3 6.360 8.648 0.890,H3 NME 3 6.360 8.648 -0.890""".replace("\n", ",").split(",")
with open("dipeptide.pdb", "w") as out:
    for serial, (name, residue, number, *xyz) in enumerate((a.split() for a in ATOMS), 1):
        x, y, z = map(float, xyz)
        label = name if len(name) == 4 else f" {name:3s}"
        print(f"ATOM  {serial:5d} {label} {residue} A{number:>4s}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name[0]:>2s}",
              file=out)
atoms = pdb.PDBFile.read("dipeptide.pdb").get_structure(model=1)
angles = np.array(struc.dihedral_backbone(atoms))
print("phi, psi, omega of ACE, ALA, NME:", angles.round(2).tolist())
place = {(r, n): i for i, (r, n) in enumerate(zip(atoms.res_name, atoms.atom_name))}
phi = struc.dihedral(*(atoms.coord[place[k]] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))))
print(f"phi from its four atoms: {abs(np.degrees(phi)):.1f} degrees")
area, single = struc.sasa(atoms), struc.sasa(atoms, vdw_radii="Single")
hydrogen = atoms.element == "H"
print(f"sasa: nan for {np.isnan(area[hydrogen]).sum()} of {hydrogen.sum()} hydrogens, {np.isnan(area[~hydrogen]).sum()} of "
      f"{(~hydrogen).sum()} others; sum {area.sum():.1f}, nansum {np.nansum(area):.1f}, with Single {single.sum():.1f}")
assert np.isnan(angles).all(), "biotite has angles for capped residues now"
assert abs(abs(np.degrees(phi)) - 180) < 1
assert np.isnan(area[hydrogen]).all() and not np.isnan(single).any()
PY
