"""What chains are asked to do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from boltzgen.settings import Settings


class ChainSettings(Settings):
    """How many walkers, in how many groups, and what they do before samples count."""

    walkers_a_group: int = Field(default=32, ge=1, le=100_000)
    """Walkers of a group: they start at one point, make the same move at once, and never see other groups."""
    groups: int = Field(default=4, ge=1, le=10_000)
    """Groups that know nothing of each other; nested R-hat compares them."""
    warm_up: int = Field(default=100, ge=1, le=1_000_000)
    """Sweeps in which frequencies and widths of moves adapt; none of their states is kept."""
    pilot: int = Field(default=256, ge=1, le=10_000_000)
    """Draws of the flow in each group, of which one is its start by weight."""
    ladder: Literal["auto", "none", "tempered", "temperatures"] = "auto"
    """Rungs with exchanges, from half of the warm-up on: of q^(1-b) p^b, or of temperatures, which needs a
    flow that knows them. auto: the one that pays, if one does, by a trial in the warm-up."""
    hottest: float = Field(default=1.5, gt=1, le=10)
    """The highest temperature of a ladder of temperatures, over the one that is asked for."""
    rungs: int = Field(default=4, ge=2, le=100)
    """Temperatures of such a ladder, at even ratios."""
    stride: int = Field(default=1, ge=1, le=1_000_000)
    """Sweeps from one kept state of a walker to the next."""
    full_pass_every: int = Field(default=10, ge=1, le=50)
    """Sweeps after which every walker is computed anew, whatever was kept; a killed run goes on there."""

    @property
    def walkers(self) -> int:
        """Walkers of all groups."""
        return self.walkers_a_group * self.groups

    def steps_of(self, number: int) -> int:
        """Kept states of each walker, so that all have `number` or somewhat more."""
        return -(-number // self.walkers)

    def sweeps_of(self, steps: int) -> int:
        """Sweeps of each walker for so many kept states, with the warm-up."""
        return self.warm_up + steps * self.stride
