"""``answer.json``: what was found, in sentences and numbers for anyone, with verdict and what next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.files import write_json
from boltzgen.notebook import with_interval
from boltzgen.workflows.conformers.told import called
from boltzgen.workflows.free_energy.results import FreeEnergyResult
from boltzgen.workflows.records import Record
from boltzgen.workflows.roads.asking import MAIN, Asked

SCHEMA = "boltzgen.answer/1"

#: States that a sentence is said of, the likeliest of each result.
SAID = 4


@dataclass(frozen=True, repr=False)
class Run(Record):
    """``DIR/answer.json``, and the `folder` DIR that it stands in."""

    folder: Path

    @property
    def road(self) -> str:
        """The road that was taken."""
        return str(self._content["road"]["name"])

    @property
    def reason(self) -> str:
        """Why that one."""
        return str(self._content["road"]["reason"])

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words."""
        return tuple(self._content["sentences"])

    @property
    def populations(self) -> tuple[Mapping[str, Any], ...]:
        """One record a state: result, name, population, standard_error, n_effective."""
        return tuple(self._content["populations"])

    @property
    def joint(self) -> str | None:
        """The result of joint states, where single torsions have results of their own; None elsewhere."""
        results = {one["result"] for one in self.populations}
        return MAIN if MAIN in results and len(results) > 1 else None

    @property
    def mirror_images(self) -> tuple[Mapping[str, Any], ...]:
        """Two states that are mirror images, together: the same, and the names of the two `states`."""
        return tuple(self._content["mirror_images"])

    @property
    def conformers(self) -> tuple[Mapping[str, Any], ...]:
        """The likeliest wells of a small molecule, as `conformers` finds them; all are in ``CONFORMERS``."""
        return tuple((self._content.get("conformers") or {}).get("wells", ()))

    @property
    def error(self) -> float | None:
        """The largest standard error (kT) among the free energies that the precision is about."""
        found = self._content["precision"]["reached_kT"]
        return None if found is None else float(found)

    @property
    def status(self) -> str:
        """``complete``, or ``partial`` where time or a signal ended it before."""
        return str(self._content["status"])

    @property
    def verdict(self) -> str:
        """``ok``, ``caution`` or ``unreliable``: the worst of the ensemble and of what counts."""
        return str(self._content["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not better, worst first."""
        return tuple(self._content["reasons"])

    @property
    def next(self) -> tuple[str, ...]:
        """What would help."""
        return tuple(self._content["next"])

    @property
    def seconds(self) -> float:
        """Wall time of all calls."""
        return float(self._content["seconds"])

    def rows(self) -> dict[str, Any]:
        precision = self._content["precision"]
        return {
            "road": self.road,
            "samples": self._content["samples"],
            "effective samples": self._content["n_effective"],
            "largest standard error (kT)": precision["reached_kT"],
            "asked for (kT)": precision["asked_kT"],
            "status": self.status,
            "verdict": self.verdict,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        return f"<Run in {self.folder}: {self.status}, verdict {self.verdict}>\n" + "\n".join(self.sentences)


def write_answer(
    folder: Path,
    *,
    road: Mapping[str, Any],
    question: Mapping[str, Any],
    ensemble: Ensemble,
    asked: Asked,
    found: Mapping[str, FreeEnergyResult],
    mirror_images: list[dict[str, Any]],
    conformers: Mapping[str, Any] | None,
    error: float | None,
    status: str,
    why_partial: str,
    next_steps: list[str],
    seconds: float,
) -> Run:
    """Write ``answer.json`` into `folder`; the record of it."""
    diagnostics = ensemble.diagnostics()
    verdict, reasons = _verdict(diagnostics.verdict, diagnostics.reasons, asked, found)
    if why_partial:
        reasons = [why_partial, *reasons]
    populations = [
        {"result": name, **state.to_json()}
        for name, result in found.items()
        for state in sorted(result.populations, key=lambda one: -one.population)
    ]
    content = {
        "schema": SCHEMA,
        "status": status,
        "question": dict(question),
        "road": dict(road),
        "temperature_K": ensemble.temperature,
        "sentences": _sentences(ensemble, found, mirror_images, conformers),
        "populations": populations,
        "mirror_images": mirror_images,
        "conformers": conformers,
        "free_energies": [
            {"result": name, "counts": _counts(asked, name, one), **one.to_json(ensemble.temperature)}
            for name, result in found.items()
            for one in result.estimates
        ],
        "precision": {
            "asked_kT": question["precision"],
            "reached_kT": error if any(asked.counts.values()) else None,
        },
        "samples": len(ensemble),
        "n_effective": diagnostics.n_effective,
        "verdict": verdict,
        "reasons": reasons,
        "next": next_steps,
        "seconds": seconds,
    }
    write_json(folder / "answer.json", content)
    return Run(content, folder)


def _counts(asked: Asked, name: str, one: Any) -> bool:
    return [one.A, one.B] in [list(pair) for pair in asked.counts[name]]


def _verdict(
    verdict: str, reasons: tuple[str, ...], asked: Asked, found: Mapping[str, FreeEnergyResult]
) -> tuple[str, list[str]]:
    """The worst of the ensemble's verdict and of those of the differences that count, with the reasons."""
    every = [(verdict, -1.0, reason) for reason in reasons]
    for name, result in found.items():
        for one in result.estimates:
            if _counts(asked, name, one):
                every += [(one.verdict, one.n_effective or 0.0, reason) for reason in one.reasons]
    worst = max([verdict, *(found_verdict for found_verdict, *_ in every)], key=VERDICTS.index)
    ordered = sorted(every, key=lambda told: (-VERDICTS.index(told[0]), told[1]))  # the poorest states first
    return worst, list(dict.fromkeys(reason for *_, reason in ordered))


def _sentences(
    ensemble: Ensemble,
    found: Mapping[str, FreeEnergyResult],
    mirror_images: list[dict[str, Any]],
    conformers: Mapping[str, Any] | None,
) -> list[str]:
    """Populations of the likeliest states of each result, mirror images added up, then its free energies.

    At last the likeliest conformers.
    """
    said = []
    for name, result in found.items():
        shares = sorted(result.populations, key=lambda one: -one.population)[:SAID]
        told = [_share(share.to_json()) for share in shares]
        about = "" if "/" not in name else f" of {name.split('/')[1]}"
        said.append(f"At {ensemble.temperature:g} K the states{about} hold: {'; '.join(told)}.")
        sums = [_share(one) for one in mirror_images if one["result"] == name][:SAID]
        if sums:
            said.append(f"Mirror images of one another{about} hold together: {'; '.join(sums)}.")
        for one in result.estimates[: SAID - 1]:
            if one.value is not None:
                said.append(
                    f"G({one.B}) - G({one.A}) = {with_interval(one.value, one.interval95, one.unit)}."
                )
    if not said:
        said.append("No torsion has more than one well here; OUT holds the ensemble.")
    wells = [] if conformers is None else conformers["wells"][:SAID]
    if wells:
        told = [_share({**one, "name": called(one)}) for one in wells]
        said.append(f"Minimised, the samples fall into these conformers: {'; '.join(told)}.")
    return said


def _share(one: Mapping[str, Any]) -> str:
    """A state with its share in percent; `one` as `Population.to_json`."""
    interval = _percent(one["interval95"])
    return f"{one['name']} {with_interval(100 * one['population'], interval, '%')}"


def _percent(interval: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = (None if end is None else 100 * end for end in interval)
    return low, high
