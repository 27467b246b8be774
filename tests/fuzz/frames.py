"""Readers of parameters and of frames, as targets."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from fuzz.target import Target

from boltzgen.data.trajectory import read_trajectory
from boltzgen.system.prepare import prepare

EXAMPLES = Path(__file__).resolve().parents[2] / "boltzgen" / "examples"


_FORCEFIELD = b"""\
<ForceField>
 <AtomTypes>
  <Type name="CX" class="CX" element="C" mass="12.011"/>
  <Type name="HX" class="HX" element="H" mass="1.008"/>
 </AtomTypes>
 <Residues>
  <Residue name="MET">
   <Atom name="C1" type="CX" charge="-0.4"/>
   <Atom name="H1" type="HX" charge="0.1"/>
   <Atom name="H2" type="HX" charge="0.1"/>
   <Atom name="H3" type="HX" charge="0.1"/>
   <Atom name="H4" type="HX" charge="0.1"/>
   <Bond atomName1="C1" atomName2="H1"/>
   <Bond atomName1="C1" atomName2="H2"/>
   <Bond atomName1="C1" atomName2="H3"/>
   <Bond atomName1="C1" atomName2="H4"/>
  </Residue>
 </Residues>
 <HarmonicBondForce>
  <Bond class1="CX" class2="HX" length="0.109" k="284512"/>
 </HarmonicBondForce>
 <HarmonicAngleForce>
  <Angle class1="HX" class2="CX" class3="HX" angle="1.91" k="276"/>
 </HarmonicAngleForce>
 <NonbondedForce coulomb14scale="0.83" lj14scale="0.5">
  <UseAttributeFromResidue name="charge"/>
  <Atom class="CX" sigma="0.34" epsilon="0.45"/>
  <Atom class="HX" sigma="0.26" epsilon="0.06"/>
 </NonbondedForce>
</ForceField>
"""

_METHANE = b"""\
HETATM    1 C1   MET A   1       0.000   0.000   0.000  1.00  0.00           C
HETATM    2 H1   MET A   1       0.629   0.629   0.629  1.00  0.00           H
HETATM    3 H2   MET A   1      -0.629  -0.629   0.629  1.00  0.00           H
HETATM    4 H3   MET A   1      -0.629   0.629  -0.629  1.00  0.00           H
HETATM    5 H4   MET A   1       0.629  -0.629  -0.629  1.00  0.00           H
CONECT    1    2    3    4    5
END
"""


def parameters() -> list[Target]:
    return [
        Target(
            "forcefield-xml",
            {"own.xml": _FORCEFIELD, "methane.pdb": _METHANE},
            "own.xml",
            lambda f: prepare(f / "methane.pdb", forcefield=(str(f / "own.xml"),)),
            weight=2,
        )
    ]


def frames() -> list[Target]:
    """Trajectories of butane that MDTraj writes, read as training data are."""
    butane = prepare(EXAMPLES / "butane" / "system.xml", coordinates=EXAMPLES / "butane" / "butane.pdb")
    rng = np.random.default_rng(5)
    xyz = butane.reference_positions + rng.normal(0, 0.004, (12, butane.n_atoms, 3))
    made = mdtraj.Trajectory(xyz, butane.mdtraj_topology())
    targets = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("dcd", "xtc", "trr", "h5", "nc"):
            path = Path(folder) / f"frames.{kind}"
            made.save(str(path))
            name = path.name

            def read(place: Path, name: str = name) -> Any:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return read_trajectory(place / name, butane, temperature=300.0)

            def verify(place: Path, result: Any) -> str | None:
                return None if np.isfinite(result.positions).all() else "accepted frames that are not finite"

            targets.append(Target(f"frames-{kind}", {name: path.read_bytes()}, name, read, verify))
    return targets
