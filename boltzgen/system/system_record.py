"""What ``SYS/system.json`` holds; it is checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from boltzgen.loaders.records import Count, Digest, FileName, OpenRecord, Record, read_record

SCHEMA = "boltzgen.system/1"

Point = Annotated[list[float], Field(min_length=3, max_length=3)]
Bond = Annotated[list[Count], Field(min_length=2, max_length=2)]


class _Link(Record):
    """A bond that the border of the region cuts."""

    inside: Count
    outside: Count
    scale: float


class _Region(Record):
    """`boltzgen.system.energy_model.MachineLearnedRegion`."""

    backend: str
    atoms: list[Count]
    options: dict[str, str] = {}
    links: list[_Link] = []


class _EnergyModel(Record):
    """`boltzgen.system.energy_model.EnergyModel`."""

    engine: str
    platform: str
    workers: Annotated[int, Field(ge=1)]
    region: _Region | None = None


class _TranslationCheck(OpenRecord):
    """How the translated energy agreed with OpenMM's."""

    agrees: bool | None = None
    refused: str = ""


class _Torsion(Record):
    """A torsion that turns, or is held."""

    atoms: Annotated[list[Count], Field(min_length=4, max_length=4)]
    kind: str
    held: str


class _Ring(Record):
    """A ring, in order."""

    atoms: Annotated[list[Count], Field(min_length=3)]
    conformation: str
    saturated: bool


class _Shape(Record):
    """`boltzgen.system.graph.shape.shape_of`."""

    torsions: list[_Torsion]
    rings: list[_Ring]


class _Provenance(OpenRecord):
    """Where the molecule is from."""

    input: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    warnings: list[str] = []
    translation_check: _TranslationCheck = _TranslationCheck()
    shape: _Shape | None = None


class SystemRecord(Record):
    """``SYS/system.json``."""

    name: str
    n_atoms: Annotated[int, Field(ge=1)]
    fingerprint: str
    atomic_numbers: list[Annotated[int, Field(ge=0, le=118)]]
    masses_dalton: list[Annotated[float, Field(ge=0)]]
    bonds: list[Bond]
    free_rotations: list[Bond] = []
    reference_positions_nm: list[Point]
    energy_model: _EnergyModel | None = None
    provenance: _Provenance
    files: dict[FileName, Digest] | None = None

    @model_validator(mode="after")
    def _one_row_for_each_atom(self) -> SystemRecord:
        counts = [len(one) for one in (self.atomic_numbers, self.masses_dalton, self.reference_positions_nm)]
        if set(counts) != {self.n_atoms}:
            elements, masses, positions = counts
            told = f"{elements} elements, {masses} masses and {positions} positions"
            raise ValueError(f"the {self.n_atoms} atoms have {told}")
        return self


def read_system_record(folder: Path, remedy: str) -> dict[str, Any]:
    """``system.json`` of the SYS `folder`; InputError, with the `remedy`, when it is none or damaged."""
    return read_record(
        SystemRecord,
        folder / "system.json",
        schema=SCHEMA,
        missing="no such file; expected what `prepare()` writes.",
        remedy=remedy,
        of="the record of a prepared system",
    )
