"""What suits a molecule and its frames, where a configuration does not say how to train.

Rules of thumb, from the shipped configurations (docs/commands.md has them in words). They follow from
the number of atoms and of frames alone, so that the same configuration is the same run everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The molecule by whose size others are measured: alanine dipeptide, its steps and the rows of a step.
ATOMS, STEPS, ROWS = 22, 350, 384

FEWEST_STEPS, MOST_STEPS, FEWEST_ROWS = 200, 4000, 128

#: Frames that are held out at each temperature, if they are no larger or smaller share than these.
HELD_OUT, LEAST_SHARE, LARGEST_SHARE = 100, 0.02, 0.2

#: Times that a frame is drawn from which on data alone would be learned by heart.
OFTEN = 20.0

#: Share of the likelihood's weight over a run, on average, where it goes on to the end.
_MEAN_WEIGHT = 0.85

#: Points [progress, value]: frames first and energies from a third on; or, with few frames, soon.
_LIKELIHOOD = {
    False: [[0.0, 1.0], [0.5, 1.0], [1.0, 0.4]],
    True: [[0.0, 1.0], [0.15, 1.0], [0.3, 0.1], [1.0, 0.1]],
}
_REWEIGHTED = {False: [[0.0, 0.0], [0.3, 0.0], [0.35, 1.0]], True: [[0.0, 0.0], [0.12, 0.0], [0.16, 1.0]]}
_DISPERSION = {False: [[0.0, 0.0], [0.4, 0.0], [0.5, 1.0]], True: [[0.0, 0.0], [0.15, 0.0], [0.2, 1.0]]}


@dataclass(frozen=True)
class Material:
    """What there is to learn from: `atoms` of the molecule, `frames` at each of the `temperatures` (K)."""

    atoms: int
    frames: Mapping[float, int]

    @property
    def temperatures(self) -> Sequence[float]:
        return sorted(self.frames)


def steps(atoms: int) -> int:
    """Training steps: 350 at 22 atoms, growing with the power 1.5 of the size."""
    return min(max(round(STEPS * (atoms / ATOMS) ** 1.5, -1), FEWEST_STEPS), MOST_STEPS)


def rows(atoms: int) -> int:
    """Rows of a step of each loss."""
    return ROWS if atoms >= ATOMS else max(FEWEST_ROWS, round(ROWS * atoms / ATOMS / 64) * 64)


def learning_rate(atoms: int) -> float:
    """Highest rate of the optimizer: larger networks of larger molecules bear less."""
    return 2e-2 if atoms <= 30 else 1.5e-2 if atoms <= 50 else 1e-2


def flow(atoms: int) -> dict[str, Any]:
    """Sizes of the flow."""
    if atoms <= 50:
        return {"kind": "autoregressive", "hidden": 64, "embedding": 32}
    if atoms <= 70:
        return {"kind": "autoregressive", "hidden": 96, "embedding": 48}
    return {"kind": "autoregressive", "hidden": 128, "embedding": 64}


def holdout(frames: int) -> float:
    """Share of so many `frames` of one temperature that training never sees: a hundred, or a fifth of few."""
    return round(min(max(HELD_OUT / max(frames, 1), LEAST_SHARE), LARGEST_SHARE), 3)


def is_little(material: Material, steps: int, rows: int) -> bool:
    """Whether so many `steps` and `rows` would draw each frame so often that it is learned by heart."""
    return _MEAN_WEIGHT * steps * rows > OFTEN * max(sum(material.frames.values()), 1)


def recipe(material: Material, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, nested as in a configuration, for what `given` (a configuration) leaves open.

    Keys that are given are not among the promises of the others: steps that were given decide, for one, how
    often frames are drawn.
    """
    atoms, kelvin = material.atoms, material.temperatures[0]
    evaluated = _given(given, "evaluation", "temperature", kelvin)
    count = _given(given, "optimizer", "steps", steps(atoms))
    little = is_little(material, count, rows(atoms))
    fewest = min(material.frames.values())
    return {
        "holdout": holdout(fewest),
        "flow": flow(atoms),
        "likelihood": {
            "weight": _LIKELIHOOD[little],
            "batch_size": rows(atoms),
            "dispersion": _DISPERSION[little],
        },
        "reweighted": {
            "weight": _REWEIGHTED[little],
            "batch_size": rows(atoms),
            "fresh": 256 if atoms <= 30 else 384,
            "buffer": 16384,
            "temperatures": [evaluated],
            "dispersion": _DISPERSION[little],
        },
        "optimizer": {
            "steps": count,
            "learning_rate": learning_rate(atoms),
            "warmup": min(50, max(count // 5, 1)),
            "average": 0.99 if count <= 500 else 0.995,
        },
        "evaluation": {"every": max(count // 5, 1), "samples": 2000, "temperature": evaluated},
        "checkpoint_every": max(count // 8, 1),
    }


def _given(given: Mapping[str, Any], part: str, key: str, otherwise: Any) -> Any:
    found = given.get(part)
    return found.get(key, otherwise) if isinstance(found, Mapping) else otherwise
