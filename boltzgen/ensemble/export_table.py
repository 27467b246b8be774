"""Tables for other programs: CSV, COLVAR for PLUMED, u_nk for alchemlyb.

Columns of variables come from the caller: what a torsion is, this floor does not know.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.checks import check_temperatures
from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.frames import Frames
from boltzgen.errors import InputError, MissingExtraError
from boltzgen.files import atomic_path
from boltzgen.units import thermal_energy

if TYPE_CHECKING:
    import pandas

_AT_ONCE = 10_000


@dataclass(frozen=True)
class Column:
    """A variable and its `values` (n,) at every row of the ensemble; `unit` degrees, nm or none."""

    name: str
    values: np.ndarray
    unit: str = ""
    periodic: bool = False


def write_csv(
    ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str], columns: Sequence[Column] = ()
) -> None:
    """``row,log_q,u,log_w,valid,reason`` and the variables; every row of the ensemble, rejected ones too.

    Samples of walkers have ``walker,group,step`` before the variables.
    Resampled frames come in their order, with ``log_w`` 0 (their `log_q` and `u` are their row's).
    Numbers are written so that they read back exactly.
    """
    whole = not frames.resampled
    rows = np.arange(len(ensemble)) if whole else frames.rows
    log_w = ensemble.log_w if whole else frames.log_w
    chains = [getattr(ensemble, name) for name in CHAIN_FIELDS if name in ensemble.row_fields]
    header = ["row", "log_q", "u", "log_w", "valid", "reason", *CHAIN_FIELDS[: len(chains)]]
    header += [column.name for column in columns]
    _refuse_twice(header)

    def fields(at: slice) -> list[np.ndarray]:
        block = rows[at]
        return [
            block,
            ensemble.log_q[block],
            ensemble.u[block],
            log_w[at],
            ensemble.valid[block].astype(int),
            ensemble.reason[block],
            *(field[block] for field in chains),
            *(column.values[block] for column in columns),
        ]

    write_fields(path, header, len(rows), fields)


def write_fields(
    path: str | os.PathLike[str],
    header: Sequence[str],
    number: int,
    fields: Callable[[slice], Sequence[np.ndarray]],
) -> None:
    """A CSV file of `number` rows, a block at a time: `fields` gives the columns of the rows in a slice.

    Numbers are written so that they read back exactly.
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for start in range(0, number, _AT_ONCE):
            block = fields(slice(start, min(start + _AT_ONCE, number)))
            table.writerows(zip(*(field.tolist() for field in block), strict=True))


def write_colvar(
    ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str], columns: Sequence[Column]
) -> None:
    """PLUMED's COLVAR: ``time``, the variables, ``importance.bias``, ``logw``, ``row``.

    Torsions in radians with their period, as PLUMED's own; ``time`` counts the frames. ``logw`` is the
    natural log of the unnormalised weight, ``importance.bias`` the same in kJ/mol (kT times it), which
    REWEIGHT_BIAS at the temperature of the ensemble turns back into the weight; a model system, whose
    energies have no unit, has none. Rejected rows, whose logarithm PLUMED cannot read, are no frames.
    """
    names = [plumed_name(column.name) for column in columns]
    values = [np.radians(c.values) if c.unit == "degrees" else c.values for c in columns]
    bias = [] if ensemble.temperature is None else [frames.log_w * thermal_energy(ensemble.temperature)]
    fields = ["time", *names, *["importance.bias"][: len(bias)], "logw", "row"]
    _refuse_twice(fields)
    head = [f"#! FIELDS {' '.join(fields)}"]
    for name, column in zip(names, columns, strict=True):
        if column.periodic:
            head += [f"#! SET min_{name} -pi", f"#! SET max_{name} pi"]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("\n".join(head) + "\n")
        for start in range(0, len(frames), _AT_ONCE):
            at = slice(start, start + _AT_ONCE)
            rows = frames.rows[at]
            block = [value[rows] for value in values] + [b[at] for b in bias] + [frames.log_w[at]]
            file.writelines(
                f" {start + number} {' '.join(f'{x:.12g}' for x in line[:-1])} {line[-1]}\n"
                for number, line in enumerate(zip(*(b.tolist() for b in block), rows.tolist(), strict=True))
            )


