"""What samples of walkers are worth, in numbers: of each variable, of each state, and of all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One variable: its samples, its R-hat, and whether any walker ever changed it."""

    name: str
    ess_bulk: float | None
    ess_tail: float | None
    r_hat: float | None
    moved: bool


@dataclass(frozen=True)
class State:
    """A state: its share of the rows, and how often walkers entered and left it."""

    name: str
    share: float
    entered: int
    left: int


@dataclass(frozen=True)
class ChainFigures:
    """What walkers are worth.

    ess_bulk, ess_tail: the smallest over all variables. r_hat: the largest. autocorrelation: sweeps, of the
    slowest variable. walkers, groups, steps: their number, and the sweeps of each that rows stand for.
    variables, states: all that were looked at. None where not known.
    """

    ess_bulk: float | None
    ess_tail: float | None
    r_hat: float | None
    autocorrelation: float | None
    walkers: int
    groups: int
    steps: int
    variables: tuple[Variable, ...]
    states: tuple[State, ...]

    @property
    def slowest(self) -> Variable | None:
        """The variable with the fewest bulk samples; one that never moved before all others."""
        return min(self.variables, key=lambda one: one.ess_bulk or 0.0, default=None)
