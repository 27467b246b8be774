"""`boltzgen dataset`: shards that are kept, resumed and checked, and splits that share no molecule."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
from helpers import ROOT, assert_refused

from boltzgen.config.settings import build_settings, load_settings
from boltzgen.config.shipped import shipped_configs
from boltzgen.data.dataset import Dataset
from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import BoltzgenError, InputError, PartialError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.progress import silent
from boltzgen.system.graph.graph_hash import graph_hash
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.parametrise.sequence import _heavy_atoms, parse_sequence
from boltzgen.workflows.datasets import build as workflow
from boltzgen.workflows.datasets.build import build_dataset
from boltzgen.workflows.datasets.settings import DatasetSettings
from boltzgen_cli.main import _resume_command, main

#: The lists on which the published models report, and the five capped amino acids that are held out.
DIPEPTIDES = (
    "AA CE CL DG DI FK HL HM IK IM KG LE MQ NA NC PG PY QR RL RT SS TD VF VS WA WH WQ WS YC YQ"
).split()
CAPPED = [f"ACE-{residue}-NME" for residue in ("SER", "ILE", "PHE", "PRO", "HIS")]
TETRAPEPTIDES = (
    "ARIP CCVH CIPQ DEMT DMTL EHQW FESD FYYY GCDE GDTI GGRS HEAV HQVS HYGW ITYL "
    "KKAP KLLR KRWN NCFG NEVI PQIF QAKR QWNL RLMM SHKS SVND TAPF TMWC VPFY WNMA"
).split()
REPORTED = {
    "dataset-capped-amino-acids": CAPPED,
    "dataset-dipeptides": DIPEPTIDES,
    "dataset-tetrapeptides": TETRAPEPTIDES,
    "dataset-capped-dipeptides": [],
    "dataset-longer-peptides": [],
}

SIMULATION = {
    "evaluations": 200,
    "temperatures": [300.0, 450.0],
    "frames": 20,
    "exchange_interval": 0.005,
    "equilibration": 0.01,
}
GLYCINE = {"sequence": "ACE-GLY-NME", "name": "glycine"}
ALANINE = {"sequence": "ACE-ALA-NME", "name": "alanine"}
WATER = {"smiles": "O", "name": "water"}


def settings_for(**values) -> DatasetSettings:
    return build_settings(DatasetSettings, {"implicit": "none", "simulation": SIMULATION, **values})


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Starting structures are relaxed in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("dynamics.batched_run", "workflows.simulation.engines"):
            patch.setattr(f"boltzgen.{module}.MINIMISATION_STEPS", 10)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Capped glycine to train on, capped alanine to test on."""
    folder = tmp_path_factory.mktemp("dataset") / "D"
    settings = settings_for(train=[GLYCINE], test=[ALANINE])
    return build_dataset(settings, folder), settings


@pytest.fixture
def copied(built, tmp_path):
    found, settings = built
    shutil.copytree(found.folder, tmp_path / "D")
    return tmp_path / "D", settings


def written(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "dataset.json"}


# What a data set holds.


def test_each_molecule_is_what_prepare_and_simulate_write(built):
    found, _ = built
    assert [(one.name, one.split, one.status) for one in found.molecules] == [
        ("glycine", "train", "complete"),
        ("alanine", "test", "complete"),
    ]
    assert [one.name for one in found.of("test")] == ["alanine"] and found.of("validation") == ()
    for one, atoms in zip(found.molecules, (19, 22), strict=True):
        system = MolecularSystem.load(one.system)
        trajectory = read_trajectory(one.data, system)
        assert one.atoms == system.n_atoms == atoms and one.fingerprint == system.fingerprint
        assert trajectory.temperature_ladder.tolist() == [300.0, 450.0]
        assert len(trajectory) == 2 * one.frames
        assert 200 <= one.evaluations < 200 + 40
        assert one.convergence["verdict"] == "short"
    with pytest.raises(InputError, match="no split"):
        found.of("holdout")


def test_a_changed_file_is_found(copied):
    folder, _ = copied
    Dataset.load(folder).verify()
    path = folder / "molecules/alanine/MD/temperature-450K.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=r"temperature-450K\.h5 is not the file"):
        Dataset.load(folder).verify()
    path.unlink()
    with pytest.raises(InputError, match=r"temperature-450K\.h5 is missing; .*rebuild=\['alanine'\]"):
        Dataset.load(folder).verify()