def plumed_name(name: str) -> str:
    """`name` as PLUMED's fields take it: other characters than letters, digits and _ become _."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def u_nk(ensemble: Ensemble, frames: Frames, temperatures: Iterable[float] = ()) -> pandas.DataFrame:
    """alchemlyb's table of reduced potentials: one row a sample, one column a state; kT.

    States are temperatures (K) of one potential: that of the ensemble and those of `temperatures`,
    ``u_k = u T / T_k``. What the rows are samples *of* decides what the estimator makes of them:

    - Not resampled: of the flow, which is a state with the reduced potential ``-log_q``. Columns and
      index are pairs (flow, temperature), (1.0, T) for the flow and (0.0, T_k) for the states, of which
      no row is a sample. Every row drawn is there; a rejected one has an infinite energy, hence weight
      zero, and counts. MBAR on this table is importance sampling, and as the flow is normalised, its
      free energy of a state is absolute, -ln Z.
    - Resampled: of the state at the temperature of the ensemble. Columns and index are temperatures.
      Repeated rows are not independent, and no estimator can see that: ask for few.

    The attribute ``temperature``, by which alchemlyb turns kT into other units, is the ensemble's.
    """
    import pandas

    if ensemble.temperature is None:
        raise InputError("a model system has no temperature, and u_nk needs one; export csv.")
    ladder = _ladder(ensemble.temperature, temperatures)
    rows = frames.rows if frames.resampled else np.arange(len(ensemble))
    u_n = np.where(ensemble.valid[rows], ensemble.u[rows], np.inf)
    own, n = ensemble.temperature, len(rows)
    scaled = {kelvin: u_n * (own / kelvin) for kelvin in ladder}
    time = np.arange(n, dtype=np.float64)
    if frames.resampled:
        index = pandas.MultiIndex.from_arrays([time, np.full(n, own)], names=["time", "temperature"])
        table = pandas.DataFrame(scaled, index=index)
    else:
        index = pandas.MultiIndex.from_arrays(
            [time, np.ones(n), np.full(n, own)], names=["time", "flow", "temperature"]
        )
        log_q_n = ensemble.log_q[rows]
        # without a density a row is rejected; its weight is zero whatever stands here
        columns: dict[Any, np.ndarray] = {(1.0, own): np.where(np.isfinite(log_q_n), -log_q_n, 0.0)}
        columns |= {(0.0, kelvin): values for kelvin, values in scaled.items()}
        labels = pandas.Index(list(columns), tupleize_cols=False)
        table = pandas.DataFrame(np.column_stack(list(columns.values())), index=index, columns=labels)
    table.attrs = {"temperature": own, "energy_unit": "kT"}
    return table


def write_u_nk(
    ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str], temperatures: Iterable[float] = ()
) -> None:
    """`u_nk` as CSV (two lines of comments, then index and states) or, by the suffix, as Parquet."""
    table = u_nk(ensemble, frames, temperatures)
    if Path(path).suffix == ".parquet":
        _write_parquet(table, path)
        return
    levels = len(table.index.names)
    head = (
        f"# boltzgen u_nk; temperature {table.attrs['temperature']!r} K; energy_unit kT\n"
        f"# read with boltzgen.ensemble.read_u_nk; index: first {levels} columns\n"
    )
    names = [
        *table.index.names,
        *(" ".join(map(repr, label)) if isinstance(label, tuple) else repr(label) for label in table.columns),
    ]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(head)
        table.to_csv(file, header=names[levels:], index_label=names[:levels])


def read_u_nk(path: str | os.PathLike[str]) -> pandas.DataFrame:
    """The table that `write_u_nk` wrote as CSV, ready for alchemlyb; InputError for another file."""
    import pandas

    try:
        with open(path, encoding="utf-8") as file:
            head = [file.readline(), file.readline()]
        found = re.match(r"# boltzgen u_nk; temperature (\S+) K; energy_unit kT", head[0])
        levels = re.search(r"index: first (\d) columns", head[1])
        if found is None or levels is None:
            raise InputError(f'{path}: not a table that `export(..., format="u_nk")` wrote as CSV.')
        table = pandas.read_csv(
            path, comment="#", index_col=list(range(int(levels[1]))), float_precision="round_trip"
        )
        labels = [tuple(float(word) for word in str(name).split()) for name in table.columns]
    except FileNotFoundError as error:
        raise InputError(f'{path}: no such file; write it with `export(..., format="u_nk")`.') from error
    except (OSError, ValueError, IndexError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path}: cannot be read as u_nk; it may be truncated, export again.") from error
    table.columns = pandas.Index([x if len(x) > 1 else x[0] for x in labels], tupleize_cols=False)
    table.attrs = {"temperature": float(found[1]), "energy_unit": "kT"}
    return table


def _write_parquet(table: pandas.DataFrame, path: str | os.PathLike[str]) -> None:
    """In alchemlyb's own layout (`alchemlyb.parsing.parquet.extract_u_nk` reads it): pairs as text."""
    if find_spec("pyarrow") is None:
        raise MissingExtraError(
            f"{path}: Parquet needs pyarrow, which alchemlyb brings (pip install pyarrow); or name a .csv."
        )
    labels = [str(label) if isinstance(label, tuple) else label for label in table.columns]
    named = table.set_axis(labels, axis="columns")
    with atomic_path(path) as temporary:
        named.to_parquet(temporary)


def _ladder(own: float, temperatures: Iterable[float]) -> list[float]:
    asked = [float(kelvin) for kelvin in temperatures]
    check_temperatures(asked)
    return list(dict.fromkeys([own, *asked]))


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two columns are called {name}; name the variables differently.")
