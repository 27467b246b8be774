"""``show``: every kind of folder says what it is, is told apart from a damaged one, and its commands run."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import verbs
import yaml
from helpers import ROOT, assert_refused

import boltzgen as bg
from boltzgen.ensemble.topology import read_topology
from boltzgen.errors import InputError
from boltzgen.free_energy.states import read_states
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.reporting.kinds import _asked
from boltzgen.workflows.reporting.show import show
from boltzgen.workflows.simulation.asked import as_before, settings_of
from boltzgen.workflows.simulation.options import SimulateOptions
from boltzgen_cli.main import main

#: Folders of `verbs.make_inputs`, what each is, and numbers that it must say.
KINDS = {
    "SYS": ("SYS", {"atoms": "4 (4 heavy)", "held as given": "nothing"}),
    "MD300": ("MD", {"frames at each": 60, "temperatures, K": "300"}),
    "RUN": ("MODEL", {"flow": "coupling"}),
    "DRAWN": ("OUT", {"samples": 50, "temperature, K": 300.0, "drawn by": "RUN", "of the molecule": "SYS"}),
    "DATASET": ("DATA", {"molecules": 1}),
    "train.yaml": ("CONFIG", {"system": "model:double-well"}),
    "dataset.yaml": ("DATASET CONFIG", {"implicit": "none"}),
    "states.yaml": ("STATES", {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, butane: MolecularSystem) -> Path:
    folder = tmp_path_factory.mktemp("a folder")
    with contextlib.chdir(folder):
        verbs.make_inputs(Path(), butane)
        shutil.copy(ROOT / "tests/golden/free_energy.json", "free_energy.json")
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_says_what_it_is(name: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders)
    kind, numbers = KINDS[name]
    place = "RUN/model" if name == "RUN" else name
    found = show(place)
    assert (found.kind, found.status, found.faults) == (kind, "complete", ())
    assert numbers.items() <= found.numbers.items()
    assert found.steps and "when" in found.made
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["kind"] == kind and content["path"] == place
    assert repr(found).startswith(f"<Shown: {place} is ") and "<table>" in found._repr_html_()


SHIPPED = ["example:elil", "peptides-ff14sb-obc1", "butane"]


@pytest.mark.parametrize("name", [*KINDS, "free_energy.json", *SHIPPED])
def test_its_commands_can_be_pasted(name: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option is one of its verb, paths with spaces are quoted, and what is named is there."""
    monkeypatch.chdir(folders)
    place = folders / name if name in KINDS else name
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["show", str(place), "--json"]) == 0
    steps = json.loads(printed.getvalue())["next"]
    assert steps
    for step in steps:
        called = ast.parse(step["call"], mode="eval").body
        verb = called.func.id
        assert verb in bg.__all__  # the call is good Python, too
        inspect.signature(getattr(bg, verb)).bind(*called.args, **{one.arg: 0 for one in called.keywords})
        program, *words = shlex.split(step["command"])
        assert program == "boltzgen" and step["why"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*words, "--help"]) == 0, step
        named = [word.rpartition("=")[2] for word in words if str(folders) in word]
        assert not named or any(Path(word).exists() for word in named), step


def test_a_molecule_is_told_by_the_names_of_a_states_file(tmp_path: Path) -> None:
    """Each name of the tables is a coordinate that `free_energy_states` reads, of the atoms beside it."""
    for options in ({"sequence": "AIK", "minimize": False}, {"smiles": "OC1CCCCC1CC#N"}):
        system = prepare(None, tmp_path / "SYS", overwrite=True, **options).system
        tables = {table.title: table for table in show(tmp_path / "SYS").tables}
        assert len(tables["atoms"].rows) == system.n_atoms
        first = "N" if "sequence" in options else "O"
        assert tables["atoms"].rows[0][:3] == (0, system.atom_names[0].atom, first)
        topology = read_topology(system.topology_pdb)
        told = [(table, row) for table in tables if table != "atoms" for row in tables[table].rows if row[-1]]
        assert len(told) >= 3
        for table, row in told:
            declared = yaml.safe_load(row[-1]) if "{" in row[-1] else {}
            name = next(iter(declared), row[-1])
            span = [0, 90] if "pucker" in row[-1] else [-180, 0]
            states = [{"name": "a", "where": {name: span}}, {"name": "b", "where": "rest"}]
            content = {"states": states, **({"coordinates": declared} if declared else {})}
            (tmp_path / "s.json").write_text(json.dumps(content))
            variable = read_states(tmp_path / "s.json", topology).states[0].where[0][0]
            if table == "torsions":
                assert row[1] == ", ".join(map(str, variable.atoms))
            else:
                shown = {str(system.atom_names[atom].atom) for atom in variable.atoms}
                assert set(row[2].split("-")) == shown


