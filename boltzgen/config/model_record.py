"""What ``model.json`` of a trained model holds, in its present version; it is checked when it is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from boltzgen.loaders.records import Count, Kelvin, Record


class _Molecule(Record):
    """A molecule that it was trained on."""

    name: str
    fingerprint: str
    graph: str = ""
    domain: str | None = None


class ModelRecord(Record):
    """``model.json`` without the hashes of its files."""

    boltzgen_version: str | None = None
    flow: dict[str, Any]
    n_features: Count
    features_version: Count = 1
    isomers: Literal["reference", "free"]
    temperature_K: Kelvin
    temperatures_K: Annotated[list[Kelvin], Field(min_length=1)]
    systems: list[_Molecule]
    start_systems: list[_Molecule] = []
    steps: Count = 0
    energy_evaluations: Count = 0
    data_evaluations: Count = 0
    start_evaluations: Count = 0
    evaluation: dict[str, float | None] = {}
    seed: Count = 0
    data_sha256: list[str] = []
