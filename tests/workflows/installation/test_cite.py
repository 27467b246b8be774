"""``cite``: every reference is a whole BibTeX entry, every method has one, every kind of folder is read."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml
from helpers import ROOT, assert_refused, run_cli

from boltzgen import __version__
from boltzgen.flows.settings import FlowSettings
from boltzgen.free_energy import importance
from boltzgen.potentials.learned.backends import BACKENDS
from boltzgen.refine.draw import METHODS as REFINEMENTS
from boltzgen.report.citations import METHODS, SELF, citations, references
from boltzgen.system.described import FORCE_FIELDS, SOLVENTS
from boltzgen.system.parametrise.forcefield import DEFAULT_FORCEFIELD, IMPLICIT_MODELS
from boltzgen.system.parametrise.mmff import VARIANTS
from boltzgen.workflows.free_energy import between
from boltzgen.workflows.installation.cite import ESTIMATORS, OBSERVED, cite
from boltzgen_cli.main import main

#: What an entry of each type must hold.
REQUIRED = {
    "article": {"author", "title", "journal", "volume", "pages", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "book": {"author", "title", "publisher", "year"},
    "misc": {"author", "title"},
}


def parsed(entry: str) -> tuple[str, str, dict[str, str]]:
    """Type, key and fields of one BibTeX entry, read by its braces."""
    kind, key, rest = re.fullmatch(r"@(\w+)\{([a-z0-9]+),\n(.*)\}", entry, re.DOTALL).groups()
    fields: dict[str, str] = {}
    while rest.strip():
        name, rest = re.match(r"\s*(\w+) = \{(.*)", rest, re.DOTALL).groups()
        depth, end = 1, 0
        while depth:
            depth += {"{": 1, "}": -1}.get(rest[end], 0)
            end += 1
        assert name not in fields, f"{key}: {name} twice"
        fields[name], rest = rest[: end - 1], rest[end:].removeprefix(",")
    return kind, key, fields


@pytest.mark.parametrize("key", references())
def test_each_entry_is_whole_and_can_be_found(key):
    kind, named, fields = parsed(references()[key])
    assert named == key and REQUIRED[kind] <= set(fields), key
    assert all(value.strip() and value.count("{") == value.count("}") for value in fields.values())
    assert key == SELF or {"doi", "eprint", "isbn"} & set(fields), key
    assert re.fullmatch(r"10\.\d{4,5}/\S+", fields.get("doi", "10.1234/x"))
    assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.56789"))
    assert ("eprint" in fields) == (fields.get("archiveprefix") == "arXiv")
    assert 1950 <= int(fields.get("year", 2000)) <= 2030
    assert re.search(r"\d{4}$", key) is None or key.endswith(fields["year"])
    for name in fields["author"].split(" and "):
        assert "," in name or name in ("others", "{boltzgen developers}"), name


def test_no_work_is_there_twice_and_none_without_use():
    fields = [parsed(entry)[2] for entry in references().values()]
    for name in ("doi", "eprint", "title"):
        values = [one[name] for one in fields if name in one]
        assert len(values) == len(set(values)), name
    used = {key for method in METHODS.values() for key in method.keys}
    assert used | {SELF} == set(references())


def test_boltzgen_is_cited_as_its_citation_file_says():
    known = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    _, _, own = parsed(references()[SELF])
    assert own["title"] == known["title"] and own["note"] == f"Version {__version__}"
    assert known["version"] == __version__
    listed = {parsed(entry)[2].get("doi") for entry in references().values()}
    titles = {re.sub(r"[{}]", "", parsed(entry)[2]["title"]) for entry in references().values()}
    for work in known["references"]:
        assert work.get("doi") in listed or work["title"] in titles, work["title"]


def test_every_method_that_can_be_asked_for_has_an_entry():
    assert set(SOLVENTS) == set(IMPLICIT_MODELS)
    found = {*FORCE_FIELDS.values(), *SOLVENTS.values(), *ESTIMATORS.values(), *REFINEMENTS}
    found |= set(OBSERVED.values())
    found |= {name for name in BACKENDS.own if name != "torchscript"}  # a file of the user's own
    found |= set(get_args(FlowSettings.model_fields["kind"].annotation))
    assert found <= set(METHODS)
    for name in (*DEFAULT_FORCEFIELD, *VARIANTS):
        assert any(name.startswith(start) for start in FORCE_FIELDS), name


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        (importance.SELF_NORMALISED, {"perturbation"}),
        (between.MAPPED, {"bar", "targeted"}),
        (between.DIRECT, {"bar"}),
        (between.SIMULATED, {"bar"}),
        ("one-sided: partition functions of both flows", {"perturbation"}),
        ("MBAR", {"mbar"}),
        ("frames counted", set()),
    ],
)
def test_estimators_are_known_by_their_words(words, methods):
    assert {method for known, method in ESTIMATORS.items() if re.search(known, words)} == methods


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("J3-HCCH:H1-H2", {"hla"}),
        ("J3-HCCH(Karplus):H1-H2", {"ethane_couplings"}),
        ("J3-HN-CB:3", {"peptide_couplings"}),
        ("hbond", {"baker_hubbard"}),
        ("hbond(wernet-nilsson):H1-O2", {"wernet_nilsson"}),
        ("J3(1,2,3):0-1-2-3", set()),
    ],
)
def test_observables_are_known_by_their_names(name, methods):
    assert {method for known, method in OBSERVED.items() if re.search(known, name, re.I)} == methods


def test_without_a_path_everything_is_cited():
    found = cite()
    assert found.methods == tuple(METHODS) and set(found.keys) == set(references())
    assert found.keys[0] == SELF and found.bibtex().count("\n@") == len(references())


def test_methods_are_named_once_and_in_order():
    found = citations("x", ["mbar", "openmm", "mbar", "ff99SB-ILDN", "ff99SB"], ["a.", "a."])
    assert found.methods == ("openmm", "ff99SB", "ff99SB-ILDN", "mbar") and found.notes == ("a.",)
    assert found.keys == (SELF, "eastman2024", "hornak2006", "lindorfflarsen2010", "shirts2008")
    text = found.bibtex()
    assert text.startswith("% What x used:\n%   molecular mechanics with OpenMM: eastman2024\n")
    assert "% a.\n" in text and text.count("@article{hornak2006,") == 1


# Folders of each kind -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """SYS, MD, RUN, OUT and OUT/free_energy.json of a shipped molecule; every step as small as can be."""
    folder = tmp_path_factory.mktemp("road")
    shutil.copytree(ROOT / "boltzgen" / "examples" / "alanine-dipeptide-sbg", folder / "SYS")
    config = {
        "system": "SYS",
        "reverse_kl": {"weight": 1.0, "batch_size": 4, "path_gradient": False},
        "reweighted": {"weight": [[0.0, 0.0], [1.0, 1.0]], "fresh": 4, "batch_size": 4, "trust_region": 1.0},
        "flow": {
            "kind": "coupling",
            "layers": 1,
            "hidden": 4,
            "bins": 3,
            "embedding": 4,
            "encoder_blocks": 0,
        },
        "optimizer": {"steps": 1},
        "evaluation": {"every": 1, "samples": 4},
        "workers": 1,
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "states.yaml").write_text(
        "states:\n  - {name: left, where: {phi: [-180, 0]}}\n  - {name: right, where: rest}\n"
        "differences: [[left, right]]\n"
    )
    simulate = "simulate SYS -o MD --engine torch --temperatures 300,330 --time 4fs --equilibration 0fs"
    for line in (
        f"{simulate} --save-interval 2fs --exchange-interval 2fs --replicas 2 --hydrogen-mass 3",
        "train config.yaml -o RUN",
        "sample RUN SYS -o OUT -n 30",
        "free-energy states OUT --states states.yaml",
    ):
        code, told = run(line, folder)
        assert code == 0, told
    assert "what to cite: boltzgen cite OUT/free_energy.json" in told
    return folder


def run(line: str, folder: Path) -> tuple[int, str]:
    """The exit code of a command run in `folder`, in this process, and what it said on standard error."""
    told = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(told),
    ):
        code = main(line.split())
    return code, told.getvalue()


MOLECULE = {"openmm", "peptide_builder", "ff99SB-ILDN", "obc"}
TRAINED = {"boltzmann_generator", "pytorch", "coupling", "soap", "reverse_kl", "reweighted", "trust_region"}
SAMPLED = MOLECULE | TRAINED | {"kish", "pareto", "mdtraj"}
FOLDERS = {
    "SYS": MOLECULE,
    "MD": MOLECULE | {"pytorch", "baoab", "replica_exchange", "hydrogen_mass", "inefficiency"},
    "RUN": MOLECULE | TRAINED,
    "RUN/model": {"boltzmann_generator", "pytorch", "coupling"},
    "OUT": SAMPLED,
    "OUT/free_energy.json": SAMPLED | {"perturbation"},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_each_kind_of_folder_says_what_it_used(road, name, tmp_path, command_server):
    """From any other folder: paths are sought around the folder that names them."""
    done = run_cli("cite", road / name, cwd=tmp_path, server=command_server)
    assert done.returncode == 0, done.stderr
    found = cite(road / name)
    assert set(found.methods) == FOLDERS[name] and found.notes == ()
    assert done.stdout == found.bibtex()


def test_what_lies_elsewhere_is_noted_and_no_other_molecule_is_taken_for_it(road, tmp_path, command_server):
    """Samples away from their model, beside a SYS of another molecule."""
    shutil.copytree(road / "OUT", tmp_path / "OUT")
    shutil.copytree(road / "SYS", tmp_path / "SYS")
    record = json.loads((tmp_path / "SYS" / "system.json").read_text())
    (tmp_path / "SYS" / "system.json").write_text(json.dumps({**record, "fingerprint": "of another"}))
    done = run_cli("cite", "OUT", cwd=tmp_path, server=command_server)
    assert "RUN is not here" in done.stderr and "SYS is not here" in done.stderr
    assert "% RUN is not here" in done.stdout and "lindorfflarsen2010" not in done.stdout


def changed(road, folder, **options):
    """A copy of SYS with other options of its preparation, or another energy model."""
    shutil.copytree(road / "SYS", folder)
    record = json.loads((folder / "system.json").read_text())
    region = options.pop("region", None)
    record["provenance"]["options"] |= options
    record["energy_model"]["region"] = region
    (folder / "system.json").write_text(json.dumps(record))
    return cite(folder)


@pytest.mark.parametrize(
    ("options", "methods", "note"),
    [
        ({"forcefield": ["amber14-all.xml"], "implicit": "none"}, {"ff14SB"}, None),
        ({"forcefield": ["amber19/protein.ff19SB.xml"], "implicit": "gbn2"}, {"ff19SB", "gbn2"}, None),
        ({"forcefield": ["mmff94s"], "implicit": "obc2"}, {"mmff94s", "obc"}, None),
        ({"forcefield": ["mine.xml"], "implicit": "none"}, set(), "The force field mine.xml is not known"),
        ({"forcefield": None, "implicit": "none"}, set(), "came with its parameters"),
        (
            {"region": {"backend": "gfn2", "atoms": [0], "options": {"solvent": "water"}, "links": []}},
            {"ff99SB-ILDN", "obc", "gfn2", "alpb"},
            None,
        ),
        (
            {"region": {"backend": "theirs", "atoms": [0], "options": {}, "links": []}},
            {"ff99SB-ILDN", "obc"},
            "`ml='theirs'` is not ours",
        ),
    ],
)
def test_force_fields_solvents_and_regions(road, tmp_path, options, methods, note):
    found = changed(road, tmp_path / "SYS", **options)
    assert set(found.methods) == methods | {"openmm", "peptide_builder"}
    assert found.notes == () if note is None else note in found.notes[0]


def test_results_of_several_ends_lead_to_each(road, tmp_path):
    """As between and mbar write them: two ends, target samples, a leg of a cycle, frames of states."""
    leg = {"schema": "boltzgen.free_energy/1", "estimates": [{"estimator": "MBAR", "k_hat": None}]}
    (tmp_path / "leg.json").write_text(json.dumps(leg))
    (tmp_path / "frames.dcd").write_bytes(b"CORD")
    both = {
        "schema": "boltzgen.free_energy/1",
        "estimates": [{"estimator": "cycle: BAR, map of both flows, minus MBAR", "k_hat": 0.3}],
        "states": [{"name": "a", "samples": [{"source": str(road / "MD")}]}],
        "provenance": {
            "A": {"samples": None, "model": "peptides-ff14sb-obc1", "system": "model:double-well"},
            "B": {"samples": "gone", "target_samples": {"source": "frames.dcd"}},
            "relative_to": {"file": "leg.json"},
        },
    }
    (tmp_path / "both.json").write_text(json.dumps(both))
    assert set(cite(tmp_path / "leg.json").methods) == {"kish", "mbar"}
    found = cite(tmp_path / "both.json")
    assert {"bar", "targeted", "mbar", "pareto", "autoregressive", "baoab"} <= set(found.methods)
    assert "coupling" not in found.methods
    assert any(note.startswith("gone is not here") for note in found.notes)
    assert any("frames.dcd was not made by boltzgen" in note for note in found.notes)


def test_the_references_come_with_the_package():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "report/*.bib" in setup["tool"]["setuptools"]["package-data"]["boltzgen"]


def test_a_shipped_model_and_an_example_are_found_by_name():
    assert {"autoregressive", "soap"} <= set(cite("peptides-ff14sb-obc1").methods)
    assert set(cite("example:elil").methods) == MOLECULE


def test_bad_input_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.json").write_text('{"schema": ')
    (tmp_path / "other.json").write_text('{"schema": "boltzgen.selftest/1"}')
    (tmp_path / "MD").mkdir()
    (tmp_path / "MD" / "manifest.json").write_text('{"schema": "other/1"}')
    (tmp_path / "SYS").mkdir()
    (tmp_path / "SYS" / "system.json").write_text("[]")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    assert_refused(["cite", tmp_path / "absent"], "absent", "no such file or folder")
    assert_refused(["cite", tmp_path / "empty"], "neither SYS, MD", "system.json")
    assert_refused(["cite", tmp_path / "cut.json"], "cut.json", "not valid JSON")
    assert_refused(["cite", tmp_path / "other.json"], "boltzgen.selftest/1", "boltzgen.free_energy/1")
    assert_refused(["cite", tmp_path / "MD"], "'other/1'")
    assert_refused(["cite", tmp_path / "SYS"], "expected a JSON object")
    assert_refused(["cite", tmp_path / "image.png"], "image.png")
