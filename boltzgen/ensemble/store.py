"""The OUT folder: an `Ensemble` on disk.

samples.npz     log_q, u, log_w, valid, reason, one row a sample, readable without pickle; samples of walkers
                also keep ``walker``, ``group``, ``step``, model systems (measure lebesgue(d)) ``positions``
                (n, d)
samples.dcd     positions of molecules, float32 (Angstrom inside, as the format wants)
topology.pdb    names for people and selections (molecules only)
summary.json    schema boltzgen.summary/1
manifest.json   schema boltzgen.manifest/1, written last; its status decides whether the rest is read
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.digests import file_digests, require_signed, require_unchanged, signed
from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS
from boltzgen.ensemble.dcd import dcd_shape, read_dcd, write_dcd
from boltzgen.ensemble.diagnostics import Diagnostics
from boltzgen.ensemble.ensemble import Ensemble, narrow
from boltzgen.ensemble.join import concatenate, same_draw
from boltzgen.ensemble.manifest import MANIFEST_SCHEMA, SAMPLE_ANEW, read_manifest
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, read_text, together, write_atomic, write_json
from boltzgen.loaders.arrays import Wanted, read_npz
from boltzgen.provenance import versions

SUMMARY_SCHEMA = "boltzgen.summary/1"
STATUSES = ("complete", "partial", "failed")

#: Keys of the manifest whose content is hashed; the others are notes, such as where the model lies.
SIGNED = ("system_fingerprint", "temperature_K", "measure", "domain", "n", "files")

#: What to do about a file that was changed.
COPY_ANEW = "copy it anew, or sample again; `check(OUT)` says more about the folder."

#: The arrays of ``samples.npz``; positions of model systems besides.
_COLUMNS = {
    "log_q": Wanted("f", ("rows",)),
    "u": Wanted("f", ("rows",)),
    "log_w": Wanted("f", ("rows",)),
    "valid": Wanted("b", ("rows",)),
    "reason": Wanted("US", ("rows",)),
}
_CHAIN_COLUMNS = {name: Wanted("i", ("rows",), optional=True) for name in CHAIN_FIELDS}


def save_ensemble(ensemble: Ensemble, folder: str | os.PathLike[str], *, status: str = "complete") -> None:
    """Write `ensemble` to `folder`: all files or none, the manifest last."""
    if status not in STATUSES:
        raise InputError(f"status {status!r} is not one of {', '.join(STATUSES)}.")
    if len(ensemble) == 0:
        raise InputError(f"{folder}: the ensemble holds no samples; nothing to save.")
    out = Path(folder)
    columns = {name: getattr(ensemble, name) for name in ensemble.row_fields if name != "positions"}
    if not ensemble.is_molecular:
        columns["positions"] = ensemble.positions
    with together(out / "manifest.json"):
        with atomic_path(out / "samples.npz") as temporary, open(temporary, "wb") as handle:
            np.savez_compressed(handle, **columns)
        names = ["samples.npz"]
        if ensemble.is_molecular:
            write_dcd(out / "samples.dcd", ensemble.positions)
            write_atomic(out / "topology.pdb", ensemble.topology_pdb)
            names += ["samples.dcd", "topology.pdb"]
        write_json(out / "summary.json", summary(ensemble))
        write_json(out / "manifest.json", signed(_manifest(ensemble, status, out, names), SIGNED))


def load_ensemble(
    folder: str | os.PathLike[str], into: np.ndarray | None = None, *, compare: bool = True
) -> Ensemble:
    """The ensemble in `folder`, as `save_ensemble` wrote it (positions rounded to float32).

    `into` is an array for the positions of a molecule, where the caller has one. Files are compared with
    their hashes first (InputError), unless the caller does it himself (`compare` False).
    """
    out = Path(folder)
    manifest = read_manifest(out)
    if compare:
        require_unchanged(out, manifest.get("files"), COPY_ANEW)
    molecular = not manifest["measure"].startswith("lebesgue")
    wanted = {**_COLUMNS, **_CHAIN_COLUMNS}
    if not molecular:
        wanted["positions"] = Wanted("f", ("rows", "dimension"))
    missing = "no such file; run `sample()` again."
    columns: dict[str, Any] = read_npz(out / "samples.npz", wanted, missing=missing, remedy=SAMPLE_ANEW)
    if columns["reason"].dtype.kind == "U":
        columns["reason"] = narrow(columns["reason"])
    common: dict[str, Any] = {
        "temperature": manifest["temperature_K"],
        **{name: manifest[name] for name in ("measure", "system_fingerprint", "domain")},
        **{name: manifest[name] for name in ("provenance", "coverage")},
    }
    if molecular:
        columns["positions"] = read_dcd(out / "samples.dcd", into)
        topology = read_text(out / "topology.pdb", missing=missing)
    else:
        topology = ""
    try:
        ensemble = Ensemble(topology_pdb=topology, **columns, **common)
    except InputError as error:
        raise InputError(f"{out}: {error}") from error
    if compare:
        require_signed(out / "manifest.json", manifest, COPY_ANEW, SIGNED)
    return ensemble


def join_folders(folders: Sequence[str | os.PathLike[str]]) -> tuple[Ensemble, str]:
    """The ensembles of several OUT folders in one, and its status: ``partial`` when one of them is.

    Positions of molecules are read into one array, so that no second copy of them is made. Besides
    what `boltzgen.ensemble.join.concatenate` refuses, folders that the same model wrote with the same seed
    are, whatever the size of their batches: InputError.
    """
    paths = [Path(folder) for folder in folders]
    manifests = [read_manifest(path) for path in paths]
    shapes = [dcd_shape(path / "samples.dcd") for path in paths if (path / "samples.dcd").exists()]
    positions = None
    if len(shapes) == len(paths) and len({n_atoms for _, n_atoms in shapes}) == 1:
        positions = np.empty((sum(frames for frames, _ in shapes), shapes[0][1], 3), dtype=np.float32)
    ends = np.cumsum([0, *(frames for frames, _ in shapes)])
    parts = [
        load_ensemble(path, None if positions is None else positions[ends[number] : ends[number + 1]])
        for number, path in enumerate(paths)
    ]
    for number, part in enumerate(parts):
        for path, earlier in zip(paths[:number], parts, strict=False):
            if same_draw(earlier, part):
                raise InputError(
                    f"{path} and {paths[number]} were drawn from one model with one seed "
                    f"({part.provenance['seed']}), so that they are not independent; draw one of them again "
                    "with another `seed`."
                )
    joined = concatenate(parts, names=[str(path) for path in paths], positions=positions)
    partial = any(manifest["status"] == "partial" for manifest in manifests)
    return joined, "partial" if partial else "complete"


def summary(ensemble: Ensemble) -> dict[str, Any]:
    """The content of ``summary.json``. Numbers not known are None, with a sentence in ``reasons``."""
    found = ensemble.diagnostics()
    requested, evaluations = (ensemble.provenance.get(key) for key in ("requested", "energy_evaluations"))
    unknown = dict(found.unknown)
    if evaluations is None:
        unknown["energy_evaluations"] = "not recorded when the samples were drawn"
    return {
        "schema": SUMMARY_SCHEMA,
        "requested": len(ensemble) if requested is None else int(requested),
        "kept": found.n_valid,
        "rejected": ensemble.rejected(),
        "ess": found.ess,
        "ess_clipped_1e-4": found.ess_clipped,
        "ess_dropped_0.2%": found.ess_dropped,
        "forward_ess": found.forward_ess,
        "forward_ess_frames": found.forward_ess_frames,
        "k_hat": found.k_hat,
        "largest_weight_share": found.largest_weight_share,
        "log_z": found.log_z,
        "log_z_standard_error": found.log_z_standard_error,
        "energy_evaluations": evaluations,
        **_of_chains(ensemble, found),
        **({"refined": refined} if (refined := ensemble.provenance.get("refined")) else {}),
        **({"unfamiliarity": new["score"]} if (new := ensemble.provenance.get("familiarity")) else {}),
        "verdict": found.verdict,
        "reasons": [
            *found.reasons,
            *ensemble.provenance.get("notes", ()),
            *(f"{key} is null: {why}" for key, why in unknown.items()),
        ],
    }


def _of_chains(ensemble: Ensemble, found: Diagnostics) -> dict[str, Any]:
    """The keys that only samples of walkers have: null, all of them, says that samples are independent."""
    record, chains = ensemble.provenance.get("chains") or {}, found.chains
    names = ("ess_bulk", "ess_tail", "r_hat", "autocorrelation", "walkers", "steps")
    acceptance, spent = record.get("acceptance"), record.get("energy_evaluations")
    return {
        **{name: None if chains is None else getattr(chains, name) for name in names},
        "acceptance": None if chains is None else acceptance,
        "energy_evaluations_by_part": None if chains is None else spent,
    }


def _manifest(ensemble: Ensemble, status: str, out: Path, names: list[str]) -> dict[str, Any]:
    provenance = ensemble.provenance
    return {
        "schema": MANIFEST_SCHEMA,
        "kind": "ensemble",
        "status": status,
        "command": provenance.get("command"),
        "seed": provenance.get("seed"),
        "model": provenance.get("model"),
        "system_fingerprint": ensemble.system_fingerprint,
        "temperature_K": ensemble.temperature,
        "measure": ensemble.measure,
        "domain": ensemble.domain,
        "n": len(ensemble),
        "coverage": ensemble.coverage,
        "provenance": provenance,
        "versions": versions("python", "boltzgen-sampler", "numpy", "torch", "openmm", "mdtraj"),
        "files": file_digests(out, names),
    }