def test_each_molecule_has_a_seed_of_its_own(built):
    record = json.loads((built[0].folder / "dataset.json").read_text())
    assert len({one["simulation"]["seed"] for one in record["molecules"]}) == 2


# Going on.


def test_what_is_complete_is_kept_and_what_is_new_is_added(copied, monkeypatch):
    folder, settings = copied
    before = written(folder / "molecules")
    longer = settings_for(train=[WATER, GLYCINE], test=[ALANINE])
    simulated = []
    work = workflow.simulate_source
    monkeypatch.setattr(
        workflow, "simulate_source", lambda *a, **k: simulated.append(a[1].name) or work(*a, **k)
    )
    found = build_dataset(longer, folder)
    assert simulated == ["water"]
    assert [one.name for one in found.molecules] == ["water", "glycine", "alanine"]
    after = written(folder / "molecules")
    kept = {path for path in before if path.is_file() and path.name != "molecule.json"}
    assert kept and all(after[path] == before[path] for path in kept)
    with pytest.raises(InputError, match="holds water, which the configuration does not name"):
        build_dataset(settings, folder)


def test_a_molecule_that_breaks_down_does_not_keep_the_others_waiting(tmp_path, monkeypatch):
    settings, work = settings_for(train=[GLYCINE, WATER]), workflow.simulate_source

    def breaks(wanted, system, *others, **options):
        if system.name == "glycine":
            raise BoltzgenError("The dynamics broke down.")
        return work(wanted, system, *others, **options)

    monkeypatch.setattr(workflow, "simulate_source", breaks)
    with pytest.raises(PartialError, match=r"No data of glycine;.*glycine: The dynamics broke down"):
        build_dataset(settings, tmp_path / "SET")
    found = {one.name: one.status for one in Dataset.load(tmp_path / "SET").molecules}
    assert found == {"glycine": "failed", "water": "complete"}
    monkeypatch.setattr(workflow, "simulate_source", work)
    assert build_dataset(settings, tmp_path / "SET").status == "complete"


def test_other_settings_are_refused_and_rebuilt_on_request(copied):
    folder, settings = copied
    changed = settings.model_copy(update={"per_split": {"test": {"frames": 10}}})
    with pytest.raises(
        InputError, match=r"alanine built with another simulation\.frames.*rebuild=\['alanine'\]"
    ):
        build_dataset(changed, folder)
    before = written(folder / "molecules/glycine/MD")
    found = build_dataset(changed, folder, rebuild=["alanine"])
    assert found.of("test")[0].frames < 20 <= found.of("train")[0].frames
    assert written(folder / "molecules/glycine/MD") == before
    moved = settings_for(train=[{**GLYCINE, "sequence": "ACE-VAL-NME"}], test=[ALANINE])
    with pytest.raises(InputError, match="glycine built with another source"):
        build_dataset(moved, folder)


def test_nothing_is_thrown_away_before_all_settings_are_looked_at(copied):
    folder, settings = copied
    before = written(folder / "molecules")
    changed = settings.model_copy(update={"per_split": {"test": {"frames": 10}}})
    with pytest.raises(InputError, match="alanine built with another simulation"):
        build_dataset(changed, folder, rebuild=["glycine"])
    assert written(folder / "molecules") == before


def test_what_is_thrown_away_is_made_anew_in_a_build_of_others(copied):
    folder, settings = copied
    found = build_dataset(settings, folder, only=["alanine"], rebuild=["glycine"])
    assert [one.status for one in found.molecules] == ["complete", "complete"]


def test_a_molecule_that_another_process_ends_meanwhile_is_listed(copied, monkeypatch):
    """It ends after the records were read and before ``dataset.json`` is written."""
    folder, settings = copied
    place = folder / "molecules/alanine/molecule.json"
    done = place.read_text()
    place.write_text(json.dumps({**json.loads(done), "status": "partial"}))
    work = workflow.write_json

    def slow(path, record):
        place.write_text(done)
        work(path, record)

    monkeypatch.setattr(workflow, "write_json", slow)
    builder = workflow._Builder(settings, folder, "cpu", None, StopRequest(), silent)
    builder.write()
    assert [one.status for one in Dataset.load(folder).molecules] == ["complete", "complete"]


