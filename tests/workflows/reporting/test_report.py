"""``report``: sections of each folder, numbers of the page, damaged folders, hostile text, same bytes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import ROOT
from report_cases import HOSTILE, weighted_frames, write_whole_run

import boltzgen as bg
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.errors import InputError
from boltzgen.workflows.reporting.report import report
from boltzgen_cli import main

WHOLE = [
    "answer",
    "molecule",
    "ensemble",
    "states",
    "ramachandran",
    "torsions",
    "weights",
    "overlap",
    "geometry",
    "training",
    "unchecked",
    "origin",
    "cite",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, alanine_dipeptide):
    return write_whole_run(tmp_path_factory.mktemp("run") / "DIR", alanine_dipeptide)


@pytest.fixture(scope="module")
def page(whole, tmp_path_factory):
    return report(whole, tmp_path_factory.mktemp("page") / "report.html")


class Elements(HTMLParser):
    """Every element with its attributes; text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text += data + " "

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.found)


def test_a_whole_run_has_every_section_in_order(page):
    assert list(page.numbers["sections"]) == WHOLE
    found = Elements(page.path.read_text(encoding="utf-8"))
    assert [attributes["id"] for tag, attributes in found.found if tag == "section"] == WHOLE
    assert [attributes["href"] for tag, attributes in found.found if tag == "a"] == [
        f"#{name}" for name in WHOLE
    ]
    assert page.path.stat().st_size < 5_000_000 and page.seconds < 60


def test_the_page_needs_nothing_from_outside(page):
    text = page.path.read_text(encoding="utf-8")
    found = Elements(text)
    assert not {"link", "iframe", "object", "embed", "img"} & {tag for tag, _ in found.found}
    assert not [1 for _, attributes in found.found if {"src", "srcset", "action"} & set(attributes)]
    assert "default-src 'none'" in text and "url(" not in text.partition("</style>")[0]
    (viewport,) = [a["content"] for tag, a in found.found if tag == "meta" and a.get("name") == "viewport"]
    assert "width=device-width" in viewport


def test_the_answer_stands_first_in_three_units_with_its_verdict(page):
    first = Elements(page.path.read_text(encoding="utf-8").partition('<section id="molecule">')[0]).text
    for words in (
        "kT",
        "kJ/mol",
        "kcal/mol",
        "Verdict",
        "φ > 0",
        "%",
        "ff99SB-ILDN",
        "300 K",
        "alanine-dipeptide",
    ):
        assert words in first, words
    answer = page.numbers["sections"]["answer"]
    (estimate,) = answer["estimates"]
    assert estimate["value"]["kT"] is not None and answer["verdict"] in ("ok", "caution", "unreliable")
    assert f"{estimate['value']['kT']:.1f}"[:3] in first


def test_numbers_are_json_and_say_what_the_ensemble_says(page, whole):
    numbers = json.loads(json.dumps(page.numbers, allow_nan=False))
    assert numbers["schema"] == "boltzgen.report/1" and numbers["temperature_K"] == 300.0
    ensemble = load_ensemble(whole / "OUT")
    weights = numbers["sections"]["weights"]
    w = ensemble.weights()
    assert weights["samples"] == len(ensemble) and weights["rejected"] == ensemble.rejected()
    assert weights["heaviest"][0]["row"] == int(w.argmax())
    assert weights["heaviest"][0]["share"] == pytest.approx(w.max())
    assert weights["running_ess"][-1]["effective"] == pytest.approx(1 / (w**2).sum(), rel=1e-3)
    names = [one["name"] for one in numbers["sections"]["torsions"]]
    assert {"phi", "psi"} <= set(names)
    phi = numbers["sections"]["torsions"][names.index("phi")]
    assert len(phi["edges"]) == len(phi["difference"]["value"]) + 1
    rows = numbers["sections"]["ensemble"]["rows"]
    assert len(rows) <= 200 and rows[0] == int(w.argmax()) and len(set(rows)) == len(rows)
    assert all(ensemble.valid[rows])
    cited = numbers["sections"]["cite"]
    assert "noe2019" in cited["keys"] and cited["bibtex"].count("@") == len(cited["keys"])
    digests = [one["sha256"] for one in numbers["sections"]["origin"]["files"]]
    assert len(digests) >= 6 and all(re.fullmatch("[0-9a-f]{64}", one) for one in digests)


