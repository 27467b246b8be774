#!/usr/bin/env bash
# DCD between MDAnalysis 2.11.0, MDTraj 1.11.1.post2 and chemfiles 0.10.4: three readers, three clocks.
#
# Guess:   a DCD holds the time step, so that frames written every 10 ps come back every 10 ps (as they do from XTC).
# Happens: MDTraj reads the number of the frame, whatever the file says, and drops the times it is asked to write. The
#          step in the file counts in units of 48.888 fs (AKMA): MDAnalysis converts, so a file of MDTraj, which says "1",
#          has frames every 0.0489 ps. chemfiles takes the same number for ps: frames every 0.1 ps come every 2.045 ps.
#          MDAnalysis itself loses the step when AtomGroup.write(..., frames="all") writes DCD: 10 ps becomes 1 ps.
# Matters: autocorrelation times, rates and lag times from DCD are off by 20, 200 or whatever the stride was; only the
#          frame number is safe.
#
# Seen 30 November 2026 (time of the fourth frame, ps):
#   mdtraj-10ps.dcd       MDAnalysis  0.1467, MDTraj  3.0, chemfiles  3.0000
#   mdanalysis-0.1ps.dcd  MDAnalysis  0.3000, MDTraj  3.0, chemfiles  6.1364
#   memory-10ps.dcd       MDAnalysis  3.0000, MDTraj  3.0, chemfiles 61.3645
#   memory-10ps.xtc       MDAnalysis 30.0000, MDTraj 30.0, chemfiles 30.0000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile MDAnalysis==2.11.0 mdtraj==1.11.1.post2 chemfiles==0.10.4 numpy==2.3.5 scipy==1.17.1
cd "$work"
venv/bin/python -I -W ignore - <<'PY'
import chemfiles
import MDAnalysis as mda
import mdtraj as md
import numpy as np

top = md.Topology()
residue = top.add_residue("X", top.add_chain())
for _ in range(3):
    top.add_atom("C", md.element.carbon, residue)
xyz = np.random.default_rng(0).random((4, 3, 3)).astype("f4")
cell = dict(unitcell_lengths=np.full((4, 3), 3.0), unitcell_angles=np.full((4, 3), 90.0))
md.Trajectory(xyz, top, time=np.arange(4) * 10.0, **cell).save("mdtraj-10ps.dcd")
u = mda.Universe.empty(3, trajectory=True)
u.dimensions = [30, 30, 30, 90, 90, 90]
with mda.Writer("mdanalysis-0.1ps.dcd", 3, dt=0.1) as writer:
    for _ in range(4):
        writer.write(u.atoms)
memory = mda.Universe.empty(3).load_new(10 * xyz, order="fac", dt=10.0, dimensions=[30, 30, 30, 90, 90, 90])
memory.atoms.write("memory-10ps.dcd", frames="all")
memory.atoms.write("memory-10ps.xtc", frames="all")

found = {}
for name in ("mdtraj-10ps.dcd", "mdanalysis-0.1ps.dcd", "memory-10ps.dcd", "memory-10ps.xtc"):
    a = [float(ts.time) for ts in mda.Universe.empty(3).load_new(name).trajectory][3]
    b = float(md.load(name, top=top).time[3])
    trajectory = chemfiles.Trajectory(name)
    c = float([trajectory.read()["time"] for _ in range(4)][3])
    found[name] = a, b, c
    print(f"{name:21s} MDAnalysis {a:7.4f}, MDTraj {b:4.1f}, chemfiles {c:7.4f}")


def near(name, *expected):
    return np.allclose(found[name], expected, rtol=2e-3)


assert near("memory-10ps.xtc", 30, 30, 30)
assert np.allclose(found["mdtraj-10ps.dcd"][:2], (0.146665, 3), rtol=2e-3), "MDTraj's DCD tells another time"
assert np.allclose(found["mdanalysis-0.1ps.dcd"][:2], (0.3, 3), rtol=2e-3) and found["mdanalysis-0.1ps.dcd"][2] > 3
assert np.allclose(found["memory-10ps.dcd"][:2], (3, 3), rtol=2e-3), "MDAnalysis keeps the step of a DCD now"
PY
