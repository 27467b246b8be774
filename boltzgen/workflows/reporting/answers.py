"""What answers say: free energies, benchmarks, selftests, and the folder of a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boltzgen.files import is_there, read_json
from boltzgen.notebook import with_interval
from boltzgen.workflows.reporting.calls import beside, call, located
from boltzgen.workflows.reporting.folders import Found
from boltzgen.workflows.reporting.numbers import known, part, percent
from boltzgen.workflows.reporting.shown import Said, Step, Table

#: What stands in the table of a list of transfers.
TRANSFER_PARTS = ("transfer", "solvation", "energy", "entropy")


def estimates_said(given: Path, found: Found) -> Said:
    record, rows, reasons = found.record, [], []
    for one in record.get("estimates", ()):
        unit = str(one.get("unit", "kT"))
        value = part(one, "value").get(unit)
        low, high = part(one, "interval95").get(unit) or (None, None)
        between = None if low is None else f"{low:.3g} to {high:.3g}"
        told = None if value is None else f"{value:.4g} {unit}"
        rows.append((one.get("name"), told, between, one.get("n_effective"), one.get("verdict")))
        reasons += [f"{one.get('name')}: {reason}" for reason in one.get("reasons", ())]
    origin = part(record, "provenance")
    numbers = {
        "temperature, K": record.get("temperature_K"),
        "samples": origin.get("samples"),
        "states": origin.get("states_file"),
    }
    tables = (
        [Table("estimates", ("", "value", "95 %", "effective samples", "verdict"), tuple(rows))]
        if rows
        else []
    )
    populations = [
        (
            one["name"],
            with_interval(_percent(one["population"]), _interval(one), "%"),
            one.get("n"),
        )
        for one in record.get("states", ())
        if "population" in one
    ]
    if populations:
        tables.append(Table("populations", ("state", "share", "samples"), tuple(populations)))
    steps = [Step("what to cite for it", call("cite", given))]
    samples = origin.get("samples")
    if isinstance(samples, str):
        steps.insert(0, Step("the samples it is from", call("show", located(samples, given))))
    return Said(known(numbers), tuple(tables), tuple(dict.fromkeys(reasons)), tuple(steps))


def _interval(one: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The ends of the 95 % interval of a population, in percent."""
    low, high = one.get("interval95") or (None, None)
    return _percent(low), _percent(high)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def wells_said(given: Path, found: Found) -> Said:
    """The wells with what each holds, of which samples, and how many of these were minimised."""
    record = found.record
    minimised, pose = part(record, "minimised"), part(record, "pose")
    numbers = {
        "molecule": record.get("molecule"),
        "temperature, K": record.get("temperature_K"),
        "samples": part(record, "provenance").get("source"),
        "minimised": minimised.get("rows"),
        "share of the weight": percent(minimised.get("share_of_weight")),
        "staying near the pose, kcal/mol": part(part(pose, "free_energy"), "value").get("kcal/mol"),
        "verdict": record.get("verdict"),
    }
    rows = [
        (
            one.get("name"),
            one.get("labels"),
            one.get("degeneracy"),
            None
            if one.get("population") is None
            else with_interval(_percent(one["population"]), _interval(one), "%"),
            part(one, "over_lowest").get("kcal/mol"),
        )
        for one in record.get("wells", ())
    ]
    columns = ("", "labels", "images", "share", "minimum over the lowest, kcal/mol")
    steps = [Step("what to cite for it", call("cite", given / "conformers.json"))]
    samples = part(record, "provenance").get("source")
    if isinstance(samples, str) and record.get("kind") in ("samples", "walkers"):
        steps.insert(0, Step("the samples it is from", call("show", located(samples, given))))
    return Said(
        known(numbers),
        (Table("wells", columns, tuple(rows)),),
        tuple(record.get("reasons", ())),
        tuple(steps),
    )


def benchmark_said(given: Path, found: Found) -> Said:
    record, rows = found.record, []
    for stage, columns in part(record, "summary").items():
        ess = part(columns, "ess")
        rows.append((stage, ess.get("molecules"), percent(ess.get("mean")), percent(ess.get("worst_decile"))))
    table = Table("stages", ("stage", "molecules", "mean ESS", "worst decile"), tuple(rows))
    numbers = {"model": record.get("model"), "data set": record.get("dataset")}
    return Said(known(numbers), (table,) if rows else (), (), ())


def transfers_said(given: Path, found: Found) -> Said:
    """Each molecule's transfer and its parts, kcal/mol; reasons by molecule."""
    record = found.record
    molecules = [one for one in record.get("molecules", ()) if isinstance(one, Mapping)]
    rows, reasons = [], []
    for one in molecules:
        parts = [part(part(part(one, "estimates"), name), "value").get("kcal/mol") for name in TRANSFER_PARTS]
        rows.append((one.get("name"), *parts, one.get("verdict") or one.get("status")))
        told = [one["reason"]] if one.get("reason") else list(one.get("reasons") or ())
        reasons += [f"{one.get('name')}: {reason}" for reason in told]
    table = Table("kcal/mol", ("molecule", *TRANSFER_PARTS, "verdict"), tuple(rows))
    numbers = {"what": record.get("title"), "molecules": len(molecules)}
    return Said(known(numbers), (table,) if rows else (), tuple(reasons), ())


def directory_said(given: Path, found: Found) -> Said:
    """What was asked, the road that was taken, how far it came, and the answer so far."""
    record = found.record
    answer = read_json(found.path / "answer.json") if is_there(found.path / "answer.json") else {}
    question, road, precision = part(record, "question"), part(record, "road"), part(answer, "precision")
    numbers = {
        "molecule": question.get("molecule"),
        "asked at, K": question.get("temperature"),
        "road": road.get("name"),
        "why": road.get("reason"),
        "samples": answer.get("samples"),
        "effective samples": answer.get("n_effective"),
        "largest error, kT": precision.get("reached_kT"),
        "error that was asked for, kT": precision.get("asked_kT"),
        "verdict": answer.get("verdict"),
    }
    sentences = [(one,) for one in answer.get("sentences") or () if isinstance(one, str)]
    listed = [one for one in record.get("steps") or () if isinstance(one, Mapping)]
    rows = [(one.get("name"), one.get("status"), one.get("seconds"), one.get("command")) for one in listed]
    tables = [Table("answer", ("",), tuple(sentences))] if sentences else []
    tables += [Table("what was done", ("step", "status", "seconds", "command"), tuple(rows))] if rows else []
    page = call("write_report", given, output=beside(given / "x", "report.html"))
    steps = [Step("all of it on one page", page)]
    if is_there(found.path / "OUT" / "manifest.json"):
        steps.append(Step("the samples that it rests on", call("show", given / "OUT")))
    told = [*(answer.get("reasons") or ()), *(f"what helps: {one}" for one in answer.get("next") or ())]
    return Said(known(numbers), tuple(tables), tuple(map(str, told)), tuple(steps))


def selftest_said(given: Path, found: Found) -> Said:
    rows = [one for one in found.record.get("rows", ()) if isinstance(one, Mapping)]
    failed = [
        f"{one.get('system')}, {one.get('quantity')}: {one.get('reason')}"
        for one in rows
        if not one.get("passed")
    ]
    numbers = {
        "numbers": len(rows),
        "passed": len(rows) - len(failed),
        "version": found.record.get("version"),
    }
    return Said(numbers, (), tuple(failed), ())
