"""Force fields, solvents, molecules and conformations on which translated energies meet OpenMM Reference.

Shared by `test_force_fields.py`, which takes a few of each, and `benchmarks/force_fields.py`: all.
"""

from __future__ import annotations

import copy
import io
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app

from boltzgen.potentials.from_openmm.reference import reference_of
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

#: Name -> the files that OpenMM knows it by.
FORCE_FIELDS = {
    "ff14SB": "amber14-all.xml",
    "ff19SB": "amber19-all.xml",
    "ff99SB-ILDN": "amber99sbildn.xml",
    "ff96": "amber96.xml",
    "CHARMM36 (2024)": "charmm36_2024.xml",
}

#: Generalized-Born models that OpenMM offers to every force field, beside the vacuum.
MODELS = ("none", "hct", "obc1", "obc2", "gbn", "gbn2")

#: OpenMM's native GBSAOBCForce goes with the force fields whose atom types its files know.
NATIVE_SOLVENTS = {"ff99SB-ILDN": "amber99_obc.xml", "ff96": "amber96_obc.xml"}

#: Molecules by what they are: 22 to 138 atoms, together all twenty amino acids, ends with and without caps.
PEPTIDES = {
    "alanine dipeptide": "ACE-ALA-NME",
    "PGFKD, capped": "ACE-PRO-GLY-PHE-LYS-ASP-NME",
    "RHMC, capped": "ACE-ARG-HIP-MET-CYS-NME",
    "QNSIVL": "QNSIVL",
    "chignolin": "GYDPETGTWG",
}
DISULFIDE = "CGGC, bridged"
MOLECULES = (*PEPTIDES, DISULFIDE)

#: kT in kJ/mol at 300 K, the unit of errors in single precision.
KT = 8.31446261815324e-3 * 300.0


def solvents(force_field: str) -> tuple[str, ...]:
    """What `--implicit` may be with `force_field`."""
    native = NATIVE_SOLVENTS.get(force_field)
    return (*MODELS, native) if native else MODELS


@cache
def system_of(force_field: str, implicit: str, molecule: str) -> MolecularSystem:
    """One prepared molecule, as built: not relaxed in its force field."""
    options = {"forcefield": (FORCE_FIELDS[force_field],), "implicit": implicit, "minimize": False}
    if molecule != DISULFIDE:
        return prepare(sequence=PEPTIDES[molecule], **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bridged.pdb"
        path.write_text(_bridged_pdb())
        return prepare(path, name=molecule, **options)


@cache
def _bridged_pdb() -> str:
    """ACE-CYS-GLY-GLY-CYS-NME closed by a disulfide bond, folded by the bond's own pull."""
    open_chain = prepare(sequence="ACE-CYS-GLY-GLY-CYS-NME", forcefield=("amber14-all.xml",))
    pdb = app.PDBFile(io.StringIO(open_chain.topology_pdb))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    atoms = list(modeller.topology.atoms())
    modeller.topology.addBond(*(atom for atom in atoms if atom.name == "SG"))
    modeller.delete([atom for atom in atoms if atom.name == "HG"])
    field = app.ForceField("amber14-all.xml")
    context = _context(field.createSystem(modeller.topology))
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 2000)
    text = io.StringIO()
    app.PDBFile.writeFile(modeller.topology, context.getState(positions=True).getPositions(), text)
    return text.getvalue()


