"""Energies of GROMACS topologies beside GROMACS itself (double precision, ``gmx_d``).

    python tests/benchmarks/gromacs_referee.py --out FOLDER [--table]

Runs the small cases of ``tests/cases/gromacs_cases.py`` and, for the force fields that come with GROMACS, the
peptide RHWECGMP as ``gmx_d pdb2gmx`` writes it, without cutoff in effect (a reaction field of dielectric
constant 1 with a cutoff of 30 nm). ``--table`` prints the energies of the cases as the tests hold them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cases"))
import gromacs_cases as cases

from boltzgen.system.formats.gromacs.reader import GromacsTopology

FORCE_FIELDS = ("amber03", "amber99sb-ildn", "amber94", "charmm27", "oplsaa", "gromos54a7")
PEPTIDE = "RHWECGMP"
SETTINGS = """\
integrator=md
nsteps=0
pbc=xyz
verlet-buffer-tolerance=-1
rlist=30
rcoulomb=30
rvdw=30
coulombtype=reaction-field
epsilon-rf=1
coulomb-modifier=none
vdw-modifier=none
nstcalcenergy=1
nstenergy=1
"""


def run(folder: Path, *words: str, answer: str = "") -> str:
    done = subprocess.run(words, cwd=folder, input=answer, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{done.stderr[-2000:]}")
    return done.stdout


def of_gromacs(folder: Path, top: Path, gro: Path) -> float:
    """Potential energy (kJ/mol) of `gro` by gmx_d."""
    lines = gro.read_text().splitlines()
    (folder / "big.gro").write_text("\n".join([*lines[:-1], "  100.0 100.0 100.0"]) + "\n")
    (folder / "run.mdp").write_text(SETTINGS)
    grompp = ("gmx_d", "grompp", "-f", "run.mdp", "-c", "big.gro", "-p", str(top), "-o", "run.tpr")
    run(folder, *grompp, "-maxwarn", "9")
    run(folder, "gmx_d", "mdrun", "-s", "run.tpr", "-nt", "1", "-deffnm", "run", "-rerun", "big.gro")
    run(folder, "gmx_d", "energy", "-f", "run.edr", "-o", "run.xvg", "-dp", answer="Potential\n")
    return float((folder / "run.xvg").read_text().split()[-1])


def of_ours(top: Path, gro: Path) -> float:
    """The same by boltzgen's reader and OpenMM Reference."""
    system = GromacsTopology(top).createSystem(constraints=None, rigidWater=False, removeCMMotion=False)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(app.GromacsGroFile(str(gro)).positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def of_openmm(top: Path, gro: Path) -> float | None:
    """The same by OpenMM's own reader; None where it refuses."""
    try:
        system = app.GromacsTopFile(str(top)).createSystem(rigidWater=False, removeCMMotion=False)
    except Exception:  # noqa: BLE001  (its reader raises exceptions of any class)
        return None
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(app.GromacsGroFile(str(gro)).positions)
    return float(context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def peptide(folder: Path, force_field: str) -> tuple[Path, Path]:
    """The topology and coordinates that pdb2gmx writes for `PEPTIDE`, neutral histidine."""
    from boltzgen.system.prepare import prepare

    made = prepare(sequence=PEPTIDE, forcefield=("amber14-all.xml",), minimize=True)
    (folder / "in.pdb").write_text(made.topology_pdb)
    words = ("gmx_d", "pdb2gmx", "-f", "in.pdb", "-ff", force_field, "-water", "none", "-ignh")
    run(folder, *words, "-o", "conf.gro", "-p", "topol.top")
    return folder / "topol.top", folder / "conf.gro"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if shutil.which("gmx_d") is None:
        sys.exit("gmx_d is not on PATH; install GROMACS in double precision (Debian: apt install gromacs).")
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[float | None]] = {}
    for name in cases.CHANGES:
        folder = asked.out / name.replace(" ", "_").replace(",", "")
        folder.mkdir(exist_ok=True)
        (folder / "case.top").write_text(cases.text_of(name))
        (folder / "case.gro").write_text(cases.GRO)
        places = (folder / "case.top", folder / "case.gro")
        rows[name] = [of_gromacs(folder, *places), of_ours(*places), of_openmm(*places)]
    if asked.table:
        print(json.dumps({name: row[0] for name, row in rows.items()}, indent=4))
    for force_field in FORCE_FIELDS:
        folder = asked.out / force_field
        folder.mkdir(exist_ok=True)
        places = peptide(folder, force_field)
        rows[f"{PEPTIDE}, {force_field}"] = [
            of_gromacs(folder, *places),
            of_ours(*places),
            of_openmm(*places),
        ]
    print("| topology | gmx_d | boltzgen | OpenMM's reader |\n|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join("refused" if x is None else f"{x:.6f}" for x in row) + " |")
    worst = max(abs(row[0] - row[1]) / max(abs(row[0]), 1.0) for row in rows.values())
    print(f"\nlargest relative difference from gmx_d: {worst:.1e}")
    if not np.isfinite(worst) or worst > 1e-6:
        sys.exit("boltzgen and GROMACS disagree")


if __name__ == "__main__":
    main()
