"""The pictures of docs/questions, each from the commands of its page, run for real.

    python docs/images/make.py FOLDER [NAME ...]

FOLDER keeps the runs: what is there is not made again, so that a picture can be drawn anew. About twenty
minutes on two idle cores for all of them; most of it is the simulation and training of `ring` and `drug`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

import boltzgen as bg
from boltzgen.ensemble import mdtraj_trajectory

IMAGES = Path(__file__).resolve().parent
DOPAMINE = "NCCc1ccc(O)c(O)c1"
LADDER = "--engine torch --timestep 2fs --hydrogen-mass 3 --equilibration 5ps"

#: Folder -> the command that makes it.
MADE = {
    "KG": "boltzgen prepare --sequence KG --implicit obc1 -o KG",
    "KGOUT": "boltzgen sample peptides-ff14sb-obc1 KG -o KGOUT -n 10000 --temperature 300",
    "VAL": "boltzgen prepare --sequence ACE-VAL-NME --implicit obc1 -o VAL",
    "VALOUT": "boltzgen sample peptides-ff14sb-obc1 VAL -o VALOUT -n 10000 --temperature 300",
    "FF14": "boltzgen prepare --sequence ACE-ALA-NME --implicit obc1 -o FF14",
    "FF19": "boltzgen prepare --sequence ACE-ALA-NME --forcefield amber19-all.xml --implicit obc1 -o FF19",
    "OUT14": "boltzgen sample peptides-ff14sb-obc1 FF14 -o OUT14 -n 10000 --temperature 300",
    "OUT19": "boltzgen reweight OUT14 --to FF19 -o OUT19",
    "DCE": "boltzgen prepare --smiles ClCCCl -o DCE",
    "DCEGFN": "boltzgen prepare --smiles ClCCCl --ml gfn2 -o DCEGFN",
    "DCERUN": "boltzgen train dce.yaml -o DCERUN",
    "DCEOUT": "boltzgen sample DCERUN DCE -o DCEOUT -n 10000 --temperature 300",
    "DCEXTB": "boltzgen reweight DCEOUT --to DCEGFN -o DCEXTB --expensive 2000",
    "RING": "boltzgen prepare --smiles FC1CCCCC1 -o RING",
    "RINGMD": f"boltzgen simulate RING -o RINGMD {LADDER} --temperatures 300,366,446,543,662,800,1000"
    " --replicas 112 --time 60ps --save-interval 1ps",
    "RINGRUN": "boltzgen train ring.yaml -o RINGRUN",
    "RINGOUT": "boltzgen sample RINGRUN RING -o RINGOUT -n 3000 --temperature 300"
    " --refine smc --refine-budget 8",
    "DRUG": f"boltzgen prepare --smiles '{DOPAMINE}' --implicit obc2 -o DRUG",
    "DRUGMD": f"boltzgen simulate DRUG -o DRUGMD {LADDER} --temperatures 300,400,530,700"
    " --replicas 64 --time 30ps --save-interval 0.5ps --torsion-moves 3",
    "DRUGRUN": "boltzgen train drug.yaml -o DRUGRUN",
    "DRUGOUT": "boltzgen sample DRUGRUN DRUG -o DRUGOUT -n 5000 --temperature 300",
}

#: Configurations of the trainings.
FILES = {
    "dce.yaml": """system: DCE