def test_every_number_is_explained(page):
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    text = text.partition("written by `boltzgen report`")[2].partition("## The file of")[0]
    assert set(page.numbers) == {
        "schema",
        "source",
        "kind",
        "molecule",
        "force_field",
        "temperature_K",
        "version",
        "sections",
        "figures",
    }
    names = [*page.numbers, *page.numbers["sections"]]
    for section in page.numbers["sections"].values():
        for one in section[:1] if isinstance(section, list) else [section]:
            names += list(one) if isinstance(one, dict) else []
    missing = [name for name in names if f"`{name}`" not in text and name not in ("schema", "source")]
    assert not missing


def test_each_figure_is_a_file_too_and_names_what_it_is_of(page):
    names = page.numbers["figures"]
    assert sorted(path.stem for path in page.folder.iterdir()) == sorted(names) and len(set(names)) == len(
        names
    )
    for path in page.folder.iterdir():
        assert path.read_text(encoding="utf-8") in page.path.read_text(encoding="utf-8")
        words = " ".join(ElementTree.parse(path).getroot().itertext())
        if path.stem != "molecule":
            assert "alanine-dipeptide" in words and "ff99SB-ILDN" in words and "300 K" in words, path.stem
    assert {"ramachandran-2-simulation", "ramachandran-2-difference", "torsion-phi", "weights-sorted"} <= set(
        names
    )


def test_same_input_same_bytes(whole, page, tmp_path):
    again = report(whole, tmp_path / "report.html")
    assert again.path.read_bytes() == page.path.read_bytes() and again.numbers == page.numbers


PARTS = {
    "OUT": set(WHOLE) - {"training", "molecule", "geometry"},  # its SYS and RUN lie nowhere that it names
    "RUN": set(WHOLE) - {"weights", "overlap"},
    "MD": set(WHOLE) - {"weights", "overlap", "training"},
    "SYS": {"answer", "molecule", "ensemble", "unchecked", "origin", "cite"},
}


@pytest.mark.parametrize("name", PARTS)
def test_one_part_alone_gives_the_sections_that_it_has(name, whole, tmp_path):
    found = report(whole / name, tmp_path / "part.html", figures=False)
    assert found.numbers["kind"] == name and found.folder is None
    assert set(found.numbers["sections"]) == PARTS[name]
    assert not list(tmp_path.glob("*_files"))


def test_samples_lead_to_what_they_were_made_from(whole, alanine_dipeptide, tmp_path):
    ensemble = weighted_frames(alanine_dipeptide, 300)
    origin = {**ensemble.provenance, "system": str(whole / "SYS"), "model": str(whole / "RUN")}
    save_ensemble(replace(ensemble, provenance=origin), tmp_path / "OUT")
    found = report(tmp_path / "OUT", tmp_path / "p.html")
    assert list(found.numbers["sections"]) == WHOLE


def test_another_molecule_where_the_record_points_is_not_taken(whole, butane, alanine_dipeptide, tmp_path):
    butane.save(tmp_path / "SYS")
    ensemble = weighted_frames(alanine_dipeptide, 300)
    origin = {**ensemble.provenance, "system": str(tmp_path / "SYS")}
    save_ensemble(replace(ensemble, provenance=origin), tmp_path / "OUT")
    assert "molecule" not in report(tmp_path / "OUT", tmp_path / "p.html").numbers["sections"]


