"""Runs the notebooks of this folder as they stand and keeps what they showed: text and pictures.

    python docs/tutorials/make.py [NAME ...]

The site shows those outputs (docs/reference/notebook_pages.py); tests/test_site.py runs the same cells with
smaller numbers. What a notebook shows as HTML (py3Dmol, tables) is left out: it would fetch a script.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).resolve().parent


def run(path: Path, replacements: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """The notebook at `path`, run in an empty folder after `replacements` in its code."""
    notebook = nbformat.read(path, as_version=4)
    for old, new in (replacements or {}).items():
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and old in cell.source]
        assert cells, f"{path.name}: {old!r} is to be changed in tests but is in no cell"
        for cell in cells:
            cell.source = cell.source.replace(old, new)
    with tempfile.TemporaryDirectory() as work:
        client = nbclient.NotebookClient(
            notebook,
            timeout=600,
            resources={"metadata": {"path": work}},
            coalesce_streams=True,  # what is printed slowly comes in several pieces
        )
        client.execute(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    return notebook


def kept(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its text and pictures alone, and nothing that changes from run to run."""
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = None
        cell.metadata = {}
        outputs = []
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stdout":
                outputs.append(output)
            elif output.output_type in ("display_data", "execute_result"):
                data = {key: output.data[key] for key in ("image/png",) if key in output.data}
                if not data and "application/3dmoljs_load.v0" not in output.data:
                    data = {"text/plain": output.data["text/plain"]}
                if data:
                    outputs.append(nbformat.v4.new_output("display_data", data=data))
        cell.outputs = outputs
    return notebook


if __name__ == "__main__":
    for found in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or found.stem in sys.argv[1:]:
            nbformat.write(kept(run(found)), found)
