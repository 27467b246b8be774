"""What can be asked of `adapt`, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TypedDict


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Options of `adapt`.

    Attributes
    ----------
    budget: energy evaluations that the training may spend; those of `samples` draws that measure the
        effective sample size before and after (a tenth of the budget, 1 000 to 10 000, when not given), and
        of the measurements on the way, are counted apart.
    temperature: K; the model's own when not given.
    learn_from: ``weights``, draws weighted to the potential, or ``chains``, walkers that the flow moves: for
        molecules on which its weights are too poor to learn from.
    config: a training configuration without a number of steps, a file or the name of a shipped one; ``adapt``
        or ``adapt-chains`` when not given.
    device: ``cpu`` or ``cuda``. seed: of the draws.
    compile_energies: None compiles the energy when the run is long enough to gain by it.
    """

    budget: float = 1e5
    temperature: float | None = None
    learn_from: str = "weights"
    config: str | PathLike[str] | None = None
    samples: int | None = None
    device: str = "cpu"
    seed: int = 0
    compile_energies: bool | None = None


class AdaptKeywords(TypedDict, total=False):
    """The fields of `AdaptOptions` as keyword arguments."""

    budget: float
    temperature: float | None
    learn_from: str
    config: str | PathLike[str] | None
    samples: int | None
    device: str
    seed: int
    compile_energies: bool | None
