"""MMFF94 in OpenMM against RDKit: energies, forces, single terms; centres, bonds and charges read off it."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers
from small_molecule_cases import DRUG_LIKE, distorted, embedded

from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.graph.bonds_from_forces import bonds_from_forces
from boltzgen.system.parametrise.mmff import VARIANTS, mmff_properties, mmff_system
from boltzgen.system.terms.charges import partial_charges
from boltzgen.system.terms.custom_minima import custom_angle_minima, custom_bond_minima

#: kcal/mol; the promise of `prepare`.
TOLERANCE = 1e-4
KCAL = 4.184

#: RDKit's switches of single terms, and the names of our forces.
TERMS = {
    "Bond": ("MMFF94 bonds",),
    "Angle": ("MMFF94 angles", "MMFF94 linear angles"),
    "StretchBend": ("MMFF94 stretch-bends",),
    "Oop": ("MMFF94 out-of-plane bends",),
    "Torsion": ("MMFF94 torsions",),
    "VdW": ("MMFF94 nonbonded",),
    "Ele": ("MMFF94 nonbonded", "MMFF94 1-4 electrostatics"),
}


def reference(system: openmm.System) -> openmm.Context:
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


def ours(context: openmm.Context, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy in kcal/mol and gradient (N, 3) in kcal/mol/Angstrom at `positions` in Angstrom."""
    context.setPositions(0.1 * positions)
    state = context.getState(getEnergy=True, getForces=True)
    forces = np.asarray(state.getForces(asNumpy=True)._value)
    return state.getPotentialEnergy()._value / KCAL, -forces / KCAL * 0.1


def theirs(molecule: Chem.Mol, properties, positions: np.ndarray) -> tuple[float, np.ndarray]:
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
    flat = positions.ravel().tolist()
    return field.CalcEnergy(flat), np.array(field.CalcGrad(flat)).reshape(-1, 3)


def test_there_are_fifty():
    assert len(DRUG_LIKE) >= 50
    assert len({Chem.CanonSmiles(smiles) for smiles in DRUG_LIKE.values()}) == len(DRUG_LIKE)


@pytest.mark.parametrize("name", DRUG_LIKE)
def test_energy_and_forces_are_rdkits(name):
    molecule = embedded(DRUG_LIKE[name])
    properties = mmff_properties(molecule)
    context = reference(mmff_system(molecule, properties))
    for positions in distorted(molecule):
        energy, gradient = ours(context, positions)
        expected, expected_gradient = theirs(molecule, properties, positions)
        assert abs(energy - expected) < TOLERANCE
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["caffeine", "paracetamol", "lidocaine cation", "urea"])
def test_mmff94s_is_rdkits_and_another_energy(name):
    """The variant with flatter nitrogens differs in out-of-plane and torsion parameters."""
    molecule = embedded(DRUG_LIKE[name])
    positions = distorted(molecule)[2]
    found = {}
    for variant in VARIANTS:
        properties = mmff_properties(molecule, variant)
        found[variant] = ours(reference(mmff_system(molecule, properties)), positions)[0]
        assert abs(found[variant] - theirs(molecule, properties, positions)[0]) < TOLERANCE
    assert abs(found["mmff94"] - found["mmff94s"]) > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["paracetamol", "methyl azide", "glycine zwitterion", "thiazole"])
@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_rdkits(name, term):
    molecule = embedded(DRUG_LIKE[name])
    properties = mmff_properties(molecule)
    system = mmff_system(molecule, properties)
    for index in reversed(range(system.getNumForces())):
        if system.getForce(index).getName() not in TERMS[term]:
            system.removeForce(index)
    for other in TERMS:
        getattr(properties, f"SetMMFF{other}Term")(other == term)
    for force in system.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            _keep_only(force, "charge" if term == "Ele" else "epsilon")
    context = reference(system)
    for positions in distorted(molecule):
        expected = theirs(molecule, properties, positions)[0]
        assert abs(ours(context, positions)[0] - expected) < TOLERANCE


def _keep_only(force: openmm.CustomNonbondedForce, kept: str) -> None:
    """Set the charge or the well depth, whichever is not `kept`, to zero."""
    other = {"charge": "epsilon", "epsilon": "charge"}[kept]
    names = [force.getPerParticleParameterName(k) for k in range(force.getNumPerParticleParameters())]
    for index in range(force.getNumParticles()):
        values = list(force.getParticleParameters(index))
        values[names.index(other)] = 0.0
        force.setParticleParameters(index, values)


