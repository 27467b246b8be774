"""`prepare` for small molecules: what SMILES, SDF and mol2 become, what is chosen, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import assert_refused
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdForceFieldHelpers
from small_molecule_cases import ACETATE, DRUG_LIKE, as_rdkit, embedded, tripos

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.errors import InputError
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.minimise import energy_and_minimum
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.system.terms.charges import partial_charges
from boltzgen.workflows.preparation.prepare import prepare as work
from boltzgen_cli.main import main


def block(smiles: str, title: str = "", **options) -> str:
    molecule = embedded(smiles)
    molecule.SetProp("_Name", title)
    return Chem.MolToMolBlock(molecule, **options)


def notes_beside_vacuum(system: MolecularSystem) -> list[str]:
    """What `prepare` says, but that charges stand in vacuum (tests/system/test_vacuum.py)."""
    return [note for note in system.provenance["warnings"] if "in vacuum, which nothing screens" not in note]


def drawing(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(molecule)
    return Chem.MolToMolBlock(molecule)


def without_hydrogens(mol2: str) -> str:
    """A mol2 text without its hydrogens (which must be its last atoms and bonds)."""
    kept = [line for line in mol2.splitlines() if " H 1 " not in line]
    atoms = sum(" ACT " in line for line in kept)
    start = kept.index("@<TRIPOS>BOND") + 1
    bonds = [line for line in kept[start:] if max(map(int, line.split()[1:3])) <= atoms]
    kept[2] = f" {atoms} {len(bonds)} 1 0 0"
    return "\n".join([*kept[:start], *bonds, ""])


def at_the_origin(mol2: str) -> str:
    rows = [line.split() for line in mol2.splitlines()]
    moved = [[*row[:2], "0", "0", "0", *row[5:]] if "ACT" in row else row for row in rows]
    return "\n".join([" ".join(row) for row in moved] + [""])


def isomer(molecule: Chem.Mol) -> str:
    return Chem.MolToSmiles(Chem.RemoveHs(molecule))


# ---- what comes out ----


@pytest.mark.parametrize(
    "smiles",
    [
        r"C/C=C/C(=O)[O-]",
        r"C/C=C\C(=O)[O-]",
        "C[C@H](N)C(=O)NC",
        "C[C@@H](N)C(=O)NC",
        "C[C@H]1CC[C@@H](O)CC1",
        "C[C@H]1CC[C@H](O)CC1",
        r"C/C(=N\O)[C@@H](F)Cl",
        "C[S@](=O)c1ccccc1",
        DRUG_LIKE["penicillin core"],
        DRUG_LIKE["steroid core"],
        DRUG_LIKE["retinal fragment"],
    ],
)
def test_stereo_is_what_the_smiles_said(smiles):
    system = prepare(smiles=smiles)
    assert isomer(as_rdkit(system, smiles)) == Chem.CanonSmiles(smiles)
    assert notes_beside_vacuum(system) == []


def test_open_stereo_is_chosen_once_and_named():
    smiles = "CC(O)C=CC(F)=NO"
    first, second = prepare(smiles=smiles), prepare(smiles=smiles)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.reference_positions, second.reference_positions)
    (warning,) = first.provenance["warnings"]
    chosen = isomer(as_rdkit(first, smiles))
    assert "@" in chosen and "/" in chosen
    for word in ("C (atom 2)", "C=C (atoms 4 and 5)", "C=N (atoms 6 and 8)", chosen):
        assert word in warning
    assert first.provenance["input"] == {"kind": "smiles", "smiles": chosen}
    again = prepare(smiles=chosen)
    assert again.provenance["warnings"] == []
    assert isomer(as_rdkit(again, chosen)) == chosen


def test_the_prepared_energy_is_rdkits_at_a_minimum():
    smiles = "CC(=O)Nc1ccc(O)cc1"
    system = prepare(smiles=smiles)
    molecule = as_rdkit(system, smiles)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
        molecule, rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    )
    assert system.provenance["reference_energy_kj_mol"] == pytest.approx(4.184 * field.CalcEnergy(), abs=4e-4)
    assert np.abs(field.CalcGrad()).max() < 1.0  # kcal/mol/Angstrom


def test_what_is_written(tmp_path):
    summary = work(None, tmp_path / "SYS", smiles="C[C@H](N)C(=O)[O-] alaninate")
    loaded = MolecularSystem.load(tmp_path / "SYS")
    assert loaded.fingerprint == summary.system.fingerprint
    assert loaded.name == "alaninate"
    assert summary.formal_charge == -1
    assert summary.stereocentres == ("UNL1 C2",)
    names = [name.atom for name in loaded.atom_names]
    assert names[:6] == ["C1", "C2", "N1", "C3", "O1", "O2"] and len(set(names)) == len(names)
    partners = sum(len(line.split()) - 2 for line in loaded.topology_pdb.splitlines() if "CONECT" in line)
    assert partners == 2 * len(loaded.bonds)
    record = json.loads((tmp_path / "SYS" / "system.json").read_text())["provenance"]
    assert record["options"]["forcefield"] == ["mmff94"] and "rdkit" in record["versions"]


def test_the_domain_keeps_isomers_and_hands():
    graph = MolecularGraph.from_system(prepare(smiles=r"C/C=C/[C@H](F)C(=O)NC"))
    assert {frozenset((bond.c, bond.p)) for bond in graph.isomer_bonds} == {
        frozenset((1, 2)),
        frozenset((5, 7)),
    }
    assert graph.stereocentres == {3}


@pytest.mark.parametrize(
    "name",
    [
        "aspirin",
        "nicotine",
        "benzonitrile, fluorinated",
        "2-butyne",
        "allene",
        "cyclopropene",
        "adamantane",
        "penicillin core",
        "methyl azide",
        "pyridoxal phosphate",
        "12-membered lactone",
        "water",
    ],
)
def test_internal_coordinates_round_trip(name):
    system = prepare(smiles=DRUG_LIKE[name])
    coordinates = InternalCoordinates(system)
    rng = np.random.default_rng(3)
    shaken = system.reference_positions + 0.002 * rng.normal(size=(4, system.n_atoms, 3))
    positions = torch.as_tensor(np.concatenate([system.reference_positions[None], shaken]))
    internal, log_det = coordinates.encode(positions)
    back, log_det_back = coordinates.decode(internal)
    found = torch.pdist(back[0]), torch.pdist(back[3])
    assert torch.allclose(found[0], torch.pdist(positions[0]), atol=1e-9)
    assert torch.allclose(found[1], torch.pdist(positions[3]), atol=1e-9)
    assert torch.allclose(log_det, -log_det_back, atol=1e-6)


@pytest.mark.parametrize("variant", ["mmff94", "mmff94s"])
def test_implicit_solvent_takes_the_charges(variant):
    system = prepare(smiles="C[NH3+]", implicit="obc2", forcefield=(variant,))
    forces = {type(force).__name__: force for force in system.openmm_system().getForces()}
    solvent = forces["CustomGBForce"]
    charges = [solvent.getParticleParameters(index)[0] for index in range(system.n_atoms)]
    np.testing.assert_allclose(charges, partial_charges(system.openmm_system()), atol=1e-12)
    vacuum = prepare(smiles="C[NH3+]", forcefield=(variant,))
    difference = (
        system.provenance["reference_energy_kj_mol"] - vacuum.provenance["reference_energy_kj_mol"]
    ) / 4.184
    assert -95 < difference < -60  # Born: an ion of this size gains about 70 to 80 kcal/mol in water
    assert any("Born" in warning for warning in system.provenance["warnings"])


def test_minimize_relaxes_a_file(tmp_path):
    (tmp_path / "in.sdf").write_text(block("CC(=O)Oc1ccccc1C(=O)O"))
    left, relaxed = prepare(tmp_path / "in.sdf"), prepare(tmp_path / "in.sdf", minimize=True)
    energies = [system.provenance["reference_energy_kj_mol"] for system in (left, relaxed)]
    assert energies[1] < energies[0] - 10.0
    _, lowest, _ = energy_and_minimum(relaxed.openmm_system(), relaxed.reference_positions, iterations=500)
    assert energies[1] < lowest + 10.0


# ---- files ----


@pytest.mark.parametrize("force_v3000", [False, True])
def test_sdf_keeps_coordinates_charges_and_stereo(tmp_path, force_v3000):
    smiles = "C[C@H]([NH3+])/C=C/C(=O)[O-]"
    path = tmp_path / "ligand.sdf"
    path.write_text(block(smiles, title="LIG", forceV3000=force_v3000) + "$$$$\n")
    system = prepare(path)
    expected = 0.1 * embedded(smiles).GetConformer().GetPositions()
    np.testing.assert_allclose(system.reference_positions, expected, atol=1e-5)
    assert system.provenance["input"]["smiles"] == Chem.CanonSmiles(smiles)
    assert notes_beside_vacuum(system) == [] and system.name == "ligand"
    assert {name.residue for name in system.atom_names} == {"LIG"}
    assert prepare(smiles=smiles).fingerprint == system.fingerprint


def test_sdf_with_several_molecules_says_so(tmp_path):
    (tmp_path / "two.sdf").write_text(block("CCO") + "$$$$\n" + block("CCC") + "$$$$\n")
    system = prepare(tmp_path / "two.sdf")
    assert system.n_atoms == 9
    assert system.provenance["warnings"] == ["two.sdf holds 2 molecules; the first is used."]


def test_a_drawing_is_built_with_its_stereo(tmp_path):
    smiles = "C[C@H](F)/C=C/C=O"
    (tmp_path / "drawn.mol").write_text(drawing(smiles))
    system = prepare(tmp_path / "drawn.mol")
    assert isomer(as_rdkit(system, smiles)) == Chem.CanonSmiles(smiles)
    assert system.provenance["input"]["smiles"] == Chem.CanonSmiles(smiles)
    assert "two dimensions" in system.provenance["warnings"][0]


def test_hydrogens_are_added_to_an_sdf_and_charges_stay(tmp_path):
    bare = Chem.RemoveHs(embedded("CC([NH3+])C(=O)[O-]"))
    (tmp_path / "bare.sdf").write_text(Chem.MolToMolBlock(bare))
    system = prepare(tmp_path / "bare.sdf", add_hydrogens=True)
    assert system.n_atoms == 13
    np.testing.assert_allclose(
        system.reference_positions[:6], 0.1 * bare.GetConformer().GetPositions(), atol=1e-5
    )
    assert partial_charges(system.openmm_system()).sum() == pytest.approx(0.0, abs=1e-6)


def test_mol2_is_read_with_its_names_and_charge(tmp_path):
    (tmp_path / "acetate.mol2").write_text(ACETATE)
    system = prepare(tmp_path / "acetate.mol2")
    assert [name.atom for name in system.atom_names] == ["CM", "CX", "OA", "OB", "HA", "HB", "HC"]
    assert partial_charges(system.openmm_system()).sum() == pytest.approx(-1.0, abs=1e-9)
    assert system.provenance["input"]["smiles"] == "CC(=O)[O-]"
    assert prepare(smiles="CC(=O)[O-]").fingerprint == system.fingerprint


@pytest.mark.parametrize(
    ("smiles", "types"),
    [
        ("c1ccncc1", "C.ar C.ar C.ar N.ar C.ar C.ar"),
        ("CC(=O)NC", "C.3 C.2 O.2 N.am C.3"),
        ("C[NH3+]", "C.3 N.4"),
        ("C[N+](=O)[O-]", "C.3 N.pl3 O.2 O.2"),
        ("CS(=O)(=O)N", "C.3 S.o2 O.2 O.2 N.3"),
        ("NC(N)=[NH2+]", "N.pl3 C.cat N.pl3 N.pl3"),
        ("C[C@H](F)Cl", "C.3 C.3 F Cl"),
        ("C/C=C/C", "C.3 C.2 C.2 C.3"),
    ],
)
def test_mol2_is_perceived_as_what_it_is(tmp_path, smiles, types):
    """Aromatic bonds, formal charges and stereo, which a mol2 does not state, against the SMILES."""
    text = tripos(embedded(smiles), types.split())
    (tmp_path / "twice.mol2").write_text(text + text, newline="\r\n")
    system = prepare(tmp_path / "twice.mol2")
    assert system.provenance["input"]["smiles"] == Chem.CanonSmiles(smiles)
    assert system.fingerprint == prepare(smiles=smiles).fingerprint
    assert notes_beside_vacuum(system) == ["twice.mol2 holds 2 molecules; the first is used."]


# ---- refusals ----


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("", ["holds no atoms", "--smiles CCO"]),
        ("c1ccccc1C(=O", ["extra open parentheses", "position"]),
        ("C1CC", ["unclosed ring"]),
        ("CC(C)(C)(C)C", ["C (atom 2)", "valence"]),
        ("c1cccc1", ["aromatic ring", "C (atom 1)", "[nH]"]),
        ("CB(O)O", ["boron", "B (atom 2)", "prmtop"]),
        ("C[Zn]C", ["zinc", "Zn (atom 2)"]),
        ("CI(=O)=O", ["no atom type", "iodine, I (atom 2)"]),
        ("[CH2]CC", ["C (atom 1)", "unpaired electron"]),
        ("C*C", ["atom 2", "placeholder"]),
        ("CC(=O)[O-].[Na+]", ["2 molecules", "--smiles 'CC(=O)[O-]'"]),
        ("[Cl-]", ["single atom"]),
        ("O=C=O", ["charge +0", "-1.00", "prmtop"]),
        ("C1C[C@H]2CC[C@H]1C2", ["three-dimensional structure", "stereo"]),
    ],
)
def test_smiles_that_are_refused(tmp_path, smiles, expected):
    assert_refused(["prepare", "--smiles", smiles, "-o", tmp_path / "SYS"], *expected)
    assert not (tmp_path / "SYS").exists()


FILES = {
    "none.sdf": ("", ["0 bytes"]),
    "separators.sdf": ("$$$$\n$$$$\n", ["holds no molecule"]),
    "rubbish.sdf": ("hello\n\n\nworld\n", ["does not read as an SDF", "rubbish.sdf"]),
    "truncated.sdf": (block("CCO")[:300], ["does not read as an SDF"]),
    "bare.sdf": (
        Chem.MolToMolBlock(Chem.RemoveHs(embedded("CCO"))),
        ["lacks 6 hydrogens", "--add-hydrogens"],
    ),
    "salt.sdf": (block("CCO.CCN"), ["2 molecules"]),
    "radical.sdf": (block("C[CH]C"), ["unpaired electron", "C (atom 2)"]),
    "overfull.sdf": (block("CC(C)(C)C").replace("  1  2  1", "  1  2  3"), ["C (atom 1)", "valence"]),
    "unknown.sdf": (block("CCO").replace(" O  ", " Xx "), ["Xx"]),
    "boron.sdf": (block("CB(O)O"), ["boron", "B (atom 2)"]),
    "none.mol2": ("hello\n", ["@<TRIPOS>MOLECULE"]),
    "truncated.mol2": (ACETATE[:260], ["does not read as a mol2"]),
    "charge.mol2": (ACETATE.replace("-0.9", "-0.4"), ["partial charges", "-1 e", "obabel"]),
    "types.mol2": (ACETATE.replace("O.co2", "X9"), ["does not read as a mol2"]),
    "bare.mol2": (without_hydrogens(ACETATE), ["lacks 3 hydrogens", "C (atom 1)", "obabel"]),
    "zero.mol2": (at_the_origin(ACETATE), ["no usable coordinates"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_refused(tmp_path, name):
    text, expected = FILES[name]
    path = tmp_path / name
    path.write_text(text)
    assert_refused(["prepare", path, "-o", tmp_path / "SYS"], *expected)
    assert not (tmp_path / "SYS").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--smiles", "CCO", "--forcefield", "amber14-all.xml"], ["amber14-all.xml", "mmff94", "prmtop"]),
        (["--smiles", "CCO", "--forcefield", "mmff94", "--forcefield", "x.xml"], ["mmff94 x.xml"]),
        (["--smiles", "CCO", "--implicit", "amber99_obc.xml"], ["amber99_obc.xml", "obc2"]),
        (["--smiles", "CCO", "--coordinates", "x.pdb"], ["--coordinates"]),
        (["--smiles", "CCO", "--ph", "5"], ["--ph 5", "CC(=O)[O-]"]),
        (["--smiles", "CCO", "--sequence", "GAVL"], ["--sequence and --smiles"]),
        (["--sequence", "ACE-ALA-NME", "--forcefield", "mmff94"], ["mmff94", "--smiles"]),
        (["missing.sdf"], ["missing.sdf", "no such file"]),
    ],
)
def test_options_that_do_not_go_together(tmp_path, words, expected):
    assert_refused(["prepare", *words, "-o", tmp_path / "SYS"], *expected)


def test_hydrogens_of_a_mol2_are_not_guessed(tmp_path):
    (tmp_path / "acetate.mol2").write_text(ACETATE)
    words = ["prepare", tmp_path / "acetate.mol2", "--add-hydrogens", "-o", tmp_path / "SYS"]
    assert_refused(words, "formal charges", "obabel")


def test_rdkits_log_stays_silent(capfd):
    with pytest.raises(InputError):
        prepare(smiles="c1ccccc1C(=O")
    with pytest.raises(Exception, match="iodine"):
        prepare(smiles="CI(=O)=O")
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_the_command_line_says_what_was_understood(tmp_path, capsys):
    assert main(["prepare", "--smiles", "CC(N)C(=O)O", "-o", str(tmp_path / "SYS")]) == 0
    captured = capsys.readouterr()
    assert "13 (6 heavy)" in captured.out
    assert "leaves stereo open" in captured.err
    assert Path(tmp_path / "SYS" / "system.xml").is_file()


@pytest.mark.parametrize(
    ("smiles", "labels", "stereo"),
    [
        ("[2H]C([2H])C=O", "H (atom 1), H (atom 3)", None),
        ("CC(=O)[18O]C", "O (atom 4)", None),
        ("C[C@H]([2H])O", "H (atom 3)", "C (atom 2)"),
        ("C[C@H](O)[13CH3]", "C (atom 4)", "C (atom 2)"),
        ("[2H]/C=C/F", "H (atom 1)", "C (atom 2), C (atom 3)"),
        ("C[C@H]([3H])[C@H](F)Cl", "H (atom 3)", "C (atom 2)"),
    ],
)
def test_isotope_labels_are_left_out_with_the_stereo_that_they_alone_make(smiles, labels, stereo):
    """Masses are those of the elements, the stereo that does not hang on labels is kept."""
    system = prepare(smiles=smiles)
    plain = Chem.AddHs(Chem.MolFromSmiles(smiles))
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
    np.testing.assert_allclose(system.masses, [atom.GetMass() for atom in plain.GetAtoms()], atol=2e-3)
    notes = system.provenance["warnings"]
    assert any(f"isotope labels of {labels} are left out" in note for note in notes)
    said = [note for note in notes if "one of isotope labels alone" in note]
    assert said == ([] if stereo is None else [f"The stereo at {stereo} is one of isotope labels alone."])
    remaining = Chem.MolFromSmiles(system.provenance["input"]["smiles"])
    expected = "[C@H](F)Cl" in smiles
    assert len(Chem.FindMolChiralCenters(remaining, useLegacyImplementation=False)) == expected
