"""Which densities lie between the flow and the target, and how far the moves in each of them go.

Both are decided on a pilot population and fixed before the first sample that counts is drawn: a schedule
that looked at the samples it is used for would bias their weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.refine.latent import LatentTarget
from boltzgen.refine.moves import LARGEST_STEP, SMALLEST_STEP, langevin_move

#: Conditional effective sample size of one step of the pilot's ladder, as a fraction.
PILOT_STEP = 0.9

#: Pilot draws, moves of each at every level, and levels after which the ladder is cut short.
PILOT_DRAWS, PILOT_MOVES, MOST_LEVELS = 256, 3, 200

#: Acceptance that the step size aims at (Roberts, Rosenthal, J. R. Stat. Soc. B 60, 255 (1998)), its first
#: value, and how fast its logarithm follows.
ACCEPTANCE, FIRST_STEP, GAIN = 0.574, 0.5, 1.0


#: Decades (natural) below the rest of the way in which the next exponent is sought.
LONGEST_BISECTION = 60.0


@dataclass(frozen=True)
class Schedule:
    """Exponents of w from 0 to the final one, and the step size of the one move made at each but the first.

    Attributes
    ----------
    exponents: (K + 1,) strictly increasing from 0. steps: (K,) of the moves at ``exponents[1:]``.

    InputError when they are not.
    """

    exponents: tuple[float, ...]
    steps: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = bool(np.all(np.diff(self.exponents) > 0)) and len(self.exponents) > 1
        if not rising or self.exponents[0] != 0 or len(self.steps) != len(self.exponents) - 1:
            raise InputError("a schedule: exponents rise from 0, with a step size for each but the first.")
        if not all(0 < step <= LARGEST_STEP for step in self.steps):
            raise InputError(f"step sizes of moves lie between 0 and {LARGEST_STEP:.3g}, not {self.steps}.")

    @classmethod
    def even(cls, exponent: float, moves: int, step: float = FIRST_STEP) -> Schedule:
        """`moves` equal steps up to `exponent`, all moves of one size."""
        return cls(tuple(exponent * k / moves for k in range(moves + 1)), (step,) * moves)

    @property
    def moves(self) -> int:
        return len(self.steps)

    def resized(self, moves: int) -> Schedule:
        """The same path in another number of moves: levels at even distances along the old ones."""
        places = np.linspace(0, self.moves, moves + 1)
        exponents = np.interp(places, np.arange(self.moves + 1), self.exponents)
        log_steps = np.interp(places[1:], np.arange(1, self.moves + 1), np.log(self.steps))
        steps = np.minimum(np.exp(log_steps), LARGEST_STEP)
        return Schedule(tuple(map(float, exponents)), tuple(map(float, steps)))


def adapted_step(step: float, acceptance: float) -> float:
    """`step` made longer when more than `ACCEPTANCE` of the moves were accepted, shorter when fewer."""
    if math.isnan(acceptance):
        return step
    return float(np.clip(step * math.exp(GAIN * (acceptance - ACCEPTANCE)), SMALLEST_STEP, LARGEST_STEP))


def pilot_schedule(
    target: LatentTarget, *, exponent: float = 1.0, moves: int | None = None, generator: torch.Generator
) -> Schedule:
    """A schedule up to `exponent` from a pilot population, of `moves` moves or one for each of its levels.

    The ladder takes the largest step that keeps the conditional effective sample size at `PILOT_STEP` (Zhou,
    Johansen, Aston, J. Comput. Graph. Stat. 25, 701 (2016); after resampling all weights are equal and it is
    the plain one), and the pilot follows it by resampling and moves. Another number of moves lies evenly
    along that ladder. Without any usable draw, or beyond `MOST_LEVELS`, the last step is taken at once.
    """
    state = target.draw(PILOT_DRAWS, generator=generator)
    state = state[torch.isfinite(state.log_w)]
    exponents: list[float] = [0.0]
    steps: list[float] = []
    step = FIRST_STEP
    while exponents[-1] < exponent:
        last, rest = exponents[-1], exponent - exponents[-1]
        cut_short = len(state) < 2 or len(steps) == MOST_LEVELS - 1
        rise = rest if cut_short else min(rest, _rise(state.log_w, rest))
        exponents.append(exponent if rise == rest else last + rise)
        if len(state) > 1:
            state = state[systematic_rows(rise * state.log_w, generator=generator)]
            for _ in range(PILOT_MOVES):
                state, acceptance = langevin_move(target, state, exponents[-1], step, generator=generator)
                step = adapted_step(step, acceptance)
        steps.append(step)
    found = Schedule(tuple(exponents), tuple(steps))
    return found if moves is None else found.resized(moves)


def systematic_rows(log_weights: Tensor, *, generator: torch.Generator) -> Tensor:
    """B row numbers (B,), sorted, row n expected ``B w_n`` times for the normalised weights (B,)."""
    cumulated = torch.softmax(log_weights, dim=0).cumsum(dim=0)
    number = len(log_weights)
    offset = torch.rand(1, generator=generator, dtype=torch.float64, device=generator.device).to(cumulated)
    teeth = (torch.arange(number, device=cumulated.device) + offset) * (cumulated[-1] / number)
    # a tooth beyond the last weight by rounding must not take a row of weight zero
    last = torch.nonzero(torch.isfinite(log_weights))[-1, 0]
    return torch.searchsorted(cumulated, teeth, right=True).clamp(max=last)


def effective_fraction(log_weights: Tensor) -> float:
    """Kish's effective sample size of (B,) as a fraction; 0 when none has weight."""
    if not bool(torch.isfinite(log_weights).any()):
        return 0.0
    shares = torch.softmax(log_weights, dim=0)
    return float(1.0 / (len(shares) * (shares**2).sum()))


def _rise(log_w: Tensor, most: float) -> float:
    """The rise of the exponent that costs `PILOT_STEP`, by bisection of its logarithm; at most `most`."""
    if effective_fraction(most * log_w) >= PILOT_STEP:
        return most
    low, high = math.log(most) - LONGEST_BISECTION, math.log(most)
    for _ in range(50):
        middle = 0.5 * (low + high)
        if effective_fraction(math.exp(middle) * log_w) >= PILOT_STEP:
            low = middle
        else:
            high = middle
    return math.exp(low)
