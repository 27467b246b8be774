"""Molecules for tests: from SMILES with a simple bonded force field, and conformations of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from boltzgen.system.molecular_system import MolecularSystem

SMILES = {
    "cystine": "CC(=O)N[C@H]1CSSC[C@@H](C(=O)NC)NC(=O)CNC1=O",  # Ac-Cys-Gly-Cys-NHMe, bridged
    "proline": "CC(=O)N1CCC[C@H]1C(=O)NC",
    "phenylalanine": "CC(=O)N[C@@H](Cc1ccccc1)C(=O)NC",
    "tryptophan": "CC(=O)N[C@@H](Cc1c[nH]c2ccccc12)C(=O)NC",
    "histidine": "CC(=O)N[C@@H](Cc1c[nH]cn1)C(=O)NC",
    "drug": "Cc1ccc(cc1Nc1nccc(n1)-c1cccnc1)NC(=O)c1ccc(CN2CCN(C)CC2)cc1",  # imatinib
    "sulfoxide": "COc1ccc2[nH]c(nc2c1)[S@](=O)Cc1ncc(C)c(OC)c1C",  # esomeprazole
    "steroid": "C[C@]12CC[C@H]3[C@@H](CCC4=CC(=O)CC[C@]34C)[C@@H]1CC[C@@H]2O",  # testosterone
    "alkyne": "CC#CC(C)C#N",
    "diyne": "OCC#CC#CC",
    "rod": "CC#CC#CC",
    "amine": "CN(C)CCNC",
    "nitrile": "CC#N",
    "norbornane": "C1C[C@H]2CC[C@@H]1C2",
    "cubane": "C12C3C4C1C5C2C3C45",
    "butadiene": r"C/C=C/C(C)=C",
    "phosphate": "COP(=O)(OC)OCC",
    "macrocycle": "O=C1CCCCCCCCCCN1",
    "cyclopropane": "CC1CC1C",
    "spiro": "C1CCC12CCOC2",
    "water": "O",
    "hydrogen_cyanide": "C#N",
    "carbon_dioxide": "O=C=O",
    "allene": "CC=C=CC",
}


@cache
def from_smiles(name: str, seed: int = 7) -> MolecularSystem:
    """One of `SMILES` (or a SMILES string), embedded, with harmonic bonds and angles and cosine torsions."""
    from openmm import XmlSerializer
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES.get(name, name)))
    assert AllChem.EmbedMolecule(molecule, randomSeed=seed) == 0
    AllChem.MMFFOptimizeMolecule(molecule, maxIters=2000)
    positions = 0.1 * molecule.GetConformer().GetPositions()
    atoms = list(molecule.GetAtoms())
    return MolecularSystem(
        name=name,
        atomic_numbers=np.array([atom.GetAtomicNum() for atom in atoms]),
        masses=np.array([atom.GetMass() for atom in atoms]),
        bonds=np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]),
        reference_positions=positions,
        system_xml=XmlSerializer.serialize(_bonded_system(molecule, positions)),
        topology_pdb=Chem.MolToPDBBlock(molecule),
    )


def _bonded_system(molecule, positions: np.ndarray):
    import openmm
    from rdkit.Chem import rdMolTransforms as measure

    system = openmm.System()
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions = openmm.PeriodicTorsionForce()
    conformer = molecule.GetConformer()
    for atom in molecule.GetAtoms():
        system.addParticle(atom.GetMass())
        around = [n.GetIdx() for n in atom.GetNeighbors()]
        for k, i in enumerate(around):
            for j in around[k + 1 :]:
                angle = np.deg2rad(measure.GetAngleDeg(conformer, i, atom.GetIdx(), j))
                angles.addAngle(i, atom.GetIdx(), j, angle, 500.0)
    for bond in molecule.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds.addBond(i, j, float(np.linalg.norm(positions[i] - positions[j])), 250000.0)
        symbols = {bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()}
        stiff = bond.GetIsConjugated() and "N" in symbols
        stiff = stiff or bond.GetBondTypeAsDouble() > 1.2
        for a in bond.GetBeginAtom().GetNeighbors():
            for d in bond.GetEndAtom().GetNeighbors():
                straight = (
                    measure.GetAngleDeg(conformer, a.GetIdx(), i, j) > 160
                    or measure.GetAngleDeg(conformer, i, j, d.GetIdx()) > 160
                )
                if len({a.GetIdx(), i, j, d.GetIdx()}) == 4 and not straight:
                    n, phase, k = (2, np.pi, 12.0) if stiff else (3, 0.0, 0.6)
                    torsions.addTorsion(a.GetIdx(), i, j, d.GetIdx(), n, phase, k)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    return system


def simulated(system: MolecularSystem, frames: int, temperature: float = 400.0, seed: int = 3) -> np.ndarray:
    """(frames, N, 3) nm: Langevin dynamics in OpenMM from the reference positions."""
    import openmm
    from openmm import unit

    integrator = openmm.LangevinMiddleIntegrator(temperature, 5.0, 0.0005)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(
        system.openmm_system(), integrator, openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(system.reference_positions)
    context.setVelocitiesToTemperature(temperature, seed)
    rows = []
    for _ in range(frames):
        integrator.step(100)
        state = context.getState(positions=True)
        rows.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    return np.array(rows)


def relabelled(system: MolecularSystem, order: np.ndarray, seed: int = 0) -> MolecularSystem:
    """Atom ``order[k]`` of `system` becomes atom k; turned and moved as well."""
    import openmm

    rank = np.argsort(order)
    old, new = system.openmm_system(), openmm.System()
    for atom in order:
        new.addParticle(old.getParticleMass(int(atom)))
    for force in old.getForces():
        copy = type(force)()
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, *rest = force.getBondParameters(k)
                copy.addBond(int(rank[i]), int(rank[j]), *rest)
        elif isinstance(force, openmm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                i, j, m, *rest = force.getAngleParameters(k)
                copy.addAngle(*(int(rank[n]) for n in (i, j, m)), *rest)
        elif isinstance(force, openmm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                i, j, m, n, *rest = force.getTorsionParameters(k)
                copy.addTorsion(*(int(rank[a]) for a in (i, j, m, n)), *rest)
        elif isinstance(force, openmm.NonbondedForce | openmm.GBSAOBCForce | openmm.CustomGBForce):
            copy, custom = openmm.XmlSerializer.clone(force), isinstance(force, openmm.CustomGBForce)
            for place, atom in enumerate(order):
                given = force.getParticleParameters(int(atom))
                copy.setParticleParameters(place, *([given] if custom else given))
            for k in range(force.getNumExceptions() if isinstance(force, openmm.NonbondedForce) else 0):
                i, j, *rest = force.getExceptionParameters(k)
                copy.setExceptionParameters(k, int(rank[i]), int(rank[j]), *rest)
        else:
            assert isinstance(force, openmm.CMMotionRemover), type(force)
        new.addForce(copy)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return replace(
        system,
        atomic_numbers=system.atomic_numbers[order],
        masses=system.masses[order],
        bonds=rank[system.bonds],
        reference_positions=system.reference_positions[order] @ rotation + 0.3,
        system_xml=openmm.XmlSerializer.serialize(new),
    )
