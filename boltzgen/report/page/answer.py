"""The answer first: in words and units, with its verdict, the reasons, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.report.axes import symbol
from boltzgen.report.page.markup import (
    Html,
    badge,
    bullets,
    joined,
    measured,
    percentage,
    prose,
    rounded,
    table,
    tag,
)
from boltzgen.report.page.record import Material, Section, part, several
from boltzgen.shares import wilson_interval

#: Estimates that are told in a sentence; the table has all of them.
MOST_SENTENCES = 6

#: Units of a free energy.
ENERGIES = ("kT", "kJ/mol", "kcal/mol")

#: What a verdict means, for people who see it for the first time.
MEANING = {
    "ok": "the checks that were made found nothing against these numbers",
    "caution": "usable with the reservations below",
    "unreliable": "do not use these numbers; the reasons say what is wrong",
}


def answer(material: Material) -> Section:
    """The section ``answer``: there is always one."""
    told = sentences(material)
    verdict, reasons = judged(material)
    following = next_steps(material)
    words = material.words
    parts: list[object] = [tag("p", prose(one, words), class_="answer") for one in told]
    if verdict:
        meaning = MEANING.get(verdict, "")
        parts.append(tag("p", joined(["Verdict: ", badge(verdict), f" – {meaning}." if meaning else ""])))
    if reasons:
        parts += [tag("h3", "Why"), bullets(prose(reason, words) for reason in reasons)]
    if following:
        parts += [tag("h3", "What to do next"), bullets(prose(one, words) for one in following)]
    parts += [tag("p", one) for one in _circumstances(material)]
    parts.append(_estimates(material))
    parts.append(_populations(material))
    if material.notes:
        parts += [tag("h3", "What could not be read"), bullets(prose(one, words) for one in material.notes)]
    numbers = {
        "sentences": told,
        "verdict": verdict,
        "reasons": reasons,
        "next": following,
        "estimates": estimates_of(material),
        "populations": populations_of(material),
        "could_not_be_read": list(material.notes),
    }
    return Section("answer", "Answer", joined(parts), numbers)


def _circumstances(material: Material) -> list[str]:
    """Which road a run took, whether it came to its end, and the precision it reached."""
    record, found = material.answer, []
    road, precision = part(record, "road"), part(record, "precision")
    if road.get("name"):
        found.append(f"Road: {road['name']}" + (f" – {road['reason']}" if road.get("reason") else "") + ".")
    if record.get("status") == "partial":
        found.append("This is what there is so far; the same command goes on.")
    asked, reached = precision.get("asked_kT"), precision.get("reached_kT")
    if isinstance(asked, int | float):
        told = f"{reached:.2g} kT" if isinstance(reached, int | float) else "not known"
        found.append(f"Largest standard error: {told}; asked for {asked:g} kT.")
    return found


def sentences(material: Material) -> list[str]:
    """What was found, most asked for first."""
    given = [symbol(str(one)).replace("+-", "±") for one in several(material.answer, "sentences")]
    if given:
        return given
    found = [*_told_estimates(material)]
    if material.ensemble is not None:
        found.append(_told_samples(material))
    elif material.frames is not None:
        found.append(_told_frames(material))
    if not found and material.metrics:
        found.append(_told_training(material))
    if not found and material.training:
        found.append(f"A training run in {material.source}; nothing was measured yet.")
    if not found and material.molecule is not None:
        size = material.molecule.n_atoms
        found.append(f"{material.subject.line()}: {size} atoms, prepared; there are no samples yet.")
    return found or [f"{material.source} holds nothing yet that a number could be made from."]


def _told_estimates(material: Material) -> Iterator[str]:
    where = material.subject.line()
    for one in estimates_of(material)[:MOST_SENTENCES]:
        value, error = part(one, "value"), part(one, "standard_error")
        name, unit = named(one), str(one.get("unit", "kT"))
        if value.get(unit) is None:
            yield f"{name}: not known."
            continue
        low, high = [*several(part(one, "interval95"), unit), None, None][:2]
        told_as = measured if low is None or high is None else rounded
        others = [told_as(value[key], error.get(key), key) for key in value if value[key] is not None]
        between = "" if low is None or high is None else f"; 95 % interval {low:.3g} to {high:.3g} {unit}"
        told = " = ".join(others)
        if one.get("A") and one.get("B"):
            a, b = symbol(str(one["A"])), symbol(str(one["B"]))
            yield f"G({b}) − G({a}) = {told}{between} ({where})."
        else:
            yield f"{name}: {told}{between} ({where})."


def _told_samples(material: Material) -> str:
    summary, n = material.summary, len(material.ensemble or ())
    if summary.get("walkers"):
        bulk = summary.get("ess_bulk")
        worth = "" if bulk is None else f", which count as {bulk:.0f} independent ones"
        return f"{n} samples of {summary['walkers']} walkers of {material.subject.line()}{worth}."
    ess = summary.get("ess")
    worth = "" if not isinstance(ess, int | float) else f" count as {ess * n:.0f} independent ones"
    many = f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"The {many} weighted samples of {material.subject.line()}{worth} ({percentage(ess)})."


def _told_frames(material: Material) -> str:
    frames = material.frames
    assert frames is not None
    slowest = max([1.0, *frames.statistical_inefficiency.values()])
    return (
        f"The simulation of {material.subject.line()} has {len(frames)} frames, which count as "
        f"{len(frames) / slowest:.0f} independent ones."
    )


def _told_training(material: Material) -> str:
    last = [row for row in material.metrics if row.get("ess") is not None][-1:]
    step = material.metrics[-1].get("step")
    if not last:
        return f"The flow was trained for {step} steps; how good its samples are was not measured."
    return (
        f"After {step} steps of training, {percentage(last[0]['ess'])} of the flow's samples count "
        f"(effective sample size, measured at step {last[0].get('step')})."
    )


def judged(material: Material) -> tuple[str | None, list[str]]:
    """The worst verdict among the records, with the reasons of those that have it."""
    if material.answer.get("verdict") in VERDICTS:
        return str(material.answer["verdict"]), [str(one) for one in several(material.answer, "reasons")]
    records = [one for one in [*estimates_of(material), material.summary] if one.get("verdict") in VERDICTS]
    if not records:
        return None, []
    verdict = max((str(one["verdict"]) for one in records), key=VERDICTS.index)
    reasons = [
        str(reason)
        for one in records
        if one["verdict"] == verdict
        for reason in several(one, "reasons")
        if " is null: " not in str(reason)
    ]
    return verdict, list(dict.fromkeys(reasons))


def next_steps(material: Material) -> list[str]:
    """What the answer of a whole run says, else what can be done with the folder."""
    return [str(one) for one in several(material.answer, "next")] or list(material.steps)


def _estimates(material: Material) -> Html:
    """One line an estimate: those in kT in three units, others in their own."""
    energies, others = [], []
    for one in estimates_of(material):
        value, error = part(one, "value"), part(one, "standard_error")
        unit = str(one.get("unit", "kT"))
        low, high = [*several(part(one, "interval95"), unit), None, None][:2]
        told_as = measured if low is None or high is None else rounded
        between = "–" if low is None or high is None else f"{low:.3g} to {high:.3g}"
        if unit == "kT":
            known = (told_as(value.get(key), error.get(key)) for key in ENERGIES)
            energies.append((named(one), *known, between, badge(one.get("verdict"))))
        else:
            shown = told_as(value.get(unit), error.get(unit))
            others.append((named(one), shown, unit, between, badge(one.get("verdict"))))
    found = []
    if energies:
        columns = ("free energy", *ENERGIES, "95 % interval (kT)", "verdict")
        found.append(table(columns, energies, "Free energies"))
    if others:
        words = ("", "value", "unit", "95 % interval", "verdict")
        found.append(table(words, others, "Other quantities"))
    return joined(found)


def named(one: Mapping[str, Any]) -> str:
    """The name of an estimate with Greek letters and an arrow."""
    return symbol(str(one.get("name"))).replace("->", "→")


def estimates_of(material: Material) -> list[dict[str, Any]]:
    """The free energies, as ``free_energy.json`` has them; those of the answer first."""
    return several(material.answer, "free_energies") or several(material.free_energy, "estimates")


def _named(one: Mapping[str, Any]) -> str:
    """``states/phi: left``: the name of a state, behind that of the question that it answers."""
    asked = str(one.get("result") or "").rpartition("/")[2]
    plain = asked in ("", "states", "free_energy")
    return str(one.get("name")) if plain else f"{asked}: {one.get('name')}"


def _ends(one: Mapping[str, Any]) -> list[float | None]:
    """The interval of a population; that of its error in files of versions that wrote none."""
    ends = [*several(one, "interval95"), None, None][:2]
    if all(isinstance(end, int | float) for end in ends):
        return ends
    return list(wilson_interval(one["population"], one.get("standard_error")))


def populations_of(material: Material) -> list[dict[str, Any]]:
    """Name, share, its standard error and 95 % interval of each state that was asked for."""
    found = several(material.answer, "populations") or several(material.free_energy, "states")
    return _shares_of(found)


def _shares_of(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shares = (int, float, type(None))
    return [
        {
            "name": _named(one),
            "population": one.get("population"),
            "standard_error": one.get("standard_error"),
            "interval95": _ends(one),
        }
        for one in found
        if "population" in one
        and isinstance(one["population"], shares)
        and isinstance(one.get("standard_error"), shares)
    ]


def shares_told(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Names and shares of such as `populations_of` for a table, in percent with their intervals."""
    return [
        (symbol(one["name"]), percentage(one["population"], one["interval95"]))
        for one in found
        if one["population"] is not None
    ]


def _populations(material: Material) -> Html:
    rows = shares_told([*populations_of(material), *_shares_of(several(material.answer, "mirror_images"))])
    told = table(("state", "population (95 % interval)"), rows, "Populations") if rows else Html("")
    return joined([told, _conformers(material)])


def _conformers(material: Material) -> Html:
    """The wells of a small molecule: labels, images, population."""
    rows = [
        (
            str(one.get("labels") or one.get("name")),
            one.get("degeneracy"),
            percentage(one["population"], _ends(one)),
        )
        for one in several(part(material.answer, "conformers"), "wells")
    ]
    columns = ("conformer", "images", "population (95 % interval)")
    return table(columns, rows, "Conformers, minimised") if rows else Html("")
