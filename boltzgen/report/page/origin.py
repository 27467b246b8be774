"""What was not checked; how everything was made; what to cite."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from boltzgen.report.page.markup import bullets, facts, folded, joined, prose, table, tag
from boltzgen.report.page.record import Material, Section, part, several


def unchecked(material: Material) -> Section | None:
    """The section ``unchecked``: sentences on what nobody looked at."""
    found = [str(one) for one in several(material.answer, "not_checked")]
    ensemble, coverage = material.ensemble, part(material.manifest, "coverage")
    if ensemble is not None:
        if not coverage:
            found.append("Whether the flow misses part of the target: no samples but its own were looked at.")
        if not coverage.get("examination"):
            found.append("Whether stored densities and energies are right: `check()` computes them anew.")
        if material.manifest.get("status") == "partial":
            found.append("The samples are part of what was asked for: the run was stopped.")
        if material.frames is None and material.checks is None:
            found.append("Agreement with a simulation: there are no frames of one to compare with.")
    if material.molecule is not None:
        found += _of_energy(part(material.molecule.provenance, "translation_check"))
    if material.frames is not None:
        if material.simulation.get("status") not in (None, "complete"):
            found.append(f"The simulation is {material.simulation.get('status')}.")
        found += [str(one) for one in several(part(material.simulation, "rings"), "missing")]
    if material.free_energy or ensemble is not None or material.frames is not None:
        found.append("The force field: all numbers are those of its energy, not of an experiment.")
    if not found:
        return None
    return Section("unchecked", "Not checked", bullets(prose(one, material.words) for one in found), found)


def _of_energy(compared: Mapping[str, Any]) -> list[str]:
    """What is to be said of our energy of the molecule, as `prepare` held it against OpenMM's."""
    if compared.get("agrees") is False:
        return [f"Our energy of this molecule is not OpenMM's: {compared.get('refused')}"]
    if "max_relative_energy_difference" in compared:
        return []
    return ["Whether our energy of this molecule is OpenMM's: nothing was compared when it was prepared."]


def origin(material: Material) -> Section:
    """The section ``origin``: commands, versions, seeds and hashes."""
    commands, seeds, versions = _commands(material), _seeds(material), _versions(material)
    rows = [
        *((f"seed of {name}", value) for name, value in seeds.items()),
        *((f"version of {name}", value) for name, value in versions.items()),
    ]
    lines = tag("pre", "\n".join(commands)) if commands else tag("p", "No command was recorded.")
    kept = facts(dict(rows))
    hashes = table(("file", "SHA-256"), material.files) if material.files else ""
    numbers = {
        "commands": commands,
        "seeds": seeds,
        "versions": versions,
        "files": [{"path": path, "sha256": digest} for path, digest in material.files],
    }
    folded_hashes = folded(f"Hashes of {len(material.files)} files", hashes) if hashes else ""
    return Section("origin", "How it was made", joined([lines, kept, folded_hashes]), numbers)


def _commands(material: Material) -> list[str]:
    steps = [part({"step": one}, "step").get("command") for one in several(material.run, "steps")]
    if not any(steps):
        steps = [
            material.simulation.get("command"),
            part(material.training, "environment").get("command"),
            material.manifest.get("command"),
        ]
    return list(dict.fromkeys(_line(one) for one in steps if one))


def _line(command: Any) -> str:
    return shlex.join(map(str, command)) if isinstance(command, list | tuple) else str(command)


def _seeds(material: Material) -> dict[str, Any]:
    known = {
        "simulation": material.simulation.get("seed"),
        "training": part(material.training, "config").get("seed"),
        "samples": material.manifest.get("seed"),
        "free energy": part(material.free_energy, "provenance").get("seed"),
    }
    return {name: value for name, value in known.items() if value is not None}


def _versions(material: Material) -> dict[str, Any]:
    """The versions that made each part; where parts differ, each is named."""
    environment = part(material.training, "environment")
    records: list[tuple[str, Mapping[str, Any]]] = [
        ("system", part(part(material.system, "provenance"), "versions")),
        ("simulation", part(material.simulation, "versions")),
        (
            "training",
            {key: environment.get(key) for key in ("python", "torch", "openmm") if environment.get(key)},
        ),
        ("samples", part(material.manifest, "versions")),
    ]
    found: dict[str, dict[str, str]] = {}
    for where, versions in records:
        for name, value in versions.items():
            found.setdefault(name.removesuffix("-sampler"), {})[where] = str(value)
    return {
        name: next(iter(by.values()))
        if len(set(by.values())) == 1
        else ", ".join(f"{value} ({where})" for where, value in by.items())
        for name, by in found.items()
    }


def literature(material: Material) -> Section | None:
    """The section ``cite``: the methods that were used, and their BibTeX."""
    found = material.citations
    if found is None:
        return None
    from boltzgen.report.citations import METHODS

    rows = [(METHODS[name].words, ", ".join(METHODS[name].keys)) for name in found.methods]
    text = tag("div", folded("BibTeX", tag("pre", found.bibtex(), id="bibtex")), class_="bibtex")
    notes = bullets(prose(note, material.words) for note in found.notes)
    parts = [table(("method", "references"), rows), notes, text]
    return Section("cite", "What to cite", joined(parts), {**found.to_json(), "bibtex": found.bibtex()})
