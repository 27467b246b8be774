"""GAFF through scripts that answer as AmberTools did once: what `prepare` makes of it, on any machine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from programs.amber_cases import CHARGES, FILES, SMILES, calls, scripted_tools
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolDescriptors

from boltzgen.errors import BoltzgenError, InputError, MissingExtraError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.charges import keeps_its_bonds
from boltzgen.system.ambertools.extended import extended
from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.molecule import from_smiles
from boltzgen.system.terms.charges import partial_charges


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """Makes scripts the only AmberTools there is, with a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AMBERHOME", raising=False)

    def make(**answers):
        tools = scripted_tools(tmp_path, **answers)
        monkeypatch.setenv("PATH", f"{tools.folder}:/usr/bin:/bin")
        return tools

    return make


def gaff(**options):
    return prepare(smiles=SMILES, forcefield=("gaff2",), minimize=False, **options)


def test_the_charges_are_those_of_the_programs_and_the_rest_is_the_prmtops(answering, tmp_path):
    answering()
    system = gaff()
    charges = partial_charges(system.openmm_system())
    assert np.allclose(charges, CHARGES, atol=1e-7)  # a prmtop has eight digits
    names = "N1 C1 C2 S1 C3 O1 O2 H1 H2 H3 H4 H5 H6".split()
    assert [name.atom for name in system.atom_names] == names
    made = system.provenance["parameters"]
    assert made["types"] == "n8 c3 c3 sh c o o hn hn h1 h1 h1 hs".split()
    assert made["charges"]["net_charge"] == -1 and "seed 20231" in made["charges"]["conformer"]
    assert system.provenance["options"]["forcefield"] == ["gaff2"]
    asked = [line for line in calls(tmp_path) if line.startswith("antechamber")]
    assert ["-c bcc" in line for line in asked] == [False, False, True, False]  # types tell how to read bonds
    assert all("-nc -1 " in f"{line} " for line in asked)


def test_the_energy_is_openmms_of_the_same_prmtop(answering):
    from openmm import Context, Platform, VerletIntegrator, app, unit

    answering()
    system = gaff(implicit="hct")
    prmtop = app.AmberPrmtopFile(str(FILES / "made.prmtop"))  # by tleap, whose default mbondi is HCT's set
    theirs = prmtop.createSystem(nonbondedMethod=app.NoCutoff, constraints=None, implicitSolvent=app.HCT)
    context = Context(theirs, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(system.reference_positions)
    energy = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    # Ours is of OpenMM's CPU platform, whose Born radii are in single precision.
    assert system.provenance["reference_energy_kj_mol"] == pytest.approx(energy, abs=1e-3)
    assert system.provenance["parameters"]["radii"] == "mbondi"


def test_charges_are_kept_for_the_molecule_and_its_mirror_image_and_computed_anew_for_others(
    answering, tmp_path
):
    answering()
    told: list[int] = []
    for smiles in (SMILES, SMILES.replace("@", "@@")):
        prepare(smiles=smiles, forcefield=("gaff2",), before=told.append)
    assert told == [13] and sum("-c bcc" in line for line in calls(tmp_path)) == 1
    prepare(smiles=SMILES, forcefield=("gaff2",), charges="bcc", before=told.append)
    assert told == [13]
    tools = answering(sqm="exit 2")  # other programs
    prepare(smiles=SMILES, forcefield=("gaff2",), before=told.append)
    assert told == [13, 13] and len(list((tmp_path / "cache").rglob("*.json"))) == 2
    for path in (tmp_path / "cache").rglob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "charges": content["charges"][:-1]}))
    prepare(smiles=SMILES, forcefield=("gaff2",), before=told.append)  # damaged: as if there were none
    assert told == [13, 13, 13] and tools.version == "unknown"


def test_the_molecule_is_the_same_whatever_the_order_and_hand():
    molecule = from_smiles(SMILES, field="gaff2").molecule
    first = extended(molecule)
    assert first.conformer.startswith("the most extended of 10")
    order = np.random.default_rng(7).permutation(molecule.GetNumAtoms())
    shuffled = Chem.RenumberAtoms(molecule, [int(k) for k in order])
    other = extended(from_smiles(SMILES.replace("@", "@@"), field="gaff2").molecule)
    for form in (extended(shuffled), other):
        assert form.smiles == first.smiles and np.array_equal(form.positions, first.positions)
    # the k-th of the canonical atoms is the same atom of the molecule, up to those that nothing tells apart
    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=False))
    through = [int(order[k]) for k in extended(shuffled).order]
    assert [ranks[k] for k in through] == [ranks[k] for k in first.order]