def test_older_molecules_without_their_shape_say_the_same(tmp_path: Path) -> None:
    prepare(None, tmp_path / "SYS", smiles="CC(=O)NC1CCCCC1")
    before = show(tmp_path / "SYS")
    place = tmp_path / "SYS" / "system.json"
    record = json.loads(place.read_text())
    del record["provenance"]["shape"], record["content_sha256"], record["files"]
    place.write_text(json.dumps(record))
    after = show(tmp_path / "SYS")
    assert after.tables == before.tables and after.numbers == before.numbers
    assert after.compared == "there, without hashes to compare"


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("SYS", "system.xml", "system.xml is missing"),
        ("SYS", "system.json", "the record itself was changed"),
        ("MD300", "frames.npz", "frames.npz is missing"),
        ("RUN/model", "weights.safetensors", "weights.safetensors is missing"),
        ("DRAWN", "samples.dcd", "samples.dcd is missing"),
        ("DATASET", "molecules/methanol/SYS/system.xml", "1 files are missing, the first molecules/methanol"),
    ],
)
def test_damage_is_told_with_code_2(name: str, file: str, words: str, folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders / name, tmp_path / "broken")
    if file.endswith(".json"):
        record = json.loads((place / file).read_text())
        (place / file).write_text(json.dumps({**record, "name": "another"}))
    else:
        (place / file).unlink()
    found = show(place)
    assert found.status == "damaged" and words in found.reason and not found.steps
    assert_refused(["show", place], words, "is damaged")


@pytest.mark.parametrize(("change", "words"), [(b"x", "bytes, "), (b"", "its SHA-256 is another")])
def test_changed_bytes_are_seen(change: bytes, words: str, folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders / "SYS", tmp_path / "SYS")
    text = (place / "system.xml").read_bytes()
    (place / "system.xml").write_bytes(text + change if change else text.replace(b"1", b"2", 1))
    assert words in show(place).reason


def test_a_partial_folder_is_whole_in_its_files_and_goes_on(folders: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folders / "MD300", tmp_path / "MD")
    shutil.copytree(folders / "SYS", tmp_path / "SYS")
    record = json.loads((place / "manifest.json").read_text())
    record.pop("content_sha256")
    changed = {**record, "status": "partial", "reason": "stopped by SIGTERM"}
    (place / "manifest.json").write_text(json.dumps(changed))
    found = show(place)
    assert (found.status, found.reason, found.whole) == ("partial", "stopped by SIGTERM", False)
    assert found.rows()["whole"] == "partial: stopped by SIGTERM"
    step = found.steps[0].call
    assert step.startswith(f'simulate("{tmp_path / "SYS"}"') and 'resume="auto"' in step


OF_TORCH = {"replicas": 8, "hydrogen_mass": 3.0, "torsion_moves": 5, "precision": "double"}


@pytest.mark.parametrize("engine", ["openmm", "torch"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperatures": "300,347.25", "time": "1.234567ns", "timestep": "2fs", "seed": 7},
        {"friction": 1.5, "exchange_interval": "0.1ps", "save_interval": "0.2ps", "equilibration": "0.4ps"},
        {"ring_moves": 0},
    ],
)
def test_what_goes_on_is_the_simulation_that_was_begun(engine: str, options: dict[str, object]) -> None:
    """The call of `show` asks for the settings that a manifest holds, whatever was said and left open."""
    given = SimulateOptions(engine=engine, **options, **(OF_TORCH if engine == "torch" else {}))
    begun = settings_of(given, engine)
    manifest = {"settings": {**vars(begun), "engine": engine}, "platform": "Reference"}
    manifest = json.loads(json.dumps(manifest))
    again = as_before(SimulateOptions(**_asked(manifest["settings"])), manifest)
    assert settings_of(again, again.engine) == begun and again.engine == engine