def test_a_stopped_build_goes_on_to_the_same_frames(built, tmp_path, monkeypatch):
    """Stopped in the middle of the first molecule, then gone on with: bit for bit what was made at once."""
    _, settings = built
    monkeypatch.setattr("boltzgen.dynamics.batched_run.BLOCK_WORK", 30000.0)
    whole = build_dataset(settings, tmp_path / "whole")
    stop, blocks = StopRequest(), []

    def stopping(done, total, values=None):
        if "ns/day" in (values or {}):
            blocks.append(done)
            if len(blocks) == 2:
                stop.ask()

    folder = tmp_path / "D"
    with pytest.raises(StoppedError, match=r"glycine.*0 of 2 molecules"):
        build_dataset(settings, folder, stop=stop, progress=stopping)
    partial = Dataset.load(folder)
    assert partial.status == "partial" and partial.of("train") == ()
    assert [one.status for one in partial.molecules] == ["partial", "waiting"]
    again = build_dataset(settings, folder)
    assert again.status == "complete"
    for one, other in zip(again.molecules, whole.molecules, strict=True):
        assert read_trajectory(one.data).digest() == read_trajectory(other.data).digest()


def test_parts_are_built_alone_and_systems_without_data(tmp_path):
    settings = settings_for(train=[GLYCINE, WATER], validation=[ALANINE])
    found = build_dataset(settings, tmp_path / "D", only=["water"], systems_only=True)
    assert [(one.name, one.status, one.data) for one in found.molecules] == [("water", "complete", None)]
    assert found.status == "partial" and not (tmp_path / "D/molecules/water/MD").exists()
    found = build_dataset(settings, tmp_path / "D", split=["train"])
    assert [one.name for one in found.of("train")] == ["glycine", "water"]
    assert all(one.data is not None for one in found.of("train")) and found.of("validation") == ()
    with pytest.raises(InputError, match=r"no molecule 'wter'\. Did you mean 'water'"):
        build_dataset(settings, tmp_path / "D", only=["wter"])
    with pytest.raises(InputError, match="holdout"):
        build_dataset(settings, tmp_path / "D", split=["holdout"])


# One molecule, one split.


def test_a_molecule_in_two_splits_is_refused_whatever_it_is_called(tmp_path):
    ethanols = {"train": [{"smiles": "CCO", "name": "one"}], "test": [{"smiles": "OCC", "name": "two"}]}
    with pytest.raises(InputError, match=r"two \(test\) and one \(train\) are the same molecule"):
        build_dataset(settings_for(**ethanols), tmp_path / "D")
    assert not list((tmp_path / "D").rglob("MD"))
    with pytest.raises(InputError, match="ace-ala-nme stands in train and in test"):
        settings_for(train=["ACE-ALA-NME"], test=["ace-ala-nme"])
    with pytest.raises(InputError, match="ALA-ALA stands in train and in validation"):
        settings_for(train=["AA"], validation=["ALA-ALA"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": ["AJ"]}, "no one-letter amino acid"),
        ({"train": [True]}, "in quotes"),
        ({"train": [{"smiles": "CCO"}]}, "needs a name"),
        ({"train": [{"smiles": "CCO", "name": "../a"}]}, "needs a name"),
        ({"train": [{"smiles": "CCO", "sequence": "AA", "name": "a"}]}, "give a sequence, or"),
        ({}, "no molecules"),
        ({"train": ["AA"], "per_split": {"test": {"frame": 3}}}, "frame"),
        ({"train": ["AA"], "per_split": {"tests": {}}}, "per_split"),
    ],
)
def test_bad_configurations_end_in_a_sentence(values, message):
    with pytest.raises(InputError, match=message):
        settings_for(**values)


# The shipped configurations.


def heavy_graph(sequence: str) -> str:
    """Hash of the heavy atoms alone: protonation does not make another molecule of a held-out one."""
    from openmm.app import PDBFile

    topology = PDBFile(io.StringIO(_heavy_atoms(parse_sequence(sequence)))).topology
    atoms = list(topology.atoms())
    return graph_hash(
        SimpleNamespace(
            n_atoms=len(atoms),
            atomic_numbers=[atom.element.atomic_number for atom in atoms],
            masses=[0.0] * len(atoms),
            bonds=[(bond.atom1.index, bond.atom2.index) for bond in topology.bonds()],
        )
    )


