"""Every force field with every implicit solvent that OpenMM gives it, against OpenMM Reference.

Here each force field meets three molecules, and a few conformations; `benchmarks/force_fields.py` runs all
molecules with all solvents (docs/force_fields.md).
"""

from __future__ import annotations

import copy
import io
from functools import cache

import numpy as np
import openmm
import pytest
import torch
from force_field_cases import (
    FILES,
    FORCE_FIELDS,
    MODELS,
    Conformations,
    agreement,
    conformations,
    dinucleotide_pdb,
    solvents,
    system_of,
    system_of_file,
)
from openmm import app

from boltzgen.errors import InputError
from boltzgen.potentials.from_openmm.reference import check_against_reference
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.parametrise.forcefield import create_system, load_forcefield
from boltzgen.system.prepare import prepare

#: Each force field meets these in turn, one a solvent: small, with all kinds of side chains, with a bridge.
ROTATION = ("alanine dipeptide", "PGFKD, capped", "CGGC, bridged")

PAIRS = [
    (force_field, implicit, ROTATION[(first + second) % 3])
    for first, force_field in enumerate(FORCE_FIELDS)
    for second, implicit in enumerate(solvents(force_field))
]


@cache
def frames_of(force_field: str, molecule: str) -> Conformations:
    """Four thermal conformations and seven distorted ones, the same for all solvents."""
    return conformations(system_of(force_field, "none", molecule), 4, 7, steps=60)


def assert_agrees(system: MolecularSystem, frames: Conformations) -> None:
    found = agreement(system, frames)
    assert found.conformations == 11
    assert found.energy <= 1e-9  # the bar is 1e-6; what is reached is rounding, 1e-14
    assert found.force <= 1e-9
    assert found.single <= 0.01


@pytest.mark.parametrize(("force_field", "implicit", "molecule"), PAIRS)
def test_force_field_agrees_with_openmm_reference(force_field, implicit, molecule):
    system = system_of(force_field, implicit, molecule)
    forces = [type(force).__name__ for force in system.openmm_system().getForces()]
    assert ("CMAPTorsionForce" in forces) == (force_field in ("ff19SB", "CHARMM36 (2024)"))
    assert ("GBSAOBCForce" in forces) == implicit.endswith(".xml")
    assert ("CustomGBForce" in forces) == (implicit in MODELS[1:])
    assert_agrees(system, frames_of(force_field, molecule))


def test_the_largest_molecule():
    """Chignolin, 138 atoms, with the newest force field, a correction map and the solvent of most terms."""
    assert_agrees(system_of("ff19SB", "gbn2", "chignolin"), frames_of("ff19SB", "chignolin"))


@pytest.mark.parametrize(("force_field", "implicit"), [("ff14SB", "obc2"), ("ff19SB", "gbn2")])
def test_nucleic_acids(force_field, implicit, tmp_path):
    """A dinucleotide of DNA, 62 atoms, by OL15 and OL21."""
    path = tmp_path / "gc.pdb"
    path.write_text(dinucleotide_pdb())
    system = prepare(path, forcefield=(FORCE_FIELDS[force_field],), implicit=implicit, add_hydrogens=True)
    assert system.n_atoms == 62
    assert_agrees(system, conformations(system, 4, 7, steps=60))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(("molecule", "implicit"), zip(ROTATION, ("none", "gbn2", "obc2"), strict=True))
def test_files_with_parameters_agree_with_openmm_reference(kind, molecule, implicit, tmp_path):
    system = system_of_file(kind, implicit, molecule, tmp_path)
    forces = [type(force).__name__ for force in system.openmm_system().getForces()]
    assert ("RBTorsionForce" in forces) == (kind == "GROMACS, Fourier torsions")
    assert ("CustomNonbondedForce" in forces) == (kind == "GROMACS, geometric rule")
    assert ("CustomGBForce" in forces or "GBSAOBCForce" in forces) == (implicit != "none")
    assert_agrees(system, frames_of("ff14SB", molecule))


def test_fourier_torsions_are_the_same_energy(tmp_path):
    """The Ryckaert-Bellemans polynomials state the same torsions: the test above is about these."""
    x = torch.tensor(system_of("ff14SB", "none", "PGFKD, capped").reference_positions)[None]
    cosines, polynomials = (
        translate(system_of_file(kind, "none", "PGFKD, capped", tmp_path)).energy(x).item()
        for kind in ("GROMACS", "GROMACS, Fourier torsions")
    )
    assert polynomials == pytest.approx(cosines, abs=1e-6)


