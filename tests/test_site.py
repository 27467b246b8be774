"""The site: built without a warning and without the network, short pages stay short, notebooks run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import yaml
from helpers import ROOT

DOCS = ROOT / "docs"
QUESTIONS = [DOCS / "index.md", *sorted((DOCS / "questions").glob("*.md"))]
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))

PAGES = [page for room in (DOCS, DOCS / "questions", DOCS / "measured") for page in sorted(room.glob("*.md"))]

#: What a page that answers a question may hold at most, so that it is read in two screens.
LINES, WORDS = 120, 700
#: Words of any other page; two, in which things are looked up, are longer.
MOST_WORDS = {"": 2000, "files.md": 4700, "commands.md": 3000}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning of MkDocs (a link, an anchor, a page that is missing) fails the build."""
    pytest.importorskip("material", reason="mkdocs-material is an extra of development")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTPS_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder


class _Loads(HTMLParser):
    """Addresses that a browser fetches by itself, and words that were meant as markup."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag != "a" and not (tag == "link" and given.get("rel") in ("prev", "next", "canonical")):
            self.addresses += [given[key] for key in ("src", "href", "srcset", "data") if given.get(key)]
        self.addresses += re.findall(r"url\(([^)]+)\)", given.get("style") or "")


def test_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.addresses
        foreign = [address for address in loads.addresses if re.match(r"(https?:)?//", address)]
        assert not foreign, f"{page.name}: {foreign}"
    for sheet in site.rglob("*.css"):
        found = re.findall(
            r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^)\"']+", sheet.read_text(encoding="utf-8")
        )
        assert not found, f"{sheet.name}: {found}"


def test_every_page_is_in_the_navigation():
    """A page that no menu names is not found; that each name of the menu exists, the build says."""
    text = re.sub(r"!!\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = set(re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load(text)["nav"])))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    pages |= {f"tutorials/{book.stem}.md" for book in NOTEBOOKS}
    assert pages <= named, f"add them to nav of mkdocs.yml: {sorted(pages - named)}"


def test_generated_pages_know_every_command_key_and_name(site):
    import boltzgen
    from boltzgen.training.settings import TrainingSettings
    from boltzgen_cli import main

    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for verb in main.VERBS:
        assert f'id="boltzgen-{verb}"' in commands
    keys = (site / "reference" / "keys.html").read_text(encoding="utf-8")
    for key in (*TrainingSettings.model_fields, "optimizer.steps", "reweighted.buffer", "flow.hidden"):
        assert key in keys
    names = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in boltzgen.__all__:
        assert f'id="{name.lower()}"' in names or name == "__version__"


def test_comments_for_the_tests_are_not_shown(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "in tests:" not in text and "not run:" not in text and "before:\nimport" not in text, page.name


@pytest.mark.parametrize("page", QUESTIONS, ids=lambda path: path.stem)
def test_a_question_is_answered_on_two_screens(page):
    text = page.read_text(encoding="utf-8")
    read = re.sub(r"<!--.*?-->\n", "", text, flags=re.DOTALL)
    assert len(read.splitlines()) <= LINES and len(read.split()) <= WORDS
    if page.stem != "index":
        assert "```console" in text and re.search(r"\*\*[^*]*minute", text, re.IGNORECASE)
        pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", text)
        assert pictures and all((page.parent / name).stat().st_size < 150_000 for name in pictures)


def test_the_first_page_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120 and "pip install" in text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook):
    """Every cell, with the numbers that the notebook's own metadata name for tests."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("run_notebooks", DOCS / "tutorials" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    stored = nbformat.read(notebook, as_version=4)
    ran = make.run(notebook, stored.metadata["in_tests"])
    for old, new in zip(stored.cells, make.kept(ran).cells, strict=True):
        if old.cell_type == "code":
            assert old.execution_count is None
            assert [_kind(each) for each in old.outputs] == [_kind(each) for each in new.outputs], old.source


def _kind(output) -> str:
    return output.output_type + " ".join(output.get("data", {}))


def _prose(page) -> list[str]:
    """The words of a page outside code, links' targets and rules of tables."""
    text = re.sub(r"^```.*?^```|<!--.*?-->", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    text = re.sub(r"\]\([^)]*\)|!\[[^\]]*\]|^\|?[-|: ]+\|$", " ", text, flags=re.M)
    return re.findall(r"[\w./%-]+", text.lower())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_begins_with_what_it_is_for(page):
    """A sentence follows the title, before any table, list or code; and no page is a book."""
    text = re.sub(r"<!--.*?-->\n", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    title, rest = text.split("\n", 1)
    said = rest.strip().split("\n\n")[0]
    assert title.startswith("# ") and re.match(r"[A-Za-z`]", said) and len(said.split()) >= 7, said
    assert len(text.split()) <= MOST_WORDS.get(page.name, MOST_WORDS[""])


def test_no_page_repeats_another():
    """Twelve words in a row stand on one page; the others link to it."""
    pages = [ROOT / "README.md", *PAGES]
    seen: dict[tuple[str, ...], str] = {}
    repeated = set()
    for page in pages:
        words, name = _prose(page), str(page.relative_to(ROOT))
        for start in range(len(words) - 11):
            other = seen.setdefault(tuple(words[start : start + 12]), name)
            if other != name:
                repeated.add(f"{other}, {name}: {' '.join(words[start : start + 12])}")
    assert not repeated, "\n".join(sorted(repeated))