@pytest.mark.parametrize("name", REPORTED)
def test_no_configuration_learns_from_what_is_held_out(name):
    settings = load_settings(DatasetSettings, shipped_configs()[name])
    held_out = {heavy_graph(sequence): sequence for sequence in [*CAPPED, *DIPEPTIDES, *TETRAPEPTIDES]}
    assert len(held_out) == 65
    learned = [one.sequence for one in [*settings.train, *settings.validation]]
    assert [s for s in learned if heavy_graph(s) in held_out] == []
    assert {one.sequence for one in settings.test} == set(REPORTED[name])


def test_dipeptides_have_each_residue_equally_often_at_each_end():
    settings = load_settings(DatasetSettings, shipped_configs()["dataset-dipeptides"])
    for end in (0, 1):
        counts = Counter(one.sequence[end] for one in settings.train)
        assert set(counts.values()) == {6} and len(counts) == 20
    letters = "ARNDCQEGHILKMFPSTWYV"  # the rule in the file
    rule = [letters[i] + letters[(7 * i + s) % 20] for s in (4, 5, 7, 12, 13, 15) for i in range(20)]
    assert [one.sequence for one in settings.train] == rule


def test_longer_peptides_follow_their_rule_and_every_beginning_is_rich():
    settings = load_settings(DatasetSettings, shipped_configs()["dataset-longer-peptides"])
    letters = "ARNDCQEGHILKMFPSTWYVRHQWKL"  # the rule in the file

    def word(j: int, shifts: tuple[int, ...]) -> str:
        return "".join(letters[(m * j + s) % 26] for m, s in zip((1, 7, 15, 17), shifts, strict=False))

    first, second = ((0, 9, 4), (0, 5, 11, 2)), ((0, 5, 11), (0, 9, 4, 17))
    rule = [word(11 * k % 26, s) for both in (first, second) for k in range(26) for s in both]
    names = [one.sequence for one in settings.train]
    assert names == rule and len(set(names)) == 104
    shifts = (3, 14, 8, 21)
    kept = [*(word(j, shifts[:3]) for j in (3, 16)), *(word(j, shifts) for j in (4, 10, 18, 24))]
    assert [one.sequence for one in settings.validation] == kept
    for end in (26, 52, 104):  # what a part of the building time makes
        counts = Counter("".join(names[:end]))
        assert set(counts) == set(letters)
        rich = sum(counts[letter] for letter in "RHQWKL") / counts.total()
        assert abs(rich - 12 / 26) < 0.06, (end, rich)


def test_every_shipped_data_set_is_valid():
    names = [name for name in shipped_configs() if name.startswith("dataset-")]
    for name in names:
        settings = load_settings(DatasetSettings, shipped_configs()[name])
        for split in ("train", "validation", "test"):
            peptides = all(one.sequence is not None for one in getattr(settings, split))
            wanted = {300.0, 310.0} if peptides else {300.0, 600.0}
            assert wanted <= set(settings.simulation_of(split).temperatures)
    assert len(names) >= 2


# At the terminal.


def test_build_and_list_at_the_terminal(tmp_path, capsys):
    path = tmp_path / "small.yaml"
    path.write_text(
        "simulation: {evaluations: 100, temperatures: [300], equilibration: 0.01}\n"
        "train: [{sequence: ACE-GLY-NME, name: glycine}]\n"
    )
    words = ["dataset", "build", str(path), "simulation.frames=10", "-o", str(tmp_path / "D")]
    assert main(words) == 0
    assert main(["dataset", "list", str(tmp_path / "D"), "--verify"]) == 0
    told = capsys.readouterr().out
    assert told.count("glycine") == 2 and "complete" in told and "short" in told
    assert_refused([*words[:3], "simulation.frames=30", *words[4:]], "simulation.frames", "--rebuild glycine")
    assert_refused(["dataset", "list", tmp_path], "holds no dataset.json", "boltzgen dataset build")
    (tmp_path / "other/molecules").mkdir(parents=True)
    assert_refused([*words[:4], "-o", tmp_path / "other"], "holds other files")


def test_the_command_that_goes_on_does_not_rebuild_again():
    words = ["dataset", "build", "c.yaml", "--rebuild", "AA", "-o", "D", "--rebuild=CE"]
    assert _resume_command(words) == "boltzgen dataset build c.yaml -o D"


def test_the_manifest_follows_its_description():
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    for key in ("molecules", "graph", "sha256", "convergence", "boltzgen.dataset/1"):
        assert f"`{key}`" in text
