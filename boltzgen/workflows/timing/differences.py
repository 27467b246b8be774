"""How long estimates between several systems will take: energies and densities, measured on a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boltzgen.errors import StoppedError
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.workflows.free_energy.ends import End
from boltzgen.workflows.timing.expectation import Expectation
from boltzgen.workflows.timing.sampling import USUAL_ROWS, seconds_of_a_sample, seconds_of_an_energy


def expected_between(first: End, second: End, samples: int) -> Expectation:
    """What to expect of `samples` of each end sent to the other, with and without the map of both flows."""
    ends = [end for end in (first, second) if end.system is not None]
    if len(ends) < 2 or not samples:
        return Expectation("between", 1.0, "the one-sided answer", "nothing is evaluated")
    # a map asks the density of one flow and the samples of the other, and an energy, each way
    each = sum(_seconds_of_a_row(end, samples) for end in ends)
    seconds = 3 * samples * each
    return Expectation("between", seconds, f"{samples} samples sent each way", _rate(2 / each))


def expected_mbar(targets: Sequence[Target], ends: Sequence[End], rows: int) -> Expectation:
    """What to expect of the energies of `rows` in each of `targets`, and of the densities of `ends`."""
    energy = sum(seconds_of_an_energy(target, USUAL_ROWS) for target in targets)
    density = sum(_seconds_of_a_row(end, rows) for end in ends)
    task = f"{rows} rows, the energies of {len(targets)} systems, the densities of {len(ends)} flows"
    return Expectation("mbar", rows * (energy + density), task, _rate(1 / (energy + density)))


def polling(stop: StopRequest, progress: Progress) -> Progress:
    """`progress`, which raises StoppedError once an end is requested."""

    def told(done: int, total: int | None, values: Mapping[str, float | str] | None = None, /) -> None:
        if stop.requested:
            raise StoppedError(
                f"{stop.reason} after {done} of {total} states and flows; nothing was written. "
                "Fewer `samples` take less time."
            )
        progress(done, total, values)

    return told


def _seconds_of_a_row(end: End, number: int) -> float:
    assert end.system is not None
    return seconds_of_a_sample(end.system.generator, number, end.temperature)


def _rate(rows: float) -> str:
    return f"{rows:.3g} rows a second"
