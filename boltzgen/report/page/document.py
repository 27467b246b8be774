"""The whole page as text: sections in order, style and scripts inside, nothing from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from boltzgen.provenance import VERSION
from boltzgen.report.page.markup import Html, escaped, joined, tag
from boltzgen.report.page.record import SCHEMA, Material, Section

#: What the browser may do: run what stands in the page, and open no connection whatever.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def document(material: Material, sections: Sequence[Section], frames: Mapping[str, Any] | None = None) -> str:
    """The HTML file.

    frames: what the 3D view shows (`boltzgen.report.page.viewer`); None leaves the viewer out.
    """
    title = material.subject.line() or material.source
    links = joined(tag("a", one.title, href=f"#{one.name}") for one in sections)
    body = joined(
        Html(f'<section id="{escaped(one.name)}">{tag("h2", one.title)}{one.html}</section>\n')
        for one in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)} – boltzgen</title>\n<style>\n{asset('page.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{escaped(title)}</h1><p>Made by boltzgen {escaped(VERSION)} from "
        f"{escaped(material.source)}. This page needs no network.</p></header>\n"
        f'<nav aria-label="Sections"><div>{links}</div></nav>\n<main>\n{body}</main>\n'
        f"<footer>boltzgen {escaped(VERSION)}. Energies in kT unless said otherwise; "
        f"ΔG(A→B) = G(B) − G(A).</footer>\n{_scripts(frames)}</body>\n</html>\n"
    )


def numbers(material: Material, sections: Sequence[Section]) -> dict[str, Any]:
    """What the page says, as JSON: schema boltzgen.report/1."""
    subject = material.subject
    return {
        "schema": SCHEMA,
        "source": material.source,
        "kind": material.kind,
        "molecule": subject.molecule or None,
        "force_field": subject.force_field or None,
        "temperature_K": material.temperature,
        "version": VERSION,
        "sections": {one.name: one.numbers for one in sections},
        "figures": [picture.name for one in sections for picture in one.pictures],
    }


def _scripts(frames: Mapping[str, Any] | None) -> str:
    if frames is None:
        return f"<script>\n{asset('page.js')}</script>\n"
    data = json.dumps(frames, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return (
        f'<script type="application/json" id="frames">{data}</script>\n'
        f"<script>\n{asset('3Dmol-min.js')}\n</script>\n"
        f"<script>\n{asset('page.js')}\n{asset('viewer.js')}</script>\n"
    )


@cache
def asset(name: str) -> str:
    """The text of a file of this package."""
    found = resources.files("boltzgen") / "report" / "page" / "assets" / name
    return found.read_text(encoding="utf-8")
