"""What ``OUT/manifest.json`` holds; it is checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from boltzgen.contents import kind_of_folder, what_it_is
from boltzgen.ensemble.chains.record import ChainsRecord
from boltzgen.errors import InputError
from boltzgen.loaders.records import Count, Digest, FileName, Kelvin, OpenRecord, Record, checked, read_record

MANIFEST_SCHEMA = "boltzgen.manifest/1"

#: What to do about a file that cannot be read.
SAMPLE_ANEW = "it may be truncated; copy it anew, or sample again."

Seed = int | list[int] | None


class _DrawnBy(OpenRecord):
    """The flow that drew samples which were reweighted since."""

    model: str | None = None
    system: str | None = None
    seed: Seed = None


class _Familiarity(OpenRecord):
    """How new the molecule was to the model."""

    score: float


class _Provenance(OpenRecord):
    """How the samples were made; other verbs add keys of their own."""

    requested: Count | None = None
    energy_evaluations: Annotated[float, Field(ge=0)] | None = None
    dtype: Literal["float32", "float64"] = "float64"
    seed: Seed = None
    model: str | None = None
    system: str | None = None
    drawn_by: _DrawnBy | None = None
    familiarity: _Familiarity | None = None
    proposal_temperatures: list[Kelvin] = []
    refined: list[dict[str, Any]] = []
    notes: list[str] = []
    chains: ChainsRecord | None = None


class _ComparedState(OpenRecord):
    """A population, reweighted and in the target samples."""

    name: str
    target: float | None
    target_error: float | None
    reweighted: float | None
    reweighted_error: float | None


class _Coverage(OpenRecord):
    """The coverage record of `boltzgen.ensemble.coverage.check_coverage`, an examination with it."""

    source: str = ""
    n_target: Count | None = None
    n_independent: float | None = None
    forward_ess: float | None = None
    missed: float | None = None
    states: list[_ComparedState] = []
    verdict: Literal["ok", "caution", "unreliable"]
    reasons: list[str]


class EnsembleManifest(Record):
    """``OUT/manifest.json``."""

    kind: Literal["ensemble"] = "ensemble"
    status: Literal["complete", "partial"]
    command: Any = None
    seed: Seed = None
    model: str | None = None
    system_fingerprint: str
    temperature_K: float | None
    measure: Annotated[str, Field(pattern=r"^(shape|lebesgue\([1-9]\d{0,8}\))$")]
    domain: str
    n: Count | None = None
    coverage: _Coverage | None
    provenance: _Provenance
    versions: dict[str, Any] = {}
    files: dict[FileName, Digest] | None = None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the OUT folder `folder`; InputError when there is none, or when its run failed."""
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder; expected what `sample(..., output="{folder}")` writes.')
    other = what_it_is(folder)
    if other and kind_of_folder(folder) != "ensemble":
        raise InputError(f"{folder} holds no samples, as `sample()` writes them.{other}")
    path = folder / "manifest.json"
    kind = "the manifest of an ensemble"
    missing = f"no such file; expected {kind}, as `sample()` writes it."
    found = read_record(
        OpenRecord, path, schema=MANIFEST_SCHEMA, missing=missing, remedy="name a folder of samples.", of=kind
    )
    if found.get("status") not in ("complete", "partial"):
        raise InputError(f"{folder}: the run that wrote it did not finish; run `sample()` again.")
    return checked(EnsembleManifest, found, str(path), SAMPLE_ANEW)
