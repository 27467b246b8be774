"""Notebooks as pages: their text, their code and what it showed, without running anything."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def pages(notebook: Path) -> dict[str, str | bytes]:
    """Address in the site -> content: the page of a notebook, and its pictures."""
    name = notebook.stem
    found: dict[str, str | bytes] = {}
    text: list[str] = []
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text += [source, ""]
            continue
        text += ["```python", source, "```", ""]
        for place, output in enumerate(cell["outputs"]):
            data = output.get("data", {})
            shown = "".join(output.get("text", data.get("text/plain", "")))
            if "image/png" in data:
                picture = f"{name}-{number}-{place}.png"
                found[f"tutorials/{picture}"] = base64.b64decode("".join(data["image/png"]))
                text += [f"![What the cell above shows]({picture})", ""]
            elif shown:
                text += ["```text", shown.rstrip("\n"), "```", ""]
    return {f"tutorials/{name}.md": "\n".join(text), **found}