reverse_kl: {weight: [[0.5, 1.0], [0.6, 0.1]], batch_size: 128, temperatures: [300.0, 600.0, 1000.0]}
reweighted: {weight: [[0.2, 0.0], [0.4, 1.0]]}
optimizer: {steps: 200}
evaluation: {every: 100, samples: 1000}
""",
    **{f"{name.lower()}.yaml": f"system: {name}\ndata: {name}MD\n" for name in ("RING", "DRUG")},
}


def curve(folder: str, declared: str = "", turned: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of the bins (degrees), free energy and band (kT) along phi, or a variable `declared` by atoms.

    Bins whose error is above 1 kT are left out. `turned`: from 0 to 360 degrees, where a well lies at 180.
    """
    Path("turn.yaml").write_text(f"coordinates:\n  turn: {declared}\n")
    given = {"coordinates": "turn.yaml"} if declared else {}
    along = ["turn" if declared else "phi"]
    found = bg.free_energy_surface(folder, along, bins=[36], output=f"{folder}.json", **given).surface
    known = np.where(np.asarray(found.standard_error) < 1.0, 1.0, np.nan)
    rows = np.stack([found.centres[0], found.free_energy * known, found.low * known, found.high * known])
    if turned:
        rows[0] %= 360
        rows = rows[:, np.argsort(rows[0])]
    return rows[0], rows[1], rows[2:]


def curves(parts: list[tuple], label: str, title: str, ticks=range(-180, 181, 60)) -> plt.Figure:
    """Free energies along one variable, each with its 95 % band."""
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for name, (centres, values, (low, high)) in parts:
        axes.fill_between(centres, low, high, alpha=0.25, linewidth=0)
        axes.plot(centres, values, label=name)
    axes.set(xlabel=label, ylabel="free energy (kT)", title=title, xticks=ticks, ylim=(0, 10))
    if parts[0][0]:
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def peptide() -> plt.Figure:
    figure, axes = plt.subplots(figsize=(4.8, 3.9), layout="constrained")
    found = bg.free_energy_surface("KGOUT", ["psi", "phi"], output="kg.json").surface
    known = np.where(found.standard_error < 1.0, np.minimum(found.free_energy, 10), np.nan)
    drawn = axes.pcolormesh(*found.edges, known.T, cmap="viridis")
    axes.set(xlabel="ψ of Lys 1 (degrees)", ylabel="φ of Gly 2 (degrees)", title="KG, ff14SB + OBC1, 300 K")
    axes.set(xticks=range(-180, 181, 60), yticks=range(-180, 181, 60))
    figure.colorbar(drawn, label="free energy (kT)")
    return figure


def populations() -> plt.Figure:
    Path("chi1.yaml").write_text(
        "states:\n  - {name: gauche+, where: {chi1: [0, 120]}}\n"
        "  - {name: trans, where: {chi1: [120, -120]}}\n  - {name: gauche-, where: {chi1: [-120, 0]}}\n"
    )
    found = bg.free_energy_states("VALOUT", "chi1.yaml").to_json()["states"]
    print(found)
    figure, axes = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
    names = [state["name"] for state in found]
    shares = [100 * state["population"] for state in found]
    errors = [196 * state["standard_error"] for state in found]
    axes.bar(names, shares, yerr=errors, capsize=4, color="#4c8fa8")
    axes.set(ylabel="population (%)", title="χ1 of capped valine, ff14SB + OBC1, 300 K", ylim=(0, 100))
    return figure


def two_force_fields() -> plt.Figure:
    parts = [("ff14SB", curve("OUT14")), ("ff19SB", curve("OUT19"))]
    return curves(parts, "φ (degrees)", "alanine dipeptide, OBC1, 300 K")


def free_energy() -> plt.Figure:
    parts = [("", curve("DCEOUT", "{torsion: [0, 1, 2, 3]}", turned=True))]
    return curves(parts, "Cl-C-C-Cl (degrees)", "1,2-dichloroethane, MMFF94, 300 K", range(0, 361, 60))


def costly_energy() -> plt.Figure:
    named = {"DCEOUT": "MMFF94", "DCEXTB": "GFN2-xTB, 2000 energies"}
    parts = [(name, curve(folder, "{torsion: [0, 1, 2, 3]}", turned=True)) for folder, name in named.items()]
    return curves(parts, "Cl-C-C-Cl (degrees)", "1,2-dichloroethane, 300 K", range(0, 361, 60))


