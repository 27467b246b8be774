"""Rungs between the flow and the target, or of temperatures above it: walkers on them change places.

**Tempered.** Walkers at ``q^(1-b) p^b = q w^b``.

All rungs lie in the latent space of one flow, where rung b is ``n(z) w(z)^b``; below the first one is b = 0,
the flow itself, whose states are fresh draws (the global move). Walkers of a slot, one on each rung, exchange
their rungs: the states stay where they are, with all that was computed there. The ratio for rungs a < b with
log weights v_a, v_b is ``exp((b - a) (v_a - v_b))`` (Geyer, 1991; Swendsen and Wang, PRL 57, 2607 (1986)).

**Temperatures.** The flow at another temperature is another flow. Two walkers exchange their latents, and
each is decoded anew by the flow of its own temperature: with weights ``w_T(z)``, accepted with
``w_S(z_T) w_T(z_S) / (w_S(z_S) w_T(z_T))``, since n(z) is the same for all flows. Or they exchange their
conformations, each encoded anew: accepted by energies alone, with
``exp(u_S(x_S) + u_T(x_T) - u_S(x_T) - u_T(x_S))``, which brings a state that the colder flow misses. Never
is a state of one flow weighed by another.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: What a step between rungs may change ln w by, in standard deviations: exchanges are accepted in about
#: erfc(step / 2), here three of ten (Kone and Kofke, J. Chem. Phys. 122, 206101 (2005): 23 % is best).
STEP = 1.5

#: Most rungs above the flow.
MOST_RUNGS = 8


class Ladder:
    """`slots` walkers on each of K rungs, the last of which is the target; rows are slot by slot.

    exponents: (K,) b, rising to 1. heat: (K,) each rung's temperature over that of the target, falling to 1;
    either all exponents or all of these are 1. rung: (rows,) long, on which rung each row is; every slot has
    one row on each, which is always the same where temperatures differ.
    """

    def __init__(self, slots: int, exponents: np.ndarray, heat: np.ndarray | None = None) -> None:
        self.slots, self.exponents = slots, np.asarray(exponents, dtype=np.float64)
        self.heat = np.ones(len(self.exponents)) if heat is None else np.asarray(heat, dtype=np.float64)
        self.rung = torch.arange(len(self.exponents)).repeat(slots)

    @classmethod
    def of_temperatures(cls, slots: int, hottest: float, rungs: int) -> Ladder:
        """Temperatures at even ratios from `hottest` times that of the target down to it."""
        return cls(slots, np.ones(rungs), hottest ** np.linspace(1.0, 0.0, rungs))

    @property
    def kind(self) -> str:
        """``none``, ``tempered`` or ``temperatures``."""
        if self.by_temperature:
            return "temperatures"
        return "tempered" if self.rungs > 1 else "none"

    @property
    def by_temperature(self) -> bool:
        return bool((self.heat != 1).any())

    @property
    def rungs(self) -> int:
        return len(self.exponents)

    @property
    def rows(self) -> int:
        return self.slots * self.rungs

    @property
    def exponent(self) -> Tensor:
        """(rows,) b of each row."""
        return torch.as_tensor(self.exponents)[self.rung]

    @property
    def heat_of_rows(self) -> Tensor:
        """(rows,) temperature of each row over that of the target."""
        return torch.as_tensor(self.heat)[self.rung]

    @property
    def at_target(self) -> Tensor:
        """(slots,) the row of each slot that is on the last rung."""
        return self.row_of()[:, -1]

    def row_of(self) -> Tensor:
        """(slots, K) which row is on each rung."""
        within = self.rung.reshape(self.slots, self.rungs).argsort(dim=1)
        return within + self.rungs * torch.arange(self.slots)[:, None]

    def pairs(self, *, generator: torch.Generator) -> list[range]:
        """The lower rungs of even and of odd pairs of neighbours, in random order."""
        parity = int(torch.randint(2, (1,), generator=generator))
        return [range(start, self.rungs - 1, 2) for start in (parity, 1 - parity)]

    def exchange(self, log_w: Tensor, *, generator: torch.Generator) -> None:
        """Offer every pair of neighbouring rungs an exchange, even pairs and odd pairs in random order."""
        log_w = log_w.cpu()
        for pairs in self.pairs(generator=generator):
            rows = self.row_of()
            for lower in pairs:
                low, high = rows[:, lower], rows[:, lower + 1]
                step = self.exponents[lower + 1] - self.exponents[lower]
                ratio = step * (log_w[low] - log_w[high])
                uniform = torch.rand(self.slots, generator=generator, dtype=torch.float64)
                yes = torch.log(uniform) < ratio
                self.rung[low[yes]], self.rung[high[yes]] = lower + 1, lower

    def respaced(self, log_w: Tensor, drawn: np.ndarray) -> None:
        """Put the exponents at even distances by the spread of ln w on the rungs; in the warm-up only.

        log_w: (rows,). drawn: (n,) ln w of draws of the flow, -inf where they have none.
        """
        by_rung = log_w.cpu().numpy()[self.row_of().numpy()]
        spread = np.array([_spread(drawn), *(_spread(values) for values in by_rung.T)])
        self.exponents = even_exponents(np.array([0.0, *self.exponents]), spread, self.rungs)


def first_exponents(drawn: np.ndarray, log_w: np.ndarray) -> np.ndarray:
    """Exponents of as many rungs as the way from draws of the flow, (n,) ln w, to walkers at b = 1 needs."""
    known = np.array([0.0, 1.0])
    spread = np.array([_spread(drawn), _spread(log_w)])
    count = int(np.clip(np.ceil(_length(known, spread)[-1] / STEP), 2, MOST_RUNGS))
    return even_exponents(known, spread, count)


def even_exponents(known: np.ndarray, spread: np.ndarray, count: int) -> np.ndarray:
    """(count,) exponents up to 1, at even distances in the integral of `spread` over b from 0.

    known: (k,) rising from 0 to 1, where ln w has the standard deviations `spread` (k,).
    """
    fine = np.linspace(0.0, 1.0, 1001)
    length = _length(fine, np.exp(np.interp(fine, known, np.log(spread))))
    found = np.interp(np.linspace(0.0, length[-1], count + 1)[1:], length, fine)
    found[-1] = 1.0
    return np.asarray(found)


def _length(places: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(k,) the integral of `spread` up to each of `places`, geometric between two."""
    steps = np.diff(places) * np.sqrt(spread[1:] * spread[:-1])
    return np.concatenate([[0.0], np.cumsum(steps)])


def _spread(log_w: np.ndarray) -> float:
    """The standard deviation by the middle half: draws of a flow have a tail of clashes, and rows of -inf."""
    finite = log_w[np.isfinite(log_w)]
    if finite.size < 4:
        return 1.0
    low, high = np.quantile(finite, [0.25, 0.75])
    return float(max((high - low) / 1.349, 1e-3))