DAMAGE = {
    "OUT/samples.npz": b"PK\x03\x04 nothing",
    "OUT/samples.dcd": b"short",
    "OUT/manifest.json": b"{",
    "OUT/manifest.json with a number for states": b"",
    "OUT/summary.json": b'{"schema": "boltzgen.summary/1", "ess": "much"}',
    "MD/frames.npz": b"",
    "MD/manifest.json": b"[]",
    "CHECK/frames.npz": b"PK",
    "SYS/system.json": b"{}",
    "SYS/system.xml": b"<System>",
    "RUN/metrics.jsonl": b'{"step": "one"}\n{"step": 3}\n',
    "RUN/config.yaml": b"- 1",
    "RUN/environment.json": b"[1",
    "RUN/model/model.json": b'{"files": 3}',
    "free_energy.json": b'{"estimates": [{"name": 3}]}',
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named_and_the_rest_is_shown(name, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "DIR")
    name, changed, _ = name.partition(" with ")
    content = DAMAGE.get(name, b"")
    if changed:
        record = json.loads((whole / name).read_text())
        record["coverage"]["states"] = 3.0
        content = json.dumps(record).encode()
    (tmp_path / "DIR" / name).write_bytes(content)
    found = report(tmp_path / "DIR", tmp_path / "p.html")
    told = found.numbers["sections"]["answer"]["could_not_be_read"]
    assert any(Path(name).parts[0] in one for one in told) or name.startswith("RUN/model"), told
    assert len(found.numbers["sections"]) >= 5


def test_next_steps_are_calls_and_none_of_them_is_this_page(whole, tmp_path):
    for name in ("SYS", "MD", "OUT"):
        told = report(whole / name, tmp_path / "p.html", figures=False).numbers["sections"]["answer"]["next"]
        assert told and all(re.fullmatch(r"[^`]+: `\w+\(.*\)`", one) for one in told)
        assert not [one for one in told if "report(" in one]


def test_parts_that_are_missing_leave_no_empty_section(whole, tmp_path):
    for name in ("SYS", "OUT"):
        shutil.copytree(whole / name, tmp_path / "DIR" / name)
    sections = report(tmp_path / "DIR", tmp_path / "p.html").numbers["sections"]
    assert "training" not in sections and "simulation" not in str(sections["states"])
    assert any("simulation" in one for one in sections["unchecked"])


def test_what_cannot_have_a_page_is_one_sentence(whole, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "states.yaml").write_text("states: []\n")
    shutil.copytree(whole / "OUT", tmp_path / "OUT")
    (tmp_path / "OUT" / "samples.npz").write_bytes(b"nothing")
    (tmp_path / "OUT" / "manifest.json").write_text("{}")
    shutil.copytree(whole / "SYS", tmp_path / "SYS")
    (tmp_path / "SYS" / "system.json").write_text("{}")
    for name in ("empty", "states.yaml", "nowhere", "OUT", "SYS"):
        with pytest.raises(InputError) as error:
            report(tmp_path / name, tmp_path / "p.html")
        assert "\n" not in str(error.value) and name in str(error.value)
    with pytest.raises(InputError, match="is a folder"):
        report(whole, tmp_path)
    assert not (tmp_path / "p.html").exists()


def test_all_text_is_escaped(whole, alanine_dipeptide, tmp_path):
    place = tmp_path / "<b onclick='window.hostile=1'>DIR"
    shutil.copytree(whole, place)
    replace(alanine_dipeptide, name=HOSTILE).save(place / "SYS")
    ensemble = weighted_frames(alanine_dipeptide, 400, command=["boltzgen", HOSTILE])
    coverage = {**ensemble.coverage, "source": HOSTILE, "reasons": [HOSTILE], "verdict": "caution"}
    coverage["states"] = [
        {"name": HOSTILE, "target": 0.4, "target_error": 0.1, "reweighted": 0.5, "reweighted_error": 0.1}
    ]
    reason = np.where(ensemble.valid, "", HOSTILE)
    save_ensemble(replace(ensemble, coverage=coverage, reason=reason), place / "OUT")
    answer = json.loads((place / "free_energy.json").read_text())
    answer["estimates"][0] |= {
        "name": HOSTILE,
        "B": HOSTILE,
        "reasons": [HOSTILE],
        "estimator": HOSTILE,
        "overlap": 0.5,
    }
    answer["states"][0]["name"] = HOSTILE
    (place / "free_energy.json").write_text(json.dumps(answer))
    said = {
        "sentences": [HOSTILE],
        "reasons": [HOSTILE],
        "next": [HOSTILE],
        "verdict": "ok",
        "not_checked": [HOSTILE],
    }
    (place / "answer.json").write_text(json.dumps({**said, "road": {"name": HOSTILE, "reason": HOSTILE}}))
    (place / "run.json").write_text(json.dumps({"steps": [{"command": HOSTILE}]}))
    rows = [{"step": 1, HOSTILE: 3.0, "ess": 0.1}, {"step": 2, HOSTILE: 4.0, "ess": 0.2}]
    (place / "RUN" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "RUN" / "environment.json").write_text(json.dumps({"python": HOSTILE, "command": HOSTILE}))
    found = report(place, tmp_path / "p.html")
    text = found.path.read_text(encoding="utf-8")
    plain = Elements(text)
    assert plain.count("img") == 0 and plain.count("script") == 3 and plain.count("b") == 0
    assert not [1 for _, attributes in plain.found for name in attributes if name.startswith("on")]
    assert plain.text.count(HOSTILE) > 10  # it is shown as the text that it is
    for path in found.folder.iterdir():
        root = ElementTree.parse(path).getroot()
        assert not [one for one in root.iter() if one.tag.rpartition("}")[2] in ("img", "script", "b")]


def test_an_ensemble_without_weight_and_one_sample_have_pages(whole, alanine_dipeptide, tmp_path):
    ensemble = weighted_frames(alanine_dipeptide, 50)
    nothing = replace(
        ensemble,
        log_w=np.full(50, -np.inf),
        valid=np.zeros(50, dtype=bool),
        reason=np.full(50, "clash"),
    )
    for name, one in (("none", nothing), ("one", ensemble[:1]), ("two", ensemble[:2])):
        save_ensemble(one, tmp_path / name)
        found = report(tmp_path / name, tmp_path / f"{name}.html").numbers["sections"]
        assert found["weights"]["samples"] == len(one)


def test_answers_of_a_whole_run_lead_the_page(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "DIR")
    estimate = json.loads((whole / "free_energy.json").read_text())["estimates"][0]
    answer = {
        "schema": "boltzgen.answer/1",
        "status": "partial",
        "sentences": ["At 300 K the states hold: phi < 0 98 % (95 %: 95 to 99)."],
        "populations": [
            {
                "result": "torsions/phi",
                "name": "left",
                "population": 0.98,
                "standard_error": 0.01,
                "interval95": [0.952, 0.991],
            }
        ],
        "free_energies": [{**estimate, "result": "torsions/phi", "counts": True}],
        "verdict": "caution",
        "reasons": ["stopped by `max_time`"],
        "next": ["go on: `check('OUT', probe=True)`"],
        "road": {"name": "simulated", "reason": "no shipped model knows it"},
        "precision": {"asked_kT": 0.1, "reached_kT": 0.234},
    }
    (tmp_path / "DIR" / "answer.json").write_text(json.dumps(answer))
    steps = [{"command": "boltzgen prepare x.pdb -o DIR/SYS", "seconds": 1.0}, {"command": None}]
    (tmp_path / "DIR" / "run.json").write_text(json.dumps({"schema": "boltzgen.run/1", "steps": steps}))
    found = report(
        tmp_path / "DIR", tmp_path / "p.html", words=lambda text: text.replace("`max_time`", "--max-time")
    )
    told = found.numbers["sections"]["answer"]
    assert told["verdict"] == "caution" and told["next"] == answer["next"]
    assert told["populations"] == [
        {"name": "phi: left", "population": 0.98, "standard_error": 0.01, "interval95": [0.952, 0.991]}
    ]
    text = Elements(found.path.read_text()).text
    for words in (
        "98 % (95 %: 95 to 99)",
        "98.0 % (95.2 to 99.1)",
        "0.23 kT",
        "asked for 0.1 kT",
        "no shipped model knows it",
        "stopped by --max-time",
    ):
        assert words in text, words
    assert found.numbers["sections"]["origin"]["commands"] == ["boltzgen prepare x.pdb -o DIR/SYS"]


def test_the_command_prints_pure_json(whole, tmp_path, capsys):
    assert main.main(["report", str(whole), "-o", str(tmp_path / "r.html"), "--json"]) == 0
    told = capsys.readouterr()
    numbers = json.loads(told.out)
    assert numbers["schema"] == "boltzgen.report/1" and "written: " in told.err and " s)" in told.err
    assert (tmp_path / "r_files" / "torsion-phi.svg").is_file()
    assert main.main(["report", str(tmp_path / "nothing"), "-o", str(tmp_path / "r.html")]) == 2


def test_the_face_has_it(whole, tmp_path):
    found = bg.write_report(whole / "SYS", tmp_path / "r.html")
    assert isinstance(found, bg.Page) and found.path == tmp_path / "r.html" and "sections" in repr(found)