def test_the_conformer_is_the_most_extended_of_ten():
    found = extended(from_smiles("OCCCCCCCO", field="gaff2").molecule)
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed, parameters.useSmallRingTorsions, parameters.useMacrocycleTorsions = (
        20231,
        True,
        True,
    )
    ten = Chem.Mol(found.molecule)
    rdDistGeom.EmbedMultipleConfs(ten, 10, parameters)
    sizes = [rdMolDescriptors.CalcRadiusOfGyration(ten, k, useAtomicMasses=False) for k in range(10)]
    own = rdMolDescriptors.CalcRadiusOfGyration(found.molecule, useAtomicMasses=False)
    assert own == pytest.approx(max(sizes), abs=1e-4) and max(sizes) > 1.1 * min(sizes)


MOVED = """cp {files}/charged.mol2 charged.mol2
sed 's/^\\(ATOM .* H1 .\\{14\\}\\).\\{24\\}/\\1   9.000   9.000   9.000/' {files}/sqm.pdb > sqm.pdb"""


def test_a_proton_that_am1_moves_is_held_and_told(answering, tmp_path):
    answering(charges=MOVED)
    system = gaff()
    assert [("maxcyc=0" in line) for line in calls(tmp_path) if "-c bcc" in line] == [False, True]
    assert "not optimised" in system.provenance["parameters"]["charges"]["conformer"]
    assert "other bonds (in a zwitterion a proton" in " ".join(system.provenance["warnings"])


def test_bonds_are_kept_or_not():
    molecule = from_smiles("CO", field="gaff2").molecule
    places = np.array(molecule.GetConformer().GetPositions())
    assert keeps_its_bonds(molecule, places)
    away, near = places.copy(), places.copy()
    away[5] += 1.5 * (places[5] - places[1])
    assert not keeps_its_bonds(molecule, away)
    near[2] = places[1] + [0.0, 0.0, 1.0]  # a hydrogen of the carbon, at the oxygen
    assert not keeps_its_bonds(molecule, near)