def dinucleotide_pdb() -> str:
    """The heavy atoms of deoxyguanylyl-deoxycytidine as a PDB text."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSequence("GC", flavor=6))
    assert AllChem.EmbedMolecule(molecule, randomSeed=3) == 0
    AllChem.MMFFOptimizeMolecule(molecule)
    heavy = Chem.RemoveHs(molecule)
    for atom in heavy.GetAtoms():
        atom.GetPDBResidueInfo().SetIsHeteroAtom(False)
    lines = Chem.MolToPDBBlock(heavy).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("CONECT"))


def _context(system: openmm.System) -> openmm.Context:
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    integrator.setRandomNumberSeed(5)
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


def _use_fourier_torsions(path: Path) -> None:
    """Write the proper dihedrals of a GROMACS topology as Ryckaert-Bellemans polynomials (``funct 3``).

    With c = cos(phi - 180 deg): cos(phi) = -c, cos(2 phi) = 2c^2 - 1, cos(3 phi) = 3c - 4c^3, cos(4 phi) =
    8c^4 - 8c^2 + 1.
    """
    powers = {1: [0, -1, 0, 0, 0, 0], 2: [-1, 0, 2, 0, 0, 0], 3: [0, 3, 0, -4, 0, 0], 4: [1, 0, -8, 0, 8, 0]}
    lines, section, sums = [], "", {}
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        words = line.split(";")[0].split()
        if section == "dihedrals" and len(words) == 8 and words[4] in ("1", "9") and words[7] in "1234":
            phase, barrier, n = float(words[5]), float(words[6]), int(words[7])
            assert phase in (0.0, 180.0)
            polynomial = (1.0 if phase == 0 else -1.0) * np.array(powers[n])
            polynomial[0] += 1.0
            atoms = " ".join(words[:4])
            sums[atoms] = sums.get(atoms, 0.0) + barrier * polynomial
            if len(sums) == 1 and "RYCKAERT" not in lines:
                lines.append("RYCKAERT")
        else:
            lines.append(line)
    made = [f"{atoms} 3 " + " ".join(f"{c:.12f}" for c in values) for atoms, values in sums.items()]
    path.write_text("\n".join(lines).replace("RYCKAERT", "\n".join(made)) + "\n")


#: Kinds of files that bring their own parameters, and the Generalized-Born models that go with them.
FILES = ("prmtop", "prmtop with radii", "GROMACS", "GROMACS, geometric rule", "GROMACS, Fourier torsions")


def system_of_file(kind: str, implicit: str, molecule: str, folder: Path) -> MolecularSystem:
    """`molecule` by ff14SB, written to `folder` as `kind` by ParmEd, and prepared from there.

    A prmtop with radii has those of its solvent (mbondi3 for gbn2, bondi for gbn, mbondi2 otherwise). The
    geometric rule is that of OPLS force fields (``comb-rule 3``), Fourier torsions are Ryckaert-Bellemans's
    (``funct 3``); the numbers stay ff14SB's.
    """
    import parmed

    made = system_of("ff14SB", "none", molecule)
    topology = app.PDBFile(io.StringIO(made.topology_pdb)).topology
    structure = parmed.openmm.load_topology(topology, made.openmm_system(), 10.0 * made.reference_positions)
    structure.box = None
    suffixes = (".prmtop", ".inpcrd") if kind.startswith("prmtop") else (".top", ".gro")
    parameters, coordinates = (folder / f"molecule{suffix}" for suffix in suffixes)
    if kind == "prmtop with radii":
        structure.save(str(parameters), overwrite=True)
        structure = parmed.load_file(str(parameters))
        structure.coordinates = 10.0 * made.reference_positions
        radii = {"gbn": "bondi", "gbn2": "mbondi3"}.get(implicit, "mbondi2")
        parmed.tools.changeRadii(structure, radii).execute()
    if kind == "GROMACS, geometric rule":
        structure.combining_rule = "geometric"
    structure.save(str(parameters), overwrite=True)
    structure.save(str(coordinates), overwrite=True)
    if kind == "GROMACS, Fourier torsions":
        _use_fourier_torsions(parameters)
    return prepare(parameters, coordinates=coordinates, implicit=implicit, name=molecule)


@dataclass(frozen=True)
class Conformations:
    """thermal: (n, N, 3) nm of dynamics at 300 and 600 K; distorted: noise of up to 0.05 nm, and scaled."""

    thermal: np.ndarray
    distorted: np.ndarray

    @property
    def all(self) -> np.ndarray:
        return np.concatenate([self.thermal, self.distorted])


def conformations(system: MolecularSystem, thermal: int, distorted: int, steps: int = 200) -> Conformations:
    """Conformations of `system`: `thermal` by dynamics, half at 300 K and half at 600 K, and `distorted`.

    The dynamics (steps of 0.5 fs, frames 40 steps apart) leave out a CustomGBForce, which takes OpenMM a
    hundred times as long as all else. Four of the distorted ones are shrunk or stretched as a whole.
    """
    vacuum = copy.deepcopy(system.openmm_system())  # the system's own must not change
    for index in reversed(range(vacuum.getNumForces())):
        if isinstance(vacuum.getForce(index), openmm.CustomGBForce):
            vacuum.removeForce(index)
    context = _context(vacuum)
    context.setPositions(system.reference_positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 300)
    frames = []
    for temperature, count in ((300.0, (thermal + 1) // 2), (600.0, thermal // 2)):
        context.getIntegrator().setTemperature(temperature)
        context.setVelocitiesToTemperature(temperature, 7)
        context.getIntegrator().step(steps)
        for _ in range(count):
            context.getIntegrator().step(40)
            frames.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    scaled = frames[0] * np.array([0.8, 0.9, 1.15, 1.4])[:, None, None]
    noise = np.random.default_rng(3).normal(size=(max(distorted - 4, 0), *frames[0].shape))
    noisy = frames[0] + noise * np.linspace(0.005, 0.05, len(noise))[:, None, None]
    return Conformations(np.array(frames), np.concatenate([noisy, scaled]))


@dataclass(frozen=True)
class Agreement:
    """How a potential compares with OpenMM Reference.

    energy: largest ``|dE| / max(1 kJ/mol, sum of |energies of the System's forces|)``;
    force: largest ``max |dF| / max(1 kJ/mol/nm, max |F|)``;
    single: largest |dE| of float32, in kT at 300 K, on thermal conformations;
    conformations: how many there were; forces: classes of the System's forces.
    """

    energy: float
    force: float
    single: float
    conformations: int
    forces: tuple[str, ...]


def agreement(system: MolecularSystem, frames: Conformations) -> Agreement:
    """Compare the translation of `system` with OpenMM Reference on `frames`."""
    expected = reference_of(system.openmm_system(), frames.all)
    potential = translate(system)
    energy, gradient = potential.energy_and_gradient(torch.tensor(frames.all))
    single = potential.energy(torch.tensor(frames.thermal, dtype=torch.float32)).double().numpy()
    force_error = np.abs(gradient.numpy() + expected.force).max(axis=(1, 2))
    force_error /= np.maximum(1.0, np.abs(expected.force).max(axis=(1, 2)))
    return Agreement(
        energy=float((np.abs(energy.numpy() - expected.energy) / expected.scale).max()),
        force=float(force_error.max()),
        single=float(np.abs(single - expected.energy[: len(single)]).max() / KT),
        conformations=len(frames.all),
        forces=tuple(type(force).__name__ for force in system.openmm_system().getForces()),
    )