def test_the_terms_that_are_compared_are_there():
    """No comparison above is of nothing with nothing: each term acts in one of the molecules."""
    names = set()
    for name in ("paracetamol", "methyl azide"):
        molecule = embedded(DRUG_LIKE[name])
        system = mmff_system(molecule, mmff_properties(molecule))
        names |= {force.getName() for force in system.getForces()}
    assert names == {force for forces in TERMS.values() for force in forces}


def test_centres_and_stiffness_are_the_parameters():
    molecule = embedded(DRUG_LIKE["benzonitrile, fluorinated"])
    system = mmff_system(molecule, mmff_properties(molecule))
    bonds, angles, linear = (system.getForce(index) for index in range(3))
    found = custom_bond_minima(bonds)
    for index in range(bonds.getNumBonds()):
        i, j, (constant, length) = bonds.getBondParameters(index)
        assert found[(i, j)] == (pytest.approx(length, abs=1e-9), pytest.approx(constant, rel=1e-4))
    found = custom_angle_minima(angles)
    for index in range(angles.getNumAngles()):
        *atoms, (constant, angle) = angles.getAngleParameters(index)
        assert found[tuple(atoms)] == (pytest.approx(angle, abs=1e-9), pytest.approx(constant, rel=1e-4))
    (straight,) = custom_angle_minima(linear).items()
    *atoms, (constant,) = linear.getAngleParameters(0)
    assert straight == (tuple(atoms), (np.pi, pytest.approx(constant, rel=1e-4)))


def test_minima_of_other_expressions():
    """Morse and a 1-4 Lennard-Jones term: minimum and second derivative in closed form; none, none."""
    morse = openmm.CustomBondForce("D*(1-exp(-a*(r-r0)))^2")
    for name in ("D", "a", "r0"):
        morse.addPerBondParameter(name)
    morse.addBond(3, 1, [400.0, 20.0, 0.15])
    pair = openmm.CustomBondForce("4*epsilon*((sigma/r)^12-(sigma/r)^6)")
    pair.addGlobalParameter("epsilon", 0.5)
    pair.addPerBondParameter("sigma")
    pair.addBond(0, 5, [0.3])
    repulsive = openmm.CustomBondForce("1/r")
    repulsive.addBond(0, 1, [])
    k = 2 * 400.0 * 20.0**2
    assert custom_bond_minima(morse) == {(1, 3): (pytest.approx(0.15), pytest.approx(k, rel=1e-4))}
    place = 0.3 * 2 ** (1 / 6)
    k = 72 * 0.5 / place**2
    assert custom_bond_minima(pair) == {(0, 5): (pytest.approx(place), pytest.approx(k, rel=1e-4))}
    assert custom_bond_minima(repulsive) == {}


@pytest.mark.parametrize("name", ["aspirin", "allene", "cyclobutane", "pyridoxal phosphate", "water"])
def test_bonds_are_found_in_the_forces(name):
    molecule = embedded(DRUG_LIKE[name])
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    found = bonds_from_forces(mmff_system(molecule, mmff_properties(molecule)))
    assert found.tolist() == sorted(sorted(pair) for pair in ends)


@pytest.mark.parametrize("name", ["metformin cation", "pyridoxal phosphate", "glycine zwitterion"])
def test_charges_are_rdkits_and_add_up(name):
    molecule = embedded(DRUG_LIKE[name])
    properties = mmff_properties(molecule)
    charges = partial_charges(mmff_system(molecule, properties))
    expected = [properties.GetMMFFPartialCharge(index) for index in range(molecule.GetNumAtoms())]
    np.testing.assert_allclose(charges, expected, atol=1e-12)
    assert charges.sum() == pytest.approx(Chem.GetFormalCharge(molecule), abs=1e-3)


def test_the_xml_follows_from_the_atoms_alone():
    """Bonds written in another order give the same XML; the coordinates do not enter."""
    molecule = embedded(DRUG_LIKE["penicillin core"])
    shuffled = Chem.RWMol(molecule)
    kinds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondType()) for b in molecule.GetBonds()]
    for first, second, _ in kinds:
        shuffled.RemoveBond(first, second)
    for first, second, kind in reversed(kinds):
        shuffled.AddBond(second, first, kind)
    Chem.SanitizeMol(shuffled)
    texts = [serialize_system(mmff_system(m, mmff_properties(m))) for m in (molecule, shuffled)]
    assert texts[0] == texts[1]
