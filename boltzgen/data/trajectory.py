"""Reading and writing trajectories: MD folders, single files, and the compact form that ships.

An MD folder holds ``manifest.json`` (schema ``boltzgen.trajectory/1``) and either one HDF5 file per
temperature (what `simulate` writes; MDTraj reads them) or a single ``frames.npz`` (float32 positions, or
int16 in a ``unit``; for data inside the package, and for those that are kept with a packed run).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.checks import check_temperature
from boltzgen.contents import what_it_is
from boltzgen.data.checks import check_spread
from boltzgen.data.foreign import FORMATS, read_foreign
from boltzgen.data.hdf5 import read_hdf5
from boltzgen.data.manifest import CAUTION, SCHEMA, cautions_of, read_manifest
from boltzgen.data.packed_frames import pack_positions, unpack_positions
from boltzgen.data.record import Trajectory, joined
from boltzgen.data.temperatures import HDF5_SUFFIXES, are_kinetic, stated_temperatures
from boltzgen.digests import file_digests, require_signed, require_unchanged, signed
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, write_json
from boltzgen.loaders.arrays import Wanted, read_npz
from boltzgen.loaders.records import below
from boltzgen.system.molecular_system import MolecularSystem

__all__ = [
    "Trajectory",
    "joined",
    "read_trajectory",
    "read_trajectory_at",
    "require_temperature",
    "write_trajectory",
]

#: The arrays of the compact form.
_FRAMES = {
    "positions": Wanted("fi", ("frames", "atoms", 3)),
    "unit": Wanted("f", (), finite=True, optional=True),
    "energies": Wanted("f", ("frames",)),
    "temperatures": Wanted("f", ("frames",)),
    "replicas": Wanted("i", ("frames",), optional=True),
}
_ANEW = "it may be truncated, write or copy it anew."


def read_trajectory(
    path: str | Path,
    system: MolecularSystem | None = None,
    *,
    temperature: float | None = None,
    resample_constrained_bonds: bool = False,
    seed: int = 0,
) -> Trajectory:
    """The trajectory in an MD folder, or in one file made here or elsewhere.

    Args:
        system: the molecule; the frames are checked against it. Needed for files made elsewhere.
        temperature: K, for files made elsewhere that do not say it; one that says another is refused. What
            boltzgen wrote says it itself.
        resample_constrained_bonds, seed: see `boltzgen.data.foreign.read_foreign`.

    Raises InputError in one sentence for a missing, truncated or foreign-system trajectory.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, system)
    if not path.exists():
        raise InputError(f'{path}: no such trajectory; make one with `simulate(SYS, output="{path}")`.')
    if path.suffix == ".npz":
        return _matched(_read_npz(path, None, {}), system, path)
    if path.suffix.lower() in HDF5_SUFFIXES:
        record, _ = read_hdf5(path)
        if record.system_fingerprint is not None:
            return _matched(record, system, path)
    if system is None:
        raise InputError(f"{path} was not made by boltzgen; give the prepared system (SYS) it belongs to.")
    return read_foreign(
        path,
        system,
        temperature=temperature,
        resample_constrained_bonds=resample_constrained_bonds,
        seed=seed,
    )


def require_temperature(path: str | Path, told: float | None, remedy: str) -> None:
    """InputError, ending with the `remedy`, unless the file says its temperature, or it was `told`.

    The one rule of all verbs that take frames made elsewhere: a temperature is never assumed. What
    `read_trajectory` refuses passes here.
    """
    path = Path(path)
    if told is not None or not path.is_file() or path.suffix.lower() not in FORMATS:
        return
    if path.suffix.lower() in HDF5_SUFFIXES and read_hdf5(path)[0].system_fingerprint is not None:
        return
    stated = stated_temperatures(path)
    if stated is None:
        raise InputError(f"{path} does not say its temperature, and none is assumed; {remedy}")
    if are_kinetic(stated, stated.size):
        raise InputError(
            f"{path} says the kinetic temperature of each frame ({float(stated.mean()):.1f} K in the mean), "
            f"not that of the thermostat; {remedy}"
        )


def read_trajectory_at(
    path: str | Path, system: MolecularSystem, temperature: float, *, told: float | None = None
) -> Trajectory:
    """The frames of `path` at `temperature` (K), to be compared with samples of that temperature.

    told: the temperature (K) at which the frames were made, for a file that does not say it; such a file is
    refused without. InputError, too, where the file says another than what is asked, or than was told.
    """
    if told is not None:
        check_temperature(told, "data_temperature")
    require_temperature(
        path, told, f"give it in K as `data_temperature`, for example `data_temperature={temperature:g}`."
    )
    return read_trajectory(path, system, temperature=temperature if told is None else told).at(temperature)


def write_trajectory(
    folder: str | Path, trajectory: Trajectory, *, packed: bool = False, **manifest: Any
) -> Path:
    """Write `trajectory` to `folder` in the compact form (``frames.npz`` and ``manifest.json``).

    packed: positions as `boltzgen.data.packed_frames` makes them: rounded, and about the origin.
    `manifest` adds keys (``command``, ``seed``, ``provenance``...). Frames keep their order.
    """
    folder = Path(folder)
    stored: dict[str, Any] = {"positions": trajectory.positions}
    if packed:
        whole, unit = pack_positions(trajectory.positions)
        stored = {"positions": whole, "unit": np.array(unit)}
    with atomic_path(folder / "frames.npz") as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(
            handle,
            **stored,
            energies=trajectory.energies,
            temperatures=trajectory.temperatures,
            replicas=trajectory.replicas.astype(np.int32),
        )
    ladder = trajectory.temperature_ladder
    record = {
        "schema": SCHEMA,
        "status": "complete",
        "system": {"fingerprint": trajectory.system_fingerprint, "n_atoms": trajectory.n_atoms},
        "temperatures_K": ladder.tolist(),
        "frames": {f"{t:g}": int((trajectory.temperatures == t).sum()) for t in ladder},
        "files": ["frames.npz"],
        "statistical_inefficiency": dict(trajectory.statistical_inefficiency),
    }
    if trajectory.cautions:
        record["crossings"] = {"states": [], "cautions": [CAUTION + one for one in trajectory.cautions]}
    content = {**record, **manifest, "sha256": file_digests(folder, ["frames.npz"])}
    write_json(folder / "manifest.json", signed(content))
    return folder