FAILURES = [
    ("unable to achieve self consistency", "echo 'QMMM: ERROR! Unable to achieve self consistency' > sqm.out",
     BoltzgenError, "did not converge (QMMM: ERROR! Unable to achieve self consistency)"),
    ("no scf", "echo 'No convergence in SCF after 1000 steps' > sqm.out", BoltzgenError,
     "did not converge (No convergence in SCF after 1000 steps)"),
    ("odd", "echo 'QMMM: System specified with odd number of electrons (13)' > sqm.out", InputError,
     "with the charge -1 it has an odd number of electrons"),
    ("bonds", "echo 'Error: Cannot successfully assign bond type for this molecule!'", BoltzgenError,
     "(Error: Cannot successfully assign bond type for this molecule)"),
    ("element", "echo 'QMMM: There are no AM1 parameters for this element. Sorry.' > sqm.out", BoltzgenError,
     "(no AM1 parameters for this element. Sorry)"),
    ("nothing", "true", BoltzgenError, "(it printed nothing)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("work", "kind", "reason"), [one[1:] for one in FAILURES], ids=[one[0] for one in FAILURES]
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_program_that_fails_is_a_sentence_with_its_reason(answering, tmp_path, work, kind, reason, code):
    answering(charges=f"{work}\nexit {code}")
    with pytest.raises(kind) as found:
        gaff()
    assert reason in str(found.value) and found.value.exit_code == (2 if kind is InputError else 1)
    assert not list((tmp_path / "cache").rglob("*.json"))


@pytest.mark.parametrize(
    ("program", "work", "reason"),
    [
        (
            "parmchk2",
            "echo 'BOND\nn8-zz  0.00  0.000  ATTN, need revision' > lacking.frcmod",
            "none for n8-zz",
        ),
        ("tleap", "echo 'Could not find bond parameter for: n8 - zz'", "Could not find bond parameter"),
        (
            "tleap",
            "echo 'FATAL:  Atom .R<MOL 1>.A<S1 4> does not have a type.'; exit 31",
            "does not have a type",
        ),
    ],
)
def test_parameters_that_are_missing_are_named(answering, program, work, reason):
    answering(**{program: work})
    with pytest.raises(InputError, match=f"GAFF2 lacks parameters for it .*{reason}"):
        gaff()


def test_types_that_are_missing_are_named(answering):
    answering(types="sed 's/ sh / DU /' {files}/types.mol2 > types.mol2")
    with pytest.raises(InputError, match=r"no GAFF2 atom types for it \(no type for S \(atom 4\)\)"):
        gaff()


def test_where_antechamber_doubts_its_own_bonds_those_stated_are_read(answering, tmp_path):
    doubting = """case " $* " in *" -j 4 "*) echo 'Warning: atom type of N4 (nd) may be wrong.';; esac
"""
    from programs.amber_cases import TYPED

    answering(types=doubting + TYPED)
    assert not [text for text in gaff().provenance["warnings"] if "doubts" in text]
    (charged,) = [line for line in calls(tmp_path) if "-c bcc" in line]
    assert " -j 5 " in charged
    answering(types="echo 'Warning: atom type of N4 (nd) may be wrong.'\n" + TYPED)
    (told,) = [text for text in gaff().provenance["warnings"] if "doubts" in text]
    assert "(Warning: atom type of N4 (nd) may be wrong)" in told
    answering(types="echo 'Error: no bond types'; exit 1")
    with pytest.raises(InputError, match=r"no GAFF2 atom types for it \(Error: no bond types\)"):
        gaff()


def test_parameters_that_were_guessed_are_told(answering):
    line = "c3-c3-n8-hn   1    0.100   0.0   3.0   same as X -c3-n3-X , penalty score= 23.5"
    answering(parmchk2=f"printf 'DIHE\n{line}\n' > lacking.frcmod")
    assert "no parameters of its own for c3-c3-n8-hn (24)" in " ".join(gaff().provenance["warnings"])


def test_atoms_that_a_program_exchanged_are_seen(answering):
    swapped = "sed 's/N1  C1  C2/C1  N1  C2/' {files}/made.prmtop > made.prmtop"
    answering(tleap=swapped)
    with pytest.raises(BoltzgenError, match="tleap wrote other atoms, names or bonds"):
        gaff()


def test_charges_of_another_sum_are_refused(answering):
    answering(
        charges="cp {files}/sqm.pdb .; sed 's/-0.831300/-0.331300/' {files}/charged.mol2 > charged.mol2"
    )
    with pytest.raises(BoltzgenError, match=r"add up to \+0\.001 e instead of -1 e"):
        gaff()


def test_a_request_to_stop_ends_the_program_and_its_children(answering, tmp_path):
    answering(charges=f"sleep 47 & echo $! > {tmp_path}/child\nwait")
    with pytest.raises(StoppedError, match=r"time limit of 1 s reached while antechamber was at work"):
        gaff(stop=StopRequest(1.0))
    child = int((tmp_path / "child").read_text())
    status = tmp_path.joinpath("/proc", str(child), "status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_abcg2_needs_its_table_and_gaff2(answering):
    answering()
    with pytest.raises(InputError, match=r'`charges="abcg2"` needs AmberTools 23 or later'):
        gaff(charges="abcg2")
    with pytest.raises(InputError, match="was made for GAFF2 alone"):
        prepare(smiles=SMILES, forcefield=("gaff",), charges="abcg2")


def test_without_the_programs_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AMBERHOME", str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"boltzgen-sampler\[amber\]"):
        gaff()
    tools = scripted_tools(tmp_path)
    (tools.folder / "sqm").unlink()
    with pytest.raises(MissingExtraError, match="of which sqm is neither"):
        gaff()


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(=O)[O-].[Na+]", "2 molecules that no bond joins"),
        ("C[CH2]", "an unpaired electron, for which GAFF2"),
        ("CB(O)O", "GAFF2 has no parameters for boron"),
        ("C[Si](C)(C)C", "only for H C N O F P S Cl Br I"),
        ("C[Mg]Cl", "no parameters for magnesium"),
        ("CS(F)(F)(F)(F)F", "no angles about an atom of 6 neighbours"),
    ],
)
def test_what_gaff_does_not_cover_is_refused_before_any_program(answering, tmp_path, smiles, reason):
    answering()
    with pytest.raises(InputError, match=reason):
        prepare(smiles=smiles, forcefield=("gaff2",))
    assert calls(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"charges": "bcc"}, "does not go with MMFF94"),
        ({"radii": "mbondi2", "implicit": "obc2"}, "with MMFF94 OpenMM assigns the radii of obc2"),
        ({"radii": "mbondi2", "forcefield": ("gaff2",)}, "goes with a solvent of the names"),
        ({"radii": "mbondi9", "implicit": "obc2"}, "expected bondi, mbondi, mbondi2, mbondi3"),
        ({"forcefield": ("gaff", "gaff2")}, "gaff gaff2 has no parameters"),
        ({"forcefield": ("gaff3",)}, "gaff3 has no parameters"),
    ],
)
def test_options_that_do_not_go_together(options, reason):
    with pytest.raises(InputError, match=reason):
        prepare(smiles=SMILES, **options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"forcefield": ("gaff2",)}, "goes with `smiles`, SDF and mol2"),
        ({"charges": "bcc"}, "a sequence has those of its parameters"),
        ({"radii": "mbondi2", "implicit": "obc2"}, "for a sequence OpenMM assigns"),
    ],
)
def test_a_sequence_takes_none_of_it(options, reason):
    with pytest.raises(InputError, match=reason):
        prepare(sequence="ACE-ALA-NME", **options)