@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("force_field", FORCE_FIELDS)  # the nearest varies slowest: each is read once
def test_implicit_models_are_those_of_openmms_files(force_field, model):
    """The force that `--implicit MODEL` adds is that of OpenMM's implicit/MODEL.xml, to the last digit."""
    molecule = ROTATION[0]
    system = system_of(force_field, model, molecule)
    plain = system_of(force_field, "none", molecule)
    field = copy.copy(load_forcefield([FORCE_FIELDS[force_field]]))
    field._scripts = [*field._scripts, *app.ForceField(f"implicit/{model}.xml")._scripts]
    topology = app.PDBFile(io.StringIO(plain.topology_pdb)).topology
    theirs = create_system(field, topology, "none", molecule)
    (expected,) = (f for f in theirs.getForces() if isinstance(f, openmm.CustomGBForce))
    (got,) = (f for f in system.openmm_system().getForces() if isinstance(f, openmm.CustomGBForce))
    assert openmm.XmlSerializer.serialize(got) == openmm.XmlSerializer.serialize(expected)


def test_coulomb_constants_are_read_per_force():
    """OpenMM's forces state the constant of Coulomb's law with different digits; each keeps its own."""
    system = system_of("ff99SB-ILDN", "obc2", "alanine dipeptide")
    native = system_of("ff99SB-ILDN", "amber99_obc.xml", "alanine dipeptide")
    for one in (system, native):
        record = check_against_reference(one, translate(one))
        assert max(record["max_relative_energy_difference_by_force"].values()) < 1e-12


# --- CHARMM36's patches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", ["ACE-PRO-NME", "GHD", "PA"])
def test_ends_of_charmm36_are_patches(sequence):
    """Caps and charged ends alike: whole charges, a map for each inner residue, the atoms of the sequence."""
    system = prepare(sequence=sequence, forcefield=(FORCE_FIELDS["CHARMM36 (2024)"],))
    amber = prepare(sequence=sequence, forcefield=(FORCE_FIELDS["ff14SB"],))
    assert system.atomic_numbers.tolist() == amber.atomic_numbers.tolist()
    assert [str(name) for name in system.atom_names] == [str(name) for name in amber.atom_names]
    forces = {type(force).__name__: force for force in system.openmm_system().getForces()}
    charges = [forces["NonbondedForce"].getParticleParameters(i)[0]._value for i in range(system.n_atoms)]
    assert sum(charges) == pytest.approx({"GHD": -1.0}.get(sequence, 0.0), abs=1e-9)
    assert forces["CMAPTorsionForce"].getNumTorsions() == (0 if sequence == "PA" else 1)


def test_charmm36_alanine_dipeptide_is_its_own_residue():
    """ACE and NME as patches of alanine, against CHARMM's residue ALAD, which is the whole molecule."""
    patched = prepare(sequence="ACE-ALA-NME", forcefield=(FORCE_FIELDS["CHARMM36 (2024)"],))
    force = next(f for f in patched.openmm_system().getForces() if type(f).__name__ == "NonbondedForce")
    charges = [force.getParticleParameters(i)[0]._value for i in range(22)]
    template = load_forcefield([FORCE_FIELDS["CHARMM36 (2024)"]])._templates["ALAD"]
    own = [atom.parameters["charge"] for atom in template.atoms]
    assert sorted(np.round(charges, 6)) == sorted(np.round(own, 6))


def test_model_compounds_of_charmm36_give_way_to_patched_residues():
    """In charmm36.xml two residues of unlike parameters, ALAD and AANM, are a whole alanine dipeptide too."""
    system = prepare(sequence="ACE-ALA-NME", forcefield=("charmm36.xml",)).openmm_system()
    forces = {type(force).__name__: force for force in system.getForces()}
    assert forces["CMAPTorsionForce"].getNumTorsions() == 1
    charges = [forces["NonbondedForce"].getParticleParameters(atom)[0]._value for atom in range(22)]
    assert sum(charges) == pytest.approx(0.0, abs=1e-9)


def test_what_charmm36_lacks_is_named(tmp_path):
    text = system_of("CHARMM36 (2024)", "none", "alanine dipeptide").topology_pdb
    path = tmp_path / "damaged.pdb"
    path.write_text("".join(line for line in text.splitlines(True) if " HB1 " not in line))
    with pytest.raises(InputError, match=r"residue ALA 1 \(21 atoms.*hydrogens"):
        prepare(path, forcefield=(FORCE_FIELDS["CHARMM36 (2024)"],))
