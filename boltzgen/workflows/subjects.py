"""What figures and tables say that an ensemble is of: the molecule, its force field, its temperature.

`sample` and `reweight` leave the words in the manifest (``provenance.subject``). Of folders without them the
prepared system that the manifest names is asked, if it is still there, else the residues of the topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError
from boltzgen.files import is_there, read_json
from boltzgen.report.axes import Subject, subject_of
from boltzgen.system.described import subject
from boltzgen.system.examples import system_folder
from boltzgen.system.formats.pdb_text import parse_names
from boltzgen.system.molecular_system import MolecularSystem


def words_of(name: str, molecule: MolecularSystem | None) -> dict[str, str]:
    """The ``subject`` of a manifest: of `molecule`, or of the model system `name`."""
    if molecule is None:
        return {"molecule": name.removeprefix("model:"), "force_field": "energies in kT"}
    region = molecule.energy_model.region
    return subject(
        molecule.name, molecule.provenance, None if region is None else {"backend": region.backend}
    )


def subject_of_ensemble(ensemble: Ensemble, folder: str | PathLike[str] | None = None) -> Subject:
    """The `Subject` of `ensemble`, which lies in `folder`."""
    known = subject_of(ensemble.provenance, ensemble.temperature)
    if known.molecule or known.force_field:
        return known
    source = ensemble.provenance.get("system")
    if isinstance(source, str) and source.startswith("model:"):
        return Subject(**words_of(source, None), temperature=ensemble.temperature)
    words = None if not isinstance(source, str) else _of_folder(source, folder)
    if words is None:
        words = {"molecule": _residues(ensemble.topology_pdb), "force_field": ""}
    return Subject(**words, temperature=ensemble.temperature)


def subject_of_system(molecule: MolecularSystem, temperature: float | None) -> Subject:
    """The `Subject` of a prepared molecule at `temperature` (K)."""
    return Subject(**words_of(molecule.name, molecule), temperature=temperature)


def subject_of_pair(a: Subject, b: Subject, temperature: float | None) -> Subject:
    """The `Subject` of a comparison: once what both have, with an arrow what differs."""

    def both(first: str, second: str) -> str:
        return first if first == second else f"{first or '?'} → {second or '?'}"

    fields = both(a.force_field, b.force_field)
    if temperature is None and a.temperature is not None and b.temperature is not None:
        fields = f"{fields} · {a.temperature:g} K → {b.temperature:g} K"
    return Subject(both(a.molecule, b.molecule), fields, temperature)


def _of_folder(source: str, folder: str | PathLike[str] | None) -> dict[str, str] | None:
    """The words for the prepared system `source`, seen from here or from a folder above `folder`; or None."""
    above = [] if folder is None else list(Path(folder).resolve().parents)
    try:
        for base in (Path(), *above):
            path = system_folder(source) if base == Path() else base / source
            if is_there(path / "system.json"):
                record = read_json(path / "system.json")
                model = record.get("energy_model") or {}
                return subject(
                    str(record.get("name", "")), _mapping(record, "provenance"), model.get("region")
                )
    except (InputError, AttributeError):  # a figure without these words is better than none
        return None
    return None


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _residues(topology_pdb: str) -> str:
    """``ACE-ALA-NME``: the residues of a topology; empty for a model system."""
    if not topology_pdb:
        return ""
    residues = dict.fromkeys(str(name).split()[0] for name in parse_names(topology_pdb))
    return "-".join(residue.rstrip("0123456789") for residue in residues)
