"""From the figures of single molecules to the table of `benchmark transfer`: means, worst deciles, growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Record = Mapping[str, Any]

STAGES = ("zero_shot", "adapted")


@dataclass(frozen=True)
class Column:
    """One figure of a molecule.

    key: in files; label: in tables; path: where the figure stands in a stage of a molecule's record.
    high_is_bad: which end the worst decile is at. percent: shown in per cent.
    """

    key: str
    label: str
    path: tuple[str, ...]
    high_is_bad: bool = True
    percent: bool = False


COLUMNS = (
    Column("ess", "ESS %", ("ess",), high_is_bad=False, percent=True),
    Column("ess_standard_error", "± %", ("ess_standard_error",), percent=True),
    Column("ess_clipped", "clipped %", ("ess_clipped_1e-4",), high_is_bad=False, percent=True),
    Column("ess_deleted", "deleted %", ("ess_deleted_0.2%",), high_is_bad=False, percent=True),
    Column("forward_ess", "forward %", ("reference", "forward_ess"), high_is_bad=False, percent=True),
    Column("k_hat", "k-hat", ("k_hat",)),
    Column("open_rings", "open %", ("share_open_rings",), percent=True),
    Column("rejected", "rejected %", ("share_rejected",), percent=True),
    Column("gap_per_atom", "gap/atom", ("reference", "likelihood", "gap_per_atom")),
    Column("energy_w2", "E-W2", ("reference", "energy_w2", "value")),
    Column("energy_w2_floor", "E floor", ("reference", "energy_w2", "floor")),
    Column("torus_w2", "T-W2", ("reference", "torus_w2", "value")),
    Column("torus_w2_floor", "T floor", ("reference", "torus_w2", "floor")),
    Column("ramachandran_tv", "map TV", ("reference", "ramachandran_tv")),
    Column("ramachandran_tv_floor", "TV floor", ("reference", "ramachandran_tv_floor")),
    Column("phi_error", "dG phi", ("reference", "phi_error")),
    Column("phi_noise", "its noise", ("reference", "phi_noise")),
    Column("seconds", "s", ("seconds",)),
    Column("samples_per_second", "samples/s", ("samples_per_second",), high_is_bad=False),
    Column("effective_samples_per_second", "eff/s", ("effective_samples_per_second",), high_is_bad=False),
)

#: Columns of the tables for people; files have all.
SHOWN = (
    "ess",
    "ess_standard_error",
    "ess_deleted",
    "forward_ess",
    "k_hat",
    "open_rings",
    "rejected",
    "gap_per_atom",
    "energy_w2",
    "energy_w2_floor",
    "torus_w2",
    "torus_w2_floor",
    "phi_error",
    "phi_noise",
    "effective_samples_per_second",
)

#: What fits on a terminal.
NARROW = ("ess", "gap_per_atom", "energy_w2", "torus_w2", "phi_error", "effective_samples_per_second")


def rows_of(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One flat row for each molecule and stage that was measured: ``COLUMNS``, None where not known."""
    rows = []
    for stage in STAGES:
        for record in records:
            figures = record["stages"].get(stage)
            if figures is None:
                continue
            found = figures["reference"]
            flat = {**figures, "reference": found and {**found, **_of_phi_and_maps(found)}}
            rows.append(
                {
                    "molecule": record["name"],
                    "stage": stage,
                    "atoms": record["atoms"],
                    "seen_in_training": record["seen_in_training"],
                    "verdict": figures["verdict"],
                    **{column.key: _at(flat, column.path) for column in COLUMNS},
                }
            )
    return rows


def summarise(rows: Sequence[Record]) -> dict[str, Any]:
    """For each stage and column: mean over molecules, its standard error, the worst decile, how many.

    The standard error is the scatter among molecules over the root of their number, None for one or
    two. The worst decile is the value that one molecule in ten reaches or falls short of.
    """
    found: dict[str, Any] = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        here = [row for row in rows if row["stage"] == stage]
        found[stage] = {column.key: _summary(here, column) for column in COLUMNS}
    return found


def growth(rows: Sequence[Record]) -> dict[str, Any]:
    """How ESS, gap and time grow with the number of atoms n, for each stage, with standard errors of slopes.

    ``ln ESS = a + b n``, ``gap per atom = a + b n``, ``ln seconds = a + b ln n``, by least squares; None with
    fewer than three sizes.
    """
    laws: dict[str, tuple[str, Any, Any]] = {
        "log_ess_per_atom": ("ess", np.asarray, np.log),
        "gap_per_atom_per_atom": ("gap_per_atom", np.asarray, np.asarray),
        "exponent_of_time": ("seconds", np.log, np.log),
    }
    found: dict[str, Any] = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        here = [row for row in rows if row["stage"] == stage]
        found[stage] = {
            name: _slope(
                [
                    (x_of(row["atoms"]), y_of(row[key]))
                    for row in here
                    if row[key] is not None and (y_of is np.asarray or row[key] > 0)
                ]
            )
            for name, (key, x_of, y_of) in laws.items()
        }
    return found


def familiarity_auroc(records: Sequence[Record], threshold: float = 0.01) -> dict[str, Any] | None:
    """How well the unfamiliarity of a molecule foretells a zero-shot ESS below `threshold`.

    The probability that a molecule below has a higher score than one above (ties count one half), None where
    no score is known or all molecules are on one side.
    """
    pairs = [
        (record["unfamiliarity"], record["stages"]["zero_shot"]["ess"] < threshold)
        for record in records
        if record.get("unfamiliarity") is not None and "zero_shot" in record["stages"]
    ]
    low = np.array([score for score, is_low in pairs if is_low])
    high = np.array([score for score, is_low in pairs if not is_low])
    if not len(low) or not len(high):
        return None
    above = low[:, None] - high[None, :]
    value = float(np.mean((above > 0) + 0.5 * (above == 0)))
    return {"auroc": value, "threshold": threshold, "below": len(low), "above": len(high)}