def ring() -> plt.Figure:
    ring = "{pucker: [1, 2, 3, 4, 5, 6]}"
    parts = [("", curve("RINGOUT", ring))]
    return curves(parts, "puckering θ (degrees)", "fluorocyclohexane, MMFF94, 300 K", ticks=range(0, 181, 30))


def training_data() -> plt.Figure:
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    trajectory = bg.load_trajectory("DRUGMD", "DRUG")
    for kelvin in (300.0, 400.0, 530.0, 700.0):
        energies = np.asarray(trajectory.at(kelvin).energies)
        axes.hist(energies, bins=60, histtype="step", density=True, label=f"{kelvin:.0f} K")
    axes.set(xlabel="potential energy (kJ/mol)", ylabel="density", title="dopamine, MMFF94 + OBC2", yticks=[])
    axes.legend(frameon=False)
    return figure


def docking() -> plt.Figure:
    frames, weights = mdtraj_trajectory(bg.load_samples("DRUGOUT"))
    chosen = frames[np.sort(np.random.default_rng(1).choice(len(weights), 20, p=weights))]
    molecule = Chem.AddHs(Chem.MolFromSmiles(DOPAMINE))
    ringed = [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetIsAromatic()]
    chosen.superpose(chosen, 0, atom_indices=ringed)
    centred = chosen.xyz - chosen.xyz[0, ringed].mean(0)
    flat = np.linalg.svd(centred[0, ringed])[2]  # look at the plane of the ring at an angle
    seen = centred @ flat.T @ np.array([[1, 0, 0], [0, 0.5, 0.87], [0, -0.87, 0.5]])
    figure, axes = plt.subplots(figsize=(4.8, 3.2), layout="constrained")
    colours = {"O": "#c33", "N": "#36c", "C": "#555", "H": "#bbb"}
    for frame in seen:
        for bond in molecule.GetBonds():
            ends = [bond.GetBeginAtom(), bond.GetEndAtom()]
            middle = frame[[end.GetIdx() for end in ends]].mean(0)
            for end in ends:
                line = np.stack([frame[end.GetIdx()], middle])
                axes.plot(line[:, 0], line[:, 1], color=colours[end.GetSymbol()], linewidth=1.2, alpha=0.55)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def drug() -> str:
    molecule = Chem.MolFromSmiles(DOPAMINE)
    for atom in molecule.GetAtoms():
        atom.SetProp("atomNote", str(atom.GetIdx()))
    drawer = rdMolDraw2D.MolDraw2DSVG(420, 220)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    return drawer.GetDrawingText()


#: Picture -> what draws it, and the folders that it needs.
PICTURES = {
    "peptide.png": (peptide, ("KG", "KGOUT")),
    "populations.png": (populations, ("VAL", "VALOUT")),
    "two-force-fields.png": (two_force_fields, ("FF14", "FF19", "OUT14", "OUT19")),
    "free-energy.png": (free_energy, ("DCE", "DCERUN", "DCEOUT")),
    "costly-energy.png": (costly_energy, ("DCE", "DCEGFN", "DCERUN", "DCEOUT", "DCEXTB")),
    "drug.svg": (drug, ()),
    "ring.png": (ring, ("RING", "RINGMD", "RINGRUN", "RINGOUT")),
    "training-data.png": (training_data, ("DRUG", "DRUGMD")),
    "docking.png": (docking, ("DRUG", "DRUGMD", "DRUGRUN", "DRUGOUT")),
}


def main(folder: str, *names: str) -> None:
    """Make what is missing in `folder`, and draw."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    for name, text in FILES.items():
        Path(name).write_text(text)
    for picture, (draw, needs) in PICTURES.items():
        if names and picture.split(".")[0] not in names:
            continue
        for need in needs:
            if not Path(need).exists():
                print("$", MADE[need], flush=True)
                subprocess.run(shlex.split(MADE[need]), check=True)
        drawn = draw()
        if isinstance(drawn, str):
            (IMAGES / picture).write_text(drawn, encoding="utf-8")
        else:
            drawn.savefig(IMAGES / picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