def evaluations_of_folder(path: str | Path) -> int:
    """Energy evaluations that made the MD folder `path`, equilibration included; 0 where nobody recorded it.

    A step of dynamics, which needs the energy's gradient, counts one.
    """
    if not (Path(path) / "manifest.json").is_file():
        return 0
    record = read_manifest(Path(path))
    if record.get("energy_evaluations") is not None:
        return int(record["energy_evaluations"])
    settings = record.get("settings")
    if settings is None:
        return 0
    steps = (settings["time"] + settings.get("equilibration", 0.0)) / settings["timestep"]
    replicas = settings.get("replicas") or len(record["temperatures_K"])
    return round(steps) * int(replicas) if math.isfinite(steps) else 0


def _read_folder(folder: Path, system: MolecularSystem | None) -> Trajectory:
    if not (folder / "manifest.json").is_file():
        raise InputError(
            f"{folder} is not a trajectory folder: it holds no manifest.json. "
            f'Make one with `simulate(SYS, output="{folder}")`.{what_it_is(folder)}'
        )
    manifest = read_manifest(folder)
    status = manifest["status"]
    if status == "failed":
        raise InputError(f"{folder}: the simulation failed ({manifest.get('reason')}); run it again.")
    files = manifest.get("files") or []
    if not files:
        raise InputError(f"{folder} holds no frames yet (status {status}); let `simulate()` go on.")
    if status == "partial":
        warnings.warn(f"{folder}: the simulation is partial; what is there is used.", stacklevel=3)
    fingerprint = manifest["system"]["fingerprint"]
    measured = manifest.get("statistical_inefficiency", {})
    remedy = "copy the folder anew, or simulate again."
    require_unchanged(folder, manifest.get("sha256"), remedy, files)
    parts = []
    for name in files:
        path = below(folder, name, folder / "manifest.json")
        part = _read_npz(path, fingerprint, {}) if path.suffix == ".npz" else read_hdf5(path)[0]
        parts.append(part)
    whole = joined(parts)
    _check_counts(folder, whole, manifest)
    known = {str(k): float(g) for k, g in measured.items() if g is not None}
    whole = replace(whole, statistical_inefficiency=known, cautions=cautions_of(manifest))
    found = _matched(whole, system, folder)
    require_signed(folder / "manifest.json", manifest, remedy)
    return found


def _check_counts(folder: Path, trajectory: Trajectory, manifest: dict[str, Any]) -> None:
    for text, count in manifest.get("frames", {}).items():
        there = int((np.abs(trajectory.temperatures - float(text)) < 0.01).sum())
        if there != count:
            raise InputError(
                f"{folder}: the manifest promises {count} frames at {text} K, the files hold {there}; "
                "copy the folder anew or resume the simulation."
            )


def _read_npz(path: Path, fingerprint: str | None, measured: dict[str, float]) -> Trajectory:
    arrays = read_npz(path, _FRAMES, missing="no such file; copy the folder anew.", remedy=_ANEW)
    arrays.setdefault("replicas", np.zeros(len(arrays["energies"]), np.int64))
    unit = arrays.pop("unit", None)
    if (unit is None) != (arrays["positions"].dtype.kind == "f"):
        raise InputError(
            f"{path}: {'whole numbers' if unit is None else 'numbers with a unit'} as positions; expected "
            f"float32 in nm, or whole numbers and their unit; {_ANEW}"
        )
    if unit is not None:
        arrays["positions"] = unpack_positions(arrays["positions"], float(unit))
    x, energies, kelvin, replicas = (arrays[n] for n in ("positions", "energies", "temperatures", "replicas"))
    return Trajectory(x, energies, kelvin, replicas, fingerprint, measured)


def _matched(trajectory: Trajectory, system: MolecularSystem | None, path: Path) -> Trajectory:
    """`trajectory`, if it is one of `system`; InputError otherwise. NaN frames are refused."""
    if not np.isfinite(trajectory.positions).all():
        bad = np.flatnonzero(~np.isfinite(trajectory.positions).all(axis=(1, 2)))
        raise InputError(f"{path}: frame {bad[0]} has coordinates that are not finite ({len(bad)} frames).")
    if system is None:
        return trajectory
    if trajectory.n_atoms != system.n_atoms:
        raise InputError(
            f"{path} has {trajectory.n_atoms} atoms, the system {system.name!r} has {system.n_atoms}; "
            "give the system that was simulated."
        )
    check_spread(path, trajectory.positions, system)
    known = trajectory.system_fingerprint
    if known is not None and known != system.fingerprint:
        raise InputError(
            f"{path} was simulated with another system or force field than {system.name!r} "
            f"(fingerprints {known[:8]} and {system.fingerprint[:8]}); prepare that system, or simulate anew."
        )
    return trajectory
