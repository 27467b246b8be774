"""What the file of one molecule of a benchmark holds; it is checked when it is read.

Checked is what the tables and figures look at; the other numbers of a stage are for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from boltzgen.loaders.records import Count, OpenRecord, Record, read_record

MOLECULE_SCHEMA = "boltzgen.transfer_molecule/1"


class _Distance(OpenRecord):
    value: float | None
    floor: float | None


class _Likelihood(OpenRecord):
    gap_per_atom: float | None


class _Map(OpenRecord):
    tv: float | None
    tv_floor: float | None


class _Phi(OpenRecord):
    B: str
    error: float | None
    standard_error: float | None
    reference_standard_error: float | None


class _Reference(OpenRecord):
    """Comparison with frames of the molecule."""

    forward_ess: float | None
    likelihood: _Likelihood | None
    energy_w2: _Distance | None
    torus_w2: _Distance | None
    ramachandran: list[_Map]
    phi: list[_Phi]


class _Stage(OpenRecord):
    """What was measured with the model as it is, or as it was adapted."""

    ess: float
    ess_standard_error: float | None
    ess_clipped: float | None = Field(alias="ess_clipped_1e-4")
    ess_deleted: float | None = Field(alias="ess_deleted_0.2%")
    k_hat: float | None
    share_open_rings: float
    share_rejected: float
    seconds: float
    samples_per_second: float
    effective_samples_per_second: float
    verdict: str
    reference: _Reference | None
    budget: float | None = None


class _Stages(Record):
    zero_shot: _Stage | None = None
    adapted: _Stage | None = None


class _Molecule(Record):
    """``molecules/NAME.json``."""

    name: str
    split: str
    source: dict[str, str]
    fingerprint: str
    atoms: Count
    settings: dict[str, Any]
    stages: _Stages
    dimension: Count = 0
    seen_in_training: bool = False
    unfamiliarity: float | None = None


def read_molecule(path: Path) -> dict[str, Any]:
    """The record in `path`; InputError when it is none, or damaged."""
    return read_record(
        _Molecule,
        path,
        schema=MOLECULE_SCHEMA,
        missing="no such file.",
        remedy="remove it, and it is measured again.",
        of="the record of a molecule of a benchmark",
    )
