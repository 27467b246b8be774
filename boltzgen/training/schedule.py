"""Numbers that follow the progress of a run, and the other types that settings share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

#: No weight, rate or factor is larger.
LARGEST = 1e12


def _rising(points: float | list[tuple[float, float]]) -> float | list[tuple[float, float]]:
    if isinstance(points, list):
        places = [place for place, _ in points]
        if not points or places != sorted(places) or places[0] < 0 or places[-1] > 1:
            raise ValueError("a schedule is a list of [progress, value] with progress rising from 0 to 1")
        values = [value for _, value in points]
    else:
        values = [points]
    if any(value < 0 for value in values):
        raise ValueError("a weight or rate cannot be negative")
    if any(value > LARGEST for value in values):
        raise ValueError(f"a weight or rate cannot be above {LARGEST:g}")
    return points


def positive(points: float | list[tuple[float, float]]) -> float | list[tuple[float, float]]:
    if min([v for _, v in points] if isinstance(points, list) else [points]) <= 0:
        raise ValueError("a factor on temperatures must be above zero")
    return points


#: A number, or points [progress, value] joined by straight lines; progress runs from 0 to 1.
Schedule = Annotated[float | list[tuple[float, float]], AfterValidator(_rising)]

#: K; nothing holds together at more.
Temperature = Annotated[float, Field(gt=0, le=1e5)]

#: At least one temperature, and not more than anybody exchanges between.
Ladder = Annotated[list[Temperature], Field(min_length=1, max_length=256)]


def schedule_value(schedule: float | list[tuple[float, float]], progress: float) -> float:
    """The value of a schedule at `progress` in [0, 1]; constant beyond its first and last point."""
    if not isinstance(schedule, list):
        return float(schedule)
    before = schedule[0]
    for point in schedule:
        if point[0] >= progress:
            span = point[0] - before[0]
            share = (progress - before[0]) / span if span > 0 else 1.0
            return before[1] + min(max(share, 0.0), 1.0) * (point[1] - before[1])
        before = point
    return schedule[-1][1]
