"""``export``: weighted samples in the formats of other programs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.checks import check_number
from boltzgen.ensemble import Ensemble, Frames, equal_weight_frames, weighted_frames
from boltzgen.ensemble import export_table as tables
from boltzgen.ensemble import export_trajectory as trajectories
from boltzgen.ensemble.resample import MOST_ROWS
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.folders import alone_with_file
from boltzgen.free_energy.states import read_coordinates
from boltzgen.free_energy.variables import Variable, read_topology, ready_torsions, ready_variable
from boltzgen.system.formats.mdtraj_hdf5 import topology_record

#: The formats, and what each is.
FORMATS = {
    "mdtraj-hdf5": "positions, energies, log densities and weights, for MDTraj and h5py",
    "dcd": "positions in float32; weights beside it",
    "xtc": "positions to 0.001 nm; weights beside it",
    "pdb": "positions to 0.0001 nm, one MODEL a frame; weights beside it",
    "colvar": "variables and weights for PLUMED",
    "u_nk": "reduced potentials for alchemlyb (.csv or .parquet)",
    "csv": "every row with its log density, energy, weight and reason, and variables",
}
WITH_VARIABLES = ("colvar", "csv")
_BESIDE = ("dcd", "xtc", "pdb")
_OWN_FILES = ("samples.npz", "samples.dcd", "topology.pdb", "manifest.json", "summary.json")


@dataclass(frozen=True)
class Export:
    """What `export` wrote.

    Attributes
    ----------
    files: the file, and that of the weights beside it. frames: how many are in it, `distinct` of them
        different. drawn, rejected: samples, and those without weight. n_effective: what weights are worth.
    notes: what a reader should know.
    """

    files: tuple[Path, ...]
    frames: int
    distinct: int
    drawn: int
    rejected: int
    n_effective: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON types only."""
        return {**vars(self), "files": [str(path) for path in self.files], "notes": list(self.notes)}


def export(
    folder: str | PathLike[str],
    output: str | PathLike[str],
    format: str,
    *,
    variables: str | PathLike[str] | Sequence[str] | None = None,
    equal_weight: int | None = None,
    seed: int = 0,
    temperatures: str | Sequence[float] = (),
) -> Export:
    """Write the samples in `folder` (OUT) to the file `output`, for another program.

    Parameters
    ----------
    format: ``mdtraj-hdf5``, ``dcd``, ``xtc``, ``pdb``, ``colvar``, ``u_nk`` or ``csv``; see `FORMATS`.
    variables: names (``phi``, ``psi:3``, ``x0``) as a list or separated by commas, or a YAML or JSON file
        with ``coordinates`` as in a states file. COLVAR without any gets every phi and psi (x0, x1, ...).
    equal_weight: as many frames, resampled by weight with `seed`, for tools that know no weights.
    temperatures: K, more states of u_nk; numbers, or text with commas.

    Returns
    -------
    Export: the files, how many frames are in them, and what a reader should know.

    Raises
    ------
    InputError: something given cannot be used. The file is written whole or not at all.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.export("OUT", "samples.csv", "csv")
    >>> found.frames, [path.name for path in found.files]
    (200, ['samples.csv'])
    """
    path = Path(output)
    ladder = _numbers(temperatures)
    _check(Path(folder), path, format, variables, ladder)
    if equal_weight is not None and equal_weight < 1:
        raise InputError(f"`equal_weight={equal_weight}`: ask for at least one frame.")
    if equal_weight is not None:
        check_number(equal_weight, "equal_weight", most=MOST_ROWS)
    ensemble = load_ensemble(folder)
    columns = _columns(ensemble, folder, format, variables) if format in WITH_VARIABLES else []
    frames = (
        weighted_frames(ensemble)
        if equal_weight is None
        else equal_weight_frames(ensemble, equal_weight, seed)
    )
    with alone_with_file(path):
        if format == "mdtraj-hdf5":
            trajectories.write_hdf5(ensemble, frames, path, _topology(ensemble))
        elif format == "colvar":
            tables.write_colvar(ensemble, frames, path, columns)
        elif format == "csv":
            tables.write_csv(ensemble, frames, path, columns)
        elif format == "u_nk":
            tables.write_u_nk(ensemble, frames, path, ladder)
        else:
            writers = {
                "dcd": trajectories.write_frames_dcd,
                "xtc": trajectories.write_xtc,
                "pdb": trajectories.write_pdb,
            }
            writers[format](ensemble, frames, path)
    return _result(ensemble, frames, path, format)