def table_rows(
    rows: Sequence[Record], summary: Record, stage: str, shown: Sequence[str] = SHOWN
) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of the table for people: molecules, then mean, its error and worst decile.

    Where the error of the ESS has no column it stands beside the ESS.
    """
    columns = [column for column in COLUMNS if column.key in shown]
    headers = ["molecule", "atoms", *(column.label for column in columns)]
    body = [
        [
            row["molecule"] + ("*" if row["seen_in_training"] else ""),
            str(row["atoms"]),
            *(_shown(row[column.key], column) + _error_beside(row, column, shown) for column in columns),
        ]
        for row in rows
        if row["stage"] == stage
    ]
    for name, entry in (("mean", "mean"), ("± of mean", "standard_error"), ("worst 10 %", "worst_decile")):
        cells = [_shown(summary[stage][column.key][entry], column) for column in columns]
        body.append([name, "", *cells])
    return headers, body


def markdown(document: Record, rows: Sequence[Record]) -> str:
    """The table as Markdown, with what its columns mean."""
    settings, summary = document["settings"], document["summary"]
    lines = [
        f"### Transfer: {document['model']} on {document['split']} molecules of {document['dataset']}",
        "",
        f"{settings['samples']} samples a molecule at {settings['temperature_K']:g} K, {settings['device']}, "
        f"{settings['dtype']}; seed {settings['seed']}.",
        "",
    ]
    for stage in summary:
        headers, body = table_rows(rows, summary, stage)
        lines += [f"**{TITLES[stage]}**", "", "| " + " | ".join(headers) + " |"]
        lines.append("|" + "---|" * len(headers))
        lines += ["| " + " | ".join(cells) + " |" for cells in body] + [""]
    lines += [f"- {text}" for text in DEFINITIONS] + [""]
    lines += [f"What to cite: `boltzgen cite {document[key]}`." for key in ("model", "dataset")] + [""]
    return "\n".join(lines)


TITLES = {"zero_shot": "Zero-shot", "adapted": "Adapted"}

#: What the columns mean; printed below the table and stored with it.
DEFINITIONS = (
    "ESS: Kish's fraction of all samples drawn, rejected ones counted; its error is the larger of the delta "
    "method's and the bootstrap's, and too small where k-hat exceeds 0.25 or so.",
    "clipped: the largest 1e-4 of the weights lowered to the next (TA-BG); deleted: the largest 0.2 % left "
    "out (Prose, SBG). Both for comparison only.",
    "forward: ESS seen from the reference frames. open, rejected: samples with an open ring, and of weight "
    "zero for any reason.",
    "gap/atom: KL(reference || flow) in nats over the number of atoms, ln Z by BAR between samples and "
    "frames.",
    "E-W2 (kT): between energies of the first 1e4 samples, weighted, and of all frames. T-W2 (rad): over all "
    "phi and psi, equally many frames and samples, these resampled by weight. Floors: between the halves of "
    "the frames.",
    "dG phi (kT): mean |error| of G(phi > 0) - G(phi < 0) against the reference over the phi of a molecule; "
    "its noise: the combined standard error of both, below which an error means nothing. Molecules whose "
    "reference has fewer than 10 effective frames on a side are left out.",
    "s, eff/s: wall time of drawing and weighing, energies included. Worst 10 %: one molecule in ten is as "
    "bad or worse. *: trained on.",
)


def _of_phi_and_maps(reference: Record) -> dict[str, Any]:
    """Means over the torsions of one molecule."""
    phi = [row for row in reference["phi"] if row["B"] == "phi>0" and row["error"] is not None]
    noise = [np.hypot(row["standard_error"], row["reference_standard_error"]) for row in phi]
    maps = reference["ramachandran"]
    return {
        "phi_error": _mean([abs(row["error"]) for row in phi]),
        "phi_noise": _mean(noise),
        "ramachandran_tv": _mean([row["tv"] for row in maps]),
        "ramachandran_tv_floor": _mean([row["tv_floor"] for row in maps]),
    }


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _at(figures: Any, path: Sequence[str]) -> Any:
    for key in path:
        if figures is None:
            return None
        figures = figures[key]
    return figures


def _summary(rows: Sequence[Record], column: Column) -> dict[str, Any]:
    values = np.array([row[column.key] for row in rows if row[column.key] is not None], dtype=float)
    if not values.size:
        return {"mean": None, "standard_error": None, "worst_decile": None, "molecules": 0}
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 2 else None
    ordered = np.sort(values if not column.high_is_bad else -values)
    worst = float(ordered[max(int(np.ceil(0.1 * values.size)) - 1, 0)])
    return {
        "mean": float(values.mean()),
        "standard_error": error,
        "worst_decile": -worst if column.high_is_bad else worst,
        "molecules": int(values.size),
    }


def _slope(points: Sequence[tuple[Any, Any]]) -> dict[str, float] | None:
    from scipy.stats import linregress

    if len({float(x) for x, _ in points}) < 3:
        return None
    fit = linregress([float(x) for x, _ in points], [float(y) for _, y in points])
    return {"value": float(fit.slope), "standard_error": float(fit.stderr)}


def _error_beside(row: Record, column: Column, shown: Sequence[str]) -> str:
    error = row["ess_standard_error"]
    beside = column.key == "ess" and "ess_standard_error" not in shown and error is not None
    return f" ±{100 * error:.2g}" if beside else ""


def _shown(value: Any, column: Column) -> str:
    if value is None:
        return "-"
    value = 100 * value if column.percent else value
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
