"""The part of the site that is made when it is built (a hook of MkDocs, named in mkdocs.yml).

Added are the reference of commands, of keys and of the Python face, and the notebooks of docs/tutorials.
Comments that steer the tests leave the pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import command_pages
import key_pages
import notebook_pages
import python_pages
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]

#: Page -> what writes it.
PAGES = {
    "reference/commands.md": command_pages.page,
    "reference/keys.md": key_pages.page,
    "reference/python.md": python_pages.page,
}

#: A comment of tests/test_docs.py before a block; a block that becomes a file gets its name as title.
_STEERING = re.compile(r"^<!-- (in tests|not run|file): (.*?) -->\n(```\w*)", re.MULTILINE)
_UNSEEN = re.compile(r"^<!-- before:\n.*?^-->\n", re.MULTILINE | re.DOTALL)


def on_files(files, config):
    """The generated pages, beside those that lie in docs/."""
    for address, write in PAGES.items():
        files.append(File.generated(config, address, content=write()))
    for notebook in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        for address, content in notebook_pages.pages(notebook).items():
            files.append(File.generated(config, address, content=content))
        files.remove(files.src_uris[f"tutorials/{notebook.name}"])
    return files


def on_page_markdown(markdown, **_):
    """A page without the comments for the tests."""

    def shown(match):
        title = f' title="{match[2]}"' if match[1] == "file" else ""
        return match[3] + title

    return _STEERING.sub(shown, _UNSEEN.sub("", markdown))