def test_the_drawing(folders: Path, tmp_path: Path) -> None:
    found = show(folders / "SYS", picture=tmp_path / "x.svg")
    assert found.picture == tmp_path / "x.svg" and "<svg" in found.picture.read_text()
    with pytest.raises(InputError, match=r"`picture=.*a drawing is of a SYS folder"):
        show(folders / "MD300", picture=tmp_path / "y.svg")
    assert_refused(["show", "example:elil", "--picture", tmp_path / "y.jpg"], "--picture", ".svg or .png")


def test_nothing_and_others_end_with_code_2(tmp_path: Path) -> None:
    assert_refused(["show", tmp_path / "nowhere"], "no such file or folder")
    assert_refused(["show", tmp_path], "is empty")
    (tmp_path / "SYS").mkdir()
    (tmp_path / "SYS" / "system.json").write_text('{"schema": "boltzgen.system/1"}')
    assert_refused(["show", tmp_path / "SYS"], "system.json: damaged, the key 'name' is missing")


@pytest.mark.parametrize("name", [*KINDS, "free_energy.json"])
def test_nothing_heavy_is_loaded(name: str, folders: Path) -> None:
    """What takes time to import: half a second is left for a folder, most of which Python and Typer take."""
    place = folders / ("DATASET/molecules/methanol/SYS" if name == "SYS" else name)
    program = (
        "import sys; from boltzgen_cli.main import main; "
        f"code = main(['show', {str(place)!r}, '--json']); "
        "heavy = {'torch', 'openmm', 'mdtraj', 'h5py', 'scipy', 'rdkit', 'numpy', 'pandas', 'matplotlib'}; "
        "sys.stderr.write('loaded:' + ' '.join(sorted(heavy & set(sys.modules)))); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.endswith("loaded:"), done.stderr


def test_the_face_has_it(folders: Path) -> None:
    assert bg.show(folders / "DRAWN").kind == "OUT" and isinstance(bg.show(folders / "SYS"), bg.Shown)


def test_an_answer_with_its_steps(tmp_path: Path) -> None:
    run = {
        "schema": "boltzgen.run/1",
        "status": "partial",
        "question": {"molecule": "smiles=CCCC", "temperature": 310.0},
        "road": {"name": "simulated", "reason": "no shipped model knows it"},
        "steps": [
            {"name": "simulate", "status": "complete", "seconds": 7.5, "command": "boltzgen simulate SYS"}
        ],
    }
    answer = {
        "sentences": ["At 310 K the states hold: trans 61 % (95 %: 57 to 65)."],
        "verdict": "caution",
        "reasons": ["coverage not checked"],
        "next": ["more time"],
        "precision": {"asked_kT": 0.1, "reached_kT": 0.25},
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    found = show(tmp_path)
    assert (found.kind, found.status, found.reason) == ("DIR", "partial", "it was stopped before its end")
    assert found.numbers["road"] == "simulated" and found.numbers["largest error, kT"] == 0.25
    assert [table.title for table in found.tables] == ["answer", "what was done"]
    assert found.reasons == ("coverage not checked", "what helps: more time")
    (tmp_path / "run.json").write_text(json.dumps({**run, "status": "running"}))
    assert "the same command goes on" in show(tmp_path).reason


#: What takes the place of a value in a damaged record.
OTHERS = [None, True, -7, 3.5, "x", [], {}, [None], {"kT": "x"}, "../..", [[1, 2], "a"]]


def changed(value: object, rng: random.Random) -> object:
    """`value` with something in it replaced or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], changed(value[place], rng), *value[place + 1 :]]
    return rng.choice(OTHERS)


RECORDS = [
    ("free_energy.json", "free_energy.json"),
    ("DRAWN", "manifest.json"),
    ("DRAWN", "summary.json"),
    ("MD300", "manifest.json"),
    ("DATASET", "dataset.json"),
    ("DATASET/molecules/methanol/SYS", "system.json"),
    ("RUN/model", "model.json"),
    ("states.yaml", "states.yaml"),
    ("train.yaml", "train.yaml"),
]


@pytest.mark.parametrize(("name", "file"), RECORDS)
def test_a_damaged_record_is_refused_or_shown_never_a_traceback(
    name: str, file: str, folders: Path, tmp_path: Path
) -> None:
    rng = random.Random(f"{name} {file}")
    source = folders / name
    place = tmp_path / Path(name).name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
    target = place / file if source.is_dir() else place
    content = json.loads(target.read_text())
    content.pop("content_sha256", None)
    for _ in range(60):
        target.write_text(json.dumps(changed(content, rng)))
        with contextlib.suppress(InputError):
            json.dumps(show(place).to_json())
