"""``boltzgen conformers``: what it answers from each kind of source, its files, and what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import three_wells
from helpers import StopAt, assert_refused
from rdkit import Chem
from three_wells import TEMPERATURE, at_rest, exact, samples

import boltzgen as bg
from boltzgen.data.foreign import read_structures
from boltzgen.data.trajectory import Trajectory, write_trajectory
from boltzgen.ensemble.store import save_ensemble
from boltzgen.errors import InputError, PartialError, StoppedError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.units import HARTREE
from boltzgen.workflows.conformers import conformers as verb
from boltzgen.workflows.conformers.conformers import conformers
from boltzgen_cli.main import main

#: Its atoms: F, C, C, Cl, four H.
SMILES = "FCCCl"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """SYS and OUT of the chain of four; HALO, a molecule, and structures of it; NONE, without weights."""
    folder = tmp_path_factory.mktemp("wells")
    three_wells.write(folder, 2500)
    system = prepare(smiles=SMILES)
    system.save(folder / "HALO")
    from boltzgen.coordinates.conformers import conformers_of

    found = conformers_of(system)
    write_xyz(folder / "three.xyz", ("F", "C", "C", "Cl", *"HHHH"), found.positions[:12])
    save_ensemble(replace(samples(4, 1), log_w=np.full(4, -np.inf), **rejected(4)), folder / "NONE")
    return folder


def rejected(number: int) -> dict:
    return {"valid": np.zeros(number, bool), "reason": np.full(number, "energy not finite")}


def write_xyz(path, symbols, positions) -> None:
    lines = []
    for x in positions:
        lines += [str(len(symbols)), " -12.5"]
        lines += [f"{one} {a:.6f} {b:.6f} {c:.6f}" for one, (a, b, c) in zip(symbols, 10 * x, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def test_samples_against_the_closed_form(place):
    found = conformers(place / "OUT", place / "A", n_bootstrap=100)
    right = exact()
    assert found.verdict == "ok" and found.reasons == () and found.share_minimised > 0.9
    shares = {one["degeneracy"]: one for one in found.wells}
    for degeneracy, wanted in zip((1, 2), right.shares, strict=True):
        assert abs(shares[degeneracy]["population"] - wanted) < 4 * shares[degeneracy]["standard_error"]
    assert [one["name"] for one in found.wells] == ["well 1", "well 2"]
    content = json.loads((place / "A" / "conformers.json").read_text())
    assert content == found.to_json() and content["schema"] == "boltzgen.conformers/1"
    assert content["temperature_K"] == TEMPERATURE and "absolute" in content["entropy_reference"]
    with open(place / "A" / "conformers.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["population"]) for row in rows] == [one["population"] for one in found.wells]
    assert "Lewis structure" in found.notes[0] and not (place / "A" / "conformers.sdf").exists()


def test_a_part_chosen_by_weight_tells_the_same(place):
    found = conformers(place / "OUT", place / "PART", rows=400, n_bootstrap=100, seed=3)
    trans = next(one for one in found.wells if one["degeneracy"] == 1)
    assert abs(trans["population"] - exact().shares[0]) < 4 * trans["standard_error"]
    assert trans["standard_error"] < 0.05 and found.to_json()["minimised"]["rows"] == 400
    total = found.entropies[3]
    right = exact()
    wanted = (right.shares * right.energies).sum() + right.log_z
    assert abs(total["value"]["k"] - wanted) < 4 * total["standard_error"]["k"]


def test_a_pose_costs_what_its_share_says(place):
    """Near trans within 0.02 nm of all atoms, which are heavy here; counted by hand with the weights."""
    write_xyz(place / "pose.xyz", "XXXX", at_rest([np.pi]))
    found = conformers(place / "OUT", place / "POSE", pose=place / "pose.xyz", within=0.012, n_bootstrap=100)
    ensemble = samples(2500, 5)
    x = np.asarray(ensemble.positions)
    pose = at_rest([np.pi])[0]
    distances = np.array([min(_kabsch(pose, one), _kabsch(pose[::-1], one)) for one in x])
    weights = ensemble.weights()
    free = found.pose["free_energy"]
    assert free["value"]["kT"] == pytest.approx(-np.log(weights[distances <= 0.012].sum()), abs=1e-6)
    assert free["standard_error"]["kT"] > 0
    assert found.pose["minimum_over_lowest"]["kT"] == pytest.approx(0, abs=1e-4)


def _kabsch(x, y) -> float:
    traced = mdtraj.Trajectory(np.array([x, y]), None)
    return float(mdtraj.rmsd(traced, traced, 0, precentered=False)[1])


def test_structures_have_energies_and_no_populations(place, capsys):
    found = conformers(place / "three.xyz", place / "B", system=place / "HALO")
    assert sorted(one["degeneracy"] for one in found.wells) == [1, 2]
    assert all(one["population"] is None and one["free_energy"] is None for one in found.wells)
    assert sum(one["population_by_energies"] for one in found.wells) == pytest.approx(1)
    assert sum(one["population_by_oscillators"] for one in found.wells) == pytest.approx(1)
    assert found.verdict == "caution" and "no weights" in found.reasons[0]
    assert found.entropies == () and found.share_minimised is None
    words = ["conformers", place / "three.xyz", "--system", place / "HALO", "-o", place / "B"]
    assert main([str(word) for word in words]) == 0
    assert "gauche" in capsys.readouterr().out


def test_files_are_read_by_others_and_by_us(place):
    """The crest file by our reader, MDTraj and RDKit; the SDF by RDKit, with bonds and properties."""
    system = MolecularSystem.load(place / "HALO")
    first = conformers(place / "three.xyz", place / "C", system=place / "HALO")
    crest = place / "C" / "crest_conformers.xyz"
    energies = [one["minimised_energy_kJ/mol"] for one in first.wells]
    lines = crest.read_text().splitlines()
    comments = [float(lines[k + 1]) for k in range(0, len(lines), system.n_atoms + 2)]
    np.testing.assert_allclose(comments, np.array(energies) / HARTREE, atol=1e-9)
    assert comments == sorted(comments)
    ours = read_structures(crest, system)
    theirs = mdtraj.load(str(crest), top=system.mdtraj_topology()).xyz
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    block = "\n".join(lines[: system.n_atoms + 2]) + "\n"
    np.testing.assert_allclose(
        0.1 * Chem.MolFromXYZBlock(block).GetConformer().GetPositions(), ours[0], atol=1e-6
    )
    again = conformers(crest, place / "D", system=place / "HALO")
    np.testing.assert_allclose([one["minimised_energy_kJ/mol"] for one in again.wells], energies, atol=1e-3)
    molecules = list(Chem.SDMolSupplier(str(place / "C" / "conformers.sdf"), removeHs=False))
    assert len(molecules) == len(first.wells)
    for molecule, one, x in zip(molecules, first.wells, ours, strict=True):
        assert Chem.MolToSmiles(Chem.RemoveHs(molecule)) == Chem.CanonSmiles(SMILES)
        assert int(molecule.GetProp("degeneracy")) == one["degeneracy"]
        assert float(molecule.GetProp("minimised_energy_kJ_mol")) == pytest.approx(
            one["minimised_energy_kJ/mol"], abs=1e-6
        )
        np.testing.assert_allclose(0.1 * molecule.GetConformer().GetPositions(), x, atol=2e-5)
    np.testing.assert_allclose(read_structures(place / "C" / "conformers.sdf", system), ours, atol=2e-5)


def test_a_file_brings_its_own_molecule(place):
    """An SDF is prepared into DIR/SYS, once everything else was found sound."""
    conformers(place / "three.xyz", place / "E", system=place / "HALO")
    found = conformers(place / "E" / "conformers.sdf", place / "F", forcefield="mmff94")
    assert sorted(one["degeneracy"] for one in found.wells) == [1, 2]
    assert MolecularSystem.load(place / "F" / "SYS").n_atoms == 8
    by_file = conformers(place / "three.xyz", place / "G", system=place / "E" / "conformers.sdf")
    assert len(by_file.wells) == 2 and (place / "G" / "SYS").is_dir()


def test_frames_frozen_in_unequal_wells_are_the_starts(place):
    """Ten replicas that never leave: trans in seven, gauche in three, whatever the energies say."""
    rng = np.random.default_rng(2)
    phi = np.where(np.arange(10) < 7, np.pi, 1.1)
    frames = np.concatenate([at_rest(phi + 0.05 * rng.normal(size=10)) for _ in range(40)])
    system = MolecularSystem.load(place / "SYS")
    replicas = np.tile(np.arange(10), 40)
    order = np.lexsort((np.arange(400), replicas))
    trajectory = Trajectory(
        frames[order].astype(np.float32),
        np.full(400, np.nan),
        np.full(400, 300.0),
        replicas[order],
        system.fingerprint,
    )
    write_trajectory(place / "MD", trajectory, torch={"walks": 10})
    found = conformers(place / "MD", place / "H", system=place / "SYS", n_bootstrap=50)
    assert {one["degeneracy"]: round(one["population"], 3) for one in found.wells} == {1: 0.7, 2: 0.3}
    assert found.verdict != "ok"
    assert any(reason.startswith("caution: these are the starts' populations") for reason in found.reasons)
    assert "over well 1" in found.to_json()["entropy_reference"] and found.temperature == 300.0


def test_walkers_are_judged_by_crossings(place):
    """Sixteen walkers that leap between wells by chance, and the same rows in the hands of frozen ones."""
    rng = np.random.default_rng(8)
    ensemble = samples(6000, 9)
    chosen = rng.choice(6000, 1600, p=ensemble.weights())
    x = np.asarray(ensemble.positions)[chosen]
    phi = np.abs(np.arctan2(x[:, 3, 2], x[:, 3, 1]))
    record = {"chains": {"torsions": []}, "system": "SYS"}
    for name, order in (("FREE", np.arange(1600)), ("FROZEN", np.argsort(phi, kind="stable"))):
        u = np.asarray(ensemble.u)[chosen][order]
        rows = np.arange(1600)
        walked = replace(
            ensemble,
            positions=x[order],
            u=u,
            log_q=-u,
            log_w=np.zeros(1600),
            valid=np.ones(1600, bool),
            reason=np.full(1600, ""),
            provenance=record,
            walker=rows // 100,
            group=rows // 100 % 4,
            step=rows % 100,
        )
        save_ensemble(walked, place / name)
    free = conformers(place / "FREE", place / "I", rows=800, n_bootstrap=100)
    frozen = conformers(place / "FROZEN", place / "J", rows=800, n_bootstrap=100)
    assert abs(free.wells[0]["population"] - max(exact().shares)) < 0.1
    assert not any("entered" in reason for reason in free.reasons)
    assert frozen.verdict == "unreliable" and any("entered" in reason for reason in frozen.reasons)
    assert "over well 1" in free.to_json()["entropy_reference"]


def test_the_folder_says_what_it_is_and_what_to_cite(place, monkeypatch):
    monkeypatch.chdir(place)
    conformers("OUT", "SHOWN", n_bootstrap=20, rows=200)
    for found in (bg.show("SHOWN"), bg.show("SHOWN/conformers.json")):
        assert (found.kind, found.status) == ("WELLS", "complete")
        assert found.numbers["samples"] == "OUT" and found.numbers["minimised"] == 200
        assert [row[0] for row in found.tables[0].rows] == ["well 1", "well 2"]
        assert found.steps[0].call.startswith('show("OUT"')
    assert {"pracht2020", "rdkit"} <= set(bg.cite("SHOWN").keys)
    assert bg.cite("SHOWN").keys == bg.cite("SHOWN/conformers.json").keys


def test_a_smiles_is_answered_by_run_first(place, monkeypatch):
    """With its options and no others; what a run had when its time was over is used, with its reason."""
    asked = []

    def answered(source, output, **options):
        asked.append(options)
        three_wells.write(output, 800)
        (output / "run.json").write_text("{}")
        raise PartialError("the time was over: 800 of 9000 samples")

    monkeypatch.setattr(verb, "run", answered)
    words = {"forcefield": "gaff2", "charges": "bcc", "time": "5m", "seed": 4}
    found = conformers(None, place / "FROM", smiles="CCCC", temperature=TEMPERATURE, n_bootstrap=20, **words)
    kept = {"smiles": "CCCC", "forcefield": ("gaff2",), "charges": "bcc", "time": "5m", "seed": 4}
    assert kept.items() <= asked[0].items() and "implicit" not in asked[0]
    assert found.verdict == "caution" and "the time was over" in found.reasons[0]
    assert len(found.wells) == 2 and (place / "FROM" / "RUN" / "OUT").is_dir()
    again = conformers(place / "FROM" / "RUN", place / "AGAIN", n_bootstrap=20)
    assert again.wells[0]["population"] == found.wells[0]["population"]

    def nothing(source, output, **options):
        raise PartialError("the time was over before the first frame")

    monkeypatch.setattr(verb, "run", nothing)
    with pytest.raises(PartialError, match="first frame"):
        conformers(None, place / "NOTHING", smiles="CCCC")


def test_reweighted_samples_are_samples(place, monkeypatch):
    """At another temperature, and under another energy of the same atoms."""
    monkeypatch.chdir(place)
    bg.reweight("OUT", "WARM", temperature=400.0)
    warm, cold = (conformers(one, f"{one}-WELLS", n_bootstrap=20) for one in ("WARM", "OUT"))
    assert warm.temperature == 400.0
    assert abs(warm.wells[0]["population"] - 0.5) < abs(cold.wells[0]["population"] - 0.5)
    softer = three_wells.chain_of_four(torsion=(2.0, -1.0, 9.0))
    softer.save("SOFT")
    bg.reweight("OUT", "OTHER", to="SOFT")
    other = conformers("OTHER", "OTHER-WELLS", system="SOFT", n_bootstrap=20)
    assert other.to_json()["provenance"]["system_fingerprint"] == softer.fingerprint
    assert conformers("OTHER", "OTHER-WELLS", n_bootstrap=20).wells == other.wells


def test_a_stop_leaves_nothing(place):
    with pytest.raises(StoppedError, match="nothing was written"):
        conformers(place / "OUT", place / "STOPPED", stop=StopAt(0))
    assert not (place / "STOPPED").exists()


def test_a_dry_run_writes_nothing(place, capsys):
    assert main(["conformers", str(place / "OUT"), "-o", str(place / "DRY"), "--dry-run"]) == 0
    assert not (place / "DRY").exists() and "minimised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("-o {}/N", ("OUT|FILE", "--smiles")),
        ("{}/OUT --smiles C -o {}/N", ("OUT|FILE", "--smiles")),
        ("{}/absent -o {}/N", ("absent", "no such file")),
        ("{}/NONE -o {}/N --system {}/SYS", ("NONE", "every sample was rejected")),
        ("{}/three.xyz -o {}/N", ("--system", "bonds")),
        ("{}/three.xyz --system {}/SYS -o {}/N", ("three.xyz", "8 atoms")),
        ("{}/other.xyz --system {}/HALO -o {}/N", ("other.xyz", "order")),
        ("{}/empty.xyz --system {}/HALO -o {}/N", ("empty.xyz", "no structures")),
        ("{}/OUT --system {}/HALO -o {}/N", ("OUT", "another molecule")),
        ("{}/OUT --temperature 300 -o {}/N", ("--temperature 300", "330")),
        ("{}/OUT --temperature -3 -o {}/N", ("--temperature",)),
        ("{}/SYS -o {}/N", ("SYS", "prepared system")),
        ("{}/MODEL -o {}/N", ("MODEL", "model system")),
        ("{}/three.pdb --system {}/HALO -o {}/N", ("three.pdb", ".pdb")),
        ("{}/three.xyz --system {}/HALO --pose {}/one.xyz -o {}/N", ("--pose", "no weights")),
        ("{}/OUT --pose {}/absent.xyz -o {}/N", ("absent.xyz",)),
        ("{}/OUT --pose {}/two.xyz -o {}/N", ("two.xyz", "2 structures")),
        ("{}/OUT --pose {}/two.xyz --within 0 -o {}/N", ("--within 0",)),
        ("{}/OUT --rows 0 -o {}/N", ("--rows",)),
        ("{}/OUT -o {}/three.xyz", ("three.xyz", "folder")),
        ("{}/OUT -o {}/SYS", ("SYS",)),
        ("{}/OUT -o {}/full", ("full", "other files")),
        ("--smiles C1CC -o {}/N", ("C1CC",)),
    ],
)
def test_bad_input(place, words, told):
    rows = (place / "three.xyz").read_text().splitlines()[:10]
    swapped = [*rows[:2], rows[3], rows[2], *rows[4:]]
    (place / "other.xyz").write_text("\n".join(swapped) + "\n")
    (place / "one.xyz").write_text("\n".join(rows) + "\n")
    (place / "empty.xyz").write_text("\n")
    (place / "three.pdb").write_text("END\n")
    write_xyz(place / "two.xyz", "XXXX", at_rest([3.0, 1.0]))
    (place / "full").mkdir(exist_ok=True)
    (place / "full" / "letter.txt").write_text("mine")
    if not (place / "MODEL").exists():
        from ensemble_cases import make_model

        save_ensemble(make_model(), place / "MODEL")
    assert_refused(["conformers", *(word.format(place) for word in words.split())], *told)
    assert not (place / "N").exists()


def test_a_seed_is_a_whole_number(place):
    with pytest.raises(InputError, match="seed"):
        conformers(place / "OUT", place / "N", seed=-1)
