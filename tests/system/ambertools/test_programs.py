"""With the real AmberTools, where it is: what its programs do, and that it is what `prepare` makes of it."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from programs.amber_cases import CHARGES, FILES, SMILES, real_tools
from rdkit import Chem

from boltzgen.errors import BoltzgenError
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.parameters import gaff_parameters
from boltzgen.system.parametrise.born_radii import BEST
from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.molecule import atom_names, from_smiles
from boltzgen.system.terms.charges import partial_charges


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    found = real_tools()
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield found
    os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


def called(tools, place, program, *words):
    environment = {**os.environ, "AMBERHOME": str(tools.home), "OMP_NUM_THREADS": "1"}
    words = [str(tools.folder / program), *words]
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=120)


def energy_of(system, positions):
    """kJ/mol, by OpenMM's Reference platform; positions in nm."""
    from openmm import Context, Platform, VerletIntegrator, unit

    context = Context(system, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    state = context.getState(getEnergy=True)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def charges_of(system):
    return partial_charges(system.openmm_system())


def test_without_the_net_charge_a_dianion_silently_has_the_charges_of_a_neutral_molecule(tools, tmp_path):
    """What `-nc` is for: malonate(2-) has an even number of electrons either way."""
    molecule = from_smiles("[O-]C(=O)CC(=O)[O-]", field="gaff2").molecule
    (tmp_path / "m.sdf").write_text(Chem.MolToMolBlock(molecule))
    words = "-i m.sdf -fi mdl -o out.mol2 -fo mol2 -c bcc -at gaff2 -dr n".split()
    sums = []
    for more in ([], ["-nc", "-2"]):
        assert called(tools, tmp_path, "antechamber", *words, *more).returncode == 0
        body = (tmp_path / "out.mol2").read_text().split("@<TRIPOS>ATOM\n")[1].split("@<")[0]
        sums.append(sum(float(line.split()[8]) for line in body.splitlines()))
    assert sums == [pytest.approx(0.0, abs=0.01), pytest.approx(-2.0, abs=0.01)]
    ours = prepare(smiles="[O-]C(=O)CC(=O)[O-]", forcefield=("gaff2",))
    assert charges_of(ours).sum() == pytest.approx(-2.0, abs=0.01)


def test_shuffled_atoms_and_names_come_out_as_they_went_in(tools, tmp_path):
    whole = prepare(smiles=SMILES, forcefield=("gaff2",), minimize=False, implicit="obc2")
    assert np.allclose(charges_of(whole), CHARGES, atol=2e-3)
    molecule = from_smiles(SMILES, field="gaff2", relax=False).molecule
    order = [int(k) for k in np.random.default_rng(11).permutation(molecule.GetNumAtoms())]
    shuffled = Chem.RenumberAtoms(molecule, order)
    (tmp_path / "s.sdf").write_text(Chem.MolToMolBlock(shuffled))
    system = prepare(tmp_path / "s.sdf", forcefield=("gaff2",), implicit="obc2", minimize=False)
    assert [name.atom for name in system.atom_names] == atom_names(shuffled)
    assert list(system.atomic_numbers) == [atom.GetAtomicNum() for atom in shuffled.GetAtoms()]
    # equivalent hydrogens and oxygens have equal charges, whichever came first
    assert np.allclose(charges_of(system), charges_of(whole)[order], atol=1e-7)
    places = np.empty_like(system.reference_positions)
    places[order] = system.reference_positions
    own = energy_of(system.openmm_system(), system.reference_positions)
    assert energy_of(whole.openmm_system(), places) == pytest.approx(own, abs=1e-5)


def test_names_of_a_mol2_are_kept_and_its_charges_taken(tools, tmp_path):
    molecule = from_smiles("CCS", field="gaff2").molecule
    names = "CAX CQ2 S9 HA HB HC HD HE HS".split()
    own = [-0.27, -0.09, -0.29, 0.09, 0.09, 0.09, 0.10, 0.10, 0.18]
    places = molecule.GetConformer().GetPositions()
    kinds = {"C": "C.3", "S": "S.3", "H": "H"}
    lines = ["@<TRIPOS>MOLECULE", "thiol", f"9 {molecule.GetNumBonds()} 1 0 0", "SMALL", "USER_CHARGES", ""]
    lines.append("@<TRIPOS>ATOM")
    for k, atom in enumerate(molecule.GetAtoms()):
        x, y, z = places[k]
        kind = kinds[atom.GetSymbol()]
        lines.append(f"{k + 1} {names[k]} {x:.4f} {y:.4f} {z:.4f} {kind} 1 THI {own[k]:.4f}")
    lines.append("@<TRIPOS>BOND")
    for k, bond in enumerate(molecule.GetBonds()):
        lines.append(f"{k + 1} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} 1")
    (tmp_path / "thiol.mol2").write_text("\n".join([*lines, ""]))
    for wanted in ("file", str(tmp_path / "thiol.mol2")):
        system = prepare(tmp_path / "thiol.mol2", forcefield=("gaff",), charges=wanted)
        assert [name.atom for name in system.atom_names] == names
        assert np.allclose(charges_of(system), own, atol=1e-7)


@pytest.mark.parametrize("name", ["nitropropanoate", "ammonium"])
def test_a_mol2_of_antechamber_gives_its_charges_and_types(tools, name):
    """What ``antechamber -fo mol2 -at gaff2 -c bcc`` wrote once comes back as parameters, atom for atom."""
    path = FILES.parent / "gaff" / f"{name}.mol2"
    body = path.read_text().partition("@<TRIPOS>ATOM\n")[2].partition("@<TRIPOS>")[0]
    rows = [line.split() for line in body.splitlines()]
    system = prepare(path, forcefield=("gaff2",), charges="file", minimize=False)
    assert np.allclose(charges_of(system), [float(row[8]) for row in rows], atol=1e-7)
    assert system.provenance["parameters"]["types"] == [row[5] for row in rows]


def test_types_of_a_mol2_that_antechamber_would_not_give_are_named(tools, tmp_path):
    text = (FILES.parent / "gaff" / "ammonium.mol2").read_text()
    (tmp_path / "older.mol2").write_text(text.replace(" nz ", " n4 "))
    system = prepare(tmp_path / "older.mol2", forcefield=("gaff2",), charges="file", minimize=False)
    (note,) = [one for one in system.provenance["warnings"] if "other atom types" in one]
    assert "N1 n4 -> nz" in note


def test_parameters_of_gaff2_are_gaff2s(tools):
    """By its word gaff2 parmchk2 takes GAFF's table by chance; a bond of a type of GAFF2 alone shows it."""
    molecule = from_smiles("NCCS", field="gaff2").molecule
    table = (tools.home / "dat" / "leap" / "parm" / "gaff2.dat").read_text()
    row = next(line for line in table.splitlines() if line.startswith("c3-n8 "))
    charges = [0.0] * molecule.GetNumAtoms()
    for _ in range(8):
        made = gaff_parameters(
            molecule, atom_names(molecule), charges, "gaff2", tools, "the molecule", stop=StopRequest()
        )
        assert made.kinds[:4] == ("n8", "c3", "c3", "sh")
        constants = [float(word) for word in made.prmtop._prmtop._raw_data["BOND_FORCE_CONSTANT"]]
        assert any(constant == pytest.approx(float(row.split()[1]), abs=0.01) for constant in constants)


@pytest.mark.parametrize("implicit", ["hct", "obc1", "obc2", "gbn", "gbn2"])
def test_the_energy_and_the_radii_are_those_of_tleaps_prmtop(tools, tmp_path, implicit):
    """tleap told of the set of radii, and OpenMM's reader, against what `prepare` made."""
    from openmm import app

    smiles = (
        "NCC(=O)CS"  # hydrogens on C, N and S; no carboxylate, which tleap does not know outside of proteins
    )
    system = prepare(smiles=smiles, forcefield=("gaff2",), implicit=implicit)
    molecule = from_smiles(smiles, field="gaff2").molecule
    own = gaff_parameters(
        molecule, atom_names(molecule), charges_of(system), "gaff2", tools, "it", stop=StopRequest()
    )
    from boltzgen.system.ambertools.mol2 import format_mol2

    (tmp_path / "a.mol2").write_text(
        format_mol2(molecule, atom_names(molecule), own.kinds, charges_of(system))
    )
    called(tools, tmp_path, "parmchk2", *"-i a.mol2 -f mol2 -s 2 -o a.frcmod".split())
    (tmp_path / "leap.in").write_text(
        f"source leaprc.gaff2\nset default PBradii {BEST[implicit]}\nm = loadmol2 a.mol2\n"
        "loadamberparams a.frcmod\nsaveamberparm m a.prmtop a.inpcrd\nquit\n"
    )
    called(tools, tmp_path, "tleap", "-f", "leap.in")
    models = {"hct": app.HCT, "obc1": app.OBC1, "obc2": app.OBC2, "gbn": app.GBn, "gbn2": app.GBn2}
    prmtop = app.AmberPrmtopFile(str(tmp_path / "a.prmtop"))
    theirs = prmtop.createSystem(nonbondedMethod=app.NoCutoff, implicitSolvent=models[implicit])
    energy = energy_of(theirs, system.reference_positions)
    assert system.provenance["reference_energy_kj_mol"] == pytest.approx(energy, abs=1e-4)
    assert system.provenance["warnings"] == []
    assert system.provenance["parameters"]["radii"] == BEST[implicit]


def test_a_zwitterion_keeps_its_protons(tools):
    """AM1 moves one of GABA's to the carboxylate, whose charges would be those of the neutral form."""
    system = prepare(smiles="[NH3+]CCCC(=O)[O-]", forcefield=("gaff2",), implicit="obc2")
    found = charges_of(system)
    assert found[[0, 7, 8, 9]].sum() > 0.5 and found[[5, 6]].sum() < -1.5
    assert "in a zwitterion a proton" in " ".join(system.provenance["warnings"])


def test_a_tetrazolate_has_the_symmetry_that_it_has(tools):
    """By its own guess of the bonds antechamber makes it lopsided, of types without parameters."""
    system = prepare(smiles="Cc1nn[n-]n1", forcefield=("gaff2",), implicit="obc2")
    kinds = system.provenance["parameters"]["types"]
    assert "n1" not in kinds and not [text for text in system.provenance["warnings"] if "doubts" in text]
    found = charges_of(system)  # C C N N N N
    assert found[2] == pytest.approx(found[5], abs=1e-4) and found[3] == pytest.approx(found[4], abs=1e-4)


def test_abcg2_differs_from_bcc(tools):
    if not tools.has_abcg2:
        pytest.skip("no ABCG2 in this AmberTools")
    both = [charges_of(prepare(smiles="CCSC", forcefield=("gaff2",), charges=c)) for c in ("bcc", "abcg2")]
    assert 0.01 < np.abs(both[0] - both[1]).max() < 0.5 and abs(both[1].sum()) < 0.01


def test_an_impossible_charge_is_a_sentence(tools, tmp_path):
    """The programs' own words, where nothing of ours would refuse the molecule before."""
    from boltzgen.system.ambertools.charges import computed_charges

    molecule = Chem.RWMol(from_smiles("CCS", field="gaff2").molecule)
    molecule.GetAtomWithIdx(2).SetFormalCharge(1)  # an electron too few
    molecule.GetAtomWithIdx(2).SetNumRadicalElectrons(0)
    with pytest.raises(BoltzgenError, match="odd number of electrons"):
        computed_charges(molecule, "bcc", tools, "it", stop=StopRequest(), before=print)