def _check(folder: Path, path: Path, format: str, variables: object, temperatures: Sequence[float]) -> None:
    if format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"unknown format {format!r}{hint}; formats are {', '.join(FORMATS)}.")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of the file to write.")
    if path.name in _OWN_FILES and path.resolve().parent == folder.resolve():
        raise InputError(f"{path}: belongs to the samples themselves; give another name.")
    if variables is not None and format not in WITH_VARIABLES:
        raise InputError(f"`variables` is for {' and '.join(WITH_VARIABLES)}, not for {format}.")
    if temperatures and format != "u_nk":
        raise InputError(f"`temperatures` is for u_nk, not for {format}.")


def _numbers(temperatures: str | Sequence[float]) -> list[float]:
    words = temperatures.split(",") if isinstance(temperatures, str) and temperatures else temperatures
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise InputError(f"`temperatures={temperatures!r}`: give temperatures in K, with commas.") from error


def _columns(
    ensemble: Ensemble,
    folder: str | PathLike[str],
    format: str,
    given: str | PathLike[str] | Sequence[str] | None,
) -> list[tables.Column]:
    """The variables asked for, evaluated on every row."""
    size = ensemble.positions.shape[1]
    try:
        topology = read_topology(ensemble.topology_pdb, n_atoms=size) if ensemble.is_molecular else None
    except InputError as error:
        raise InputError(f"{Path(folder) / 'topology.pdb'}: {error}") from error
    names: Sequence[str] = ()
    if given is None and format == "colvar":
        names = _default_names(topology, size)
    elif isinstance(given, PathLike) or (isinstance(given, str) and _is_file(given)):
        return [_column(v, ensemble) for v in read_coordinates(given, topology, size).values()]
    elif given is not None:
        names = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
    return [_column(ready_variable(name, topology, size), ensemble) for name in names]


def _is_file(given: str) -> bool:
    return given.endswith((".yaml", ".yml", ".json")) or Path(given).is_file()


def _default_names(topology: object, dimension: int) -> list[str]:
    if topology is None:
        return [f"x{number}" for number in range(dimension)]
    names = []
    for base in ("phi", "psi"):
        found = ready_torsions(base, topology)  # type: ignore[arg-type]
        names += [base] if len(found) == 1 else [f"{base}:{number}" for number in found]
    if not names:
        raise InputError("the molecule has no phi and psi; say in `variables` what COLVAR is to hold.")
    return names


def _column(variable: Variable, ensemble: Ensemble) -> tables.Column:
    values = variable.evaluate(ensemble.positions)
    return tables.Column(variable.name, values, variable.unit, variable.periodic)


def _topology(ensemble: Ensemble) -> dict:
    if not ensemble.is_molecular:
        return {}
    return topology_record(read_topology(ensemble.topology_pdb, n_atoms=ensemble.positions.shape[1]))


def _result(ensemble: Ensemble, frames: Frames, path: Path, format: str) -> Export:
    found = ensemble.diagnostics()
    n_effective = found.n_effective
    files = (path, trajectories.weights_path(path)) if format in _BESIDE else (path,)
    every_row = format in ("csv", "u_nk") and not frames.resampled
    return Export(
        files,
        len(ensemble) if every_row else len(frames),
        frames.distinct,
        frames.drawn,
        frames.rejected,
        n_effective,
        tuple(_notes(frames, format, files, n_effective, found.verdict, every_row)),
    )


def _notes(
    frames: Frames, format: str, files: Sequence[Path], n_effective: float, verdict: str, every_row: bool
) -> list[str]:
    notes = []
    if frames.rejected and every_row:
        kept = "with log_w -inf" if format == "csv" else "with infinite energy"
        notes.append(
            f"{frames.rejected} of {frames.drawn} samples were rejected; they are in the file, {kept}"
        )
    elif frames.rejected:
        notes.append(
            f"{frames.rejected} of {frames.drawn} samples were rejected; they have weight 0 and are left out"
        )
    if frames.resampled:
        notes.append(
            f"{len(frames)} frames of equal weight hold {frames.distinct} different samples, and the weights "
            f"are worth {n_effective:.0f} independent ones"
        )
        if len(frames) > n_effective:
            notes.append("errors that count each frame as independent will be too small")
    elif format in _BESIDE:
        notes.append(
            f"the weights are in {files[1].name}; without them the frames show the flow's distribution, not "
            "Boltzmann's"
        )
    if format == "xtc":
        notes.append(trajectories.XTC_WARNING)
    if format == "pdb":
        notes.append(trajectories.PDB_WARNING)
    if verdict == "unreliable":
        notes.append("the verdict on these samples is unreliable; summary.json says why")
    return notes
