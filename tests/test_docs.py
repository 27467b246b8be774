"""The documents: every snippet runs, every claim that can be checked is.

In README.md and docs/, a fenced ``python`` block runs in a process of its own, and each ``$`` line of
a ``console`` block in a shell; the blocks of one document run in order in one folder. Python and boltzgen
are forked from a server that has imported torch and OpenMM (tests/processes/command_server.py). A comment
before a block changes what runs, so that tests stay small, or writes the block to a file::

    <!-- in tests: -n 20000 => -n 50; --time 2ns => --time 2ps -->
    <!-- not run: needs a GPU -->
    <!-- file: states.yaml -->

``short-roads run`` is ``boltzgen run`` with short simulations (tests/processes/short_roads.py).
Lines ``<!-- before:`` ... ``-->`` hold a Python program that runs in their place and that no reader sees: it
makes the files that a reader would bring.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass

import pytest
from helpers import ROOT

from boltzgen import errors
from boltzgen_cli import main

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"<!-- before:\n(?P<unseen>.*?)^-->\n|"
    r"(?:<!-- (?P<directive>in tests|not run|file): (?P<detail>.*?) -->\n)?"
    r"```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def _name(document) -> str:
    return str(document.relative_to(ROOT)).removeprefix("docs/")


@dataclass(frozen=True)
class Snippet:
    """One fenced block that runs."""

    language: str
    code: str
    file: str | None = None


def snippets(text: str) -> list[Snippet]:
    """The blocks of a document that run, with the substitutions of their comments made."""
    found = []
    for match in _BLOCK.finditer(text):
        if match["unseen"]:
            found.append(Snippet("python", match["unseen"]))
            continue
        if match["directive"] == "file":
            found.append(Snippet(match["language"], match["code"], match["detail"]))
            continue
        if match["language"] not in ("python", "console") or match["directive"] == "not run":
            continue
        code = match["code"]
        for change in (match["detail"] or "").split(";") if match["directive"] == "in tests" else ():
            old, new = (part.strip() for part in change.split("=>"))
            assert old in code, f"{old!r} is to be changed in tests but is not in the block:\n{code}"
            code = code.replace(old, new)
        found.append(Snippet(match["language"], code))
    return found


@pytest.fixture
def shell(tmp_path, command_server):
    """An environment in which ``boltzgen`` and ``python`` are this Python's, and no bar is drawn."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    short = str(ROOT / "tests" / "processes" / "short_roads.py")
    for name, words in (("boltzgen", ["-m", "boltzgen_cli"]), ("python", []), ("short-roads", [short])):
        script = scripts / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(command_server.words(*words))} "$@"\n')
        script.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    return work, {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_snippets_run(document, shell):
    folder, environment = shell
    for snippet in snippets(document.read_text(encoding="utf-8")):
        if snippet.file is not None:
            (folder / snippet.file).write_text(snippet.code)
            continue
        for command in commands(snippet):
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{document.name}: {command}\n{done.stdout}{done.stderr}"


def commands(snippet: Snippet) -> list[list[str]]:
    """What to execute for one block: a Python program, or one shell line for each ``$`` (with ``\\``)."""
    if snippet.language == "python":
        return [["python", "-c", snippet.code]]
    joined = snippet.code.replace("\\\n", " ")
    return [["bash", "-c", line[2:]] for line in joined.splitlines() if line.startswith("$ ")]


def test_snippets_are_found_and_changed():
    text = "<!-- in tests: 20000 => 7; a => b -->\n```console\n$ x a \\\n  -n 20000\noutput\n```\n"
    text += "<!-- not run: slow -->\n```python\nboom\n```\n```yaml\nk: 1\n```\n"
    text += "<!-- file: k.yaml -->\n```yaml\nk: 2\n```\n<!-- before:\nprint(3)\n-->\n"
    snippet, written, unseen = snippets(text)
    assert written == Snippet("yaml", "k: 2\n", "k.yaml")
    assert commands(snippet) == [["bash", "-c", "x b    -n 7"]]
    assert unseen == Snippet("python", "print(3)\n")


def test_every_verb_and_exit_code_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for verb in main.VERBS:
        assert f"`boltzgen {verb}`" in text
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_and_pictures_exist(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http:", "https:")):
            place = document.parent / target
            assert place.exists() or _made(place), f"{document.name}: {target}"


def _made(place) -> bool:
    """Whether the build of the site writes this page (docs/reference/make.py)."""
    if place.parent.resolve() == ROOT / "docs" / "tutorials":
        return place.with_suffix(".ipynb").exists()
    make = (ROOT / "docs" / "reference" / "make.py").read_text(encoding="utf-8")
    return place.parent.resolve() == ROOT / "docs" / "reference" and f'"reference/{place.name}"' in make


def test_citation_names_this_version():
    from boltzgen import __version__

    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_summary_keys_are_documented():
    """Every key of a summary is explained in docs/files.md; the golden file is the ensemble tests'."""
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    for golden in (ROOT / "tests").rglob("golden/summary.json"):
        for key in json.loads(golden.read_text(encoding="utf-8")):
            assert f"`{key}`" in text or key == "schema", key
