"""What a simulation is asked to do, checked once."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from boltzgen.checks import check_seed
from boltzgen.errors import InputError

#: Fastest bond vibrations have a period of about 9 fs; without constraints 2 fs is the limit of stability.
LARGEST_TIMESTEP = 2.0e-3

#: A batch is one tensor; more copies than this are run one batch after the other.
MOST_REPLICAS = 65536

#: ps (and 1/ps for the friction): ten milliseconds, more than anybody has run.
LONGEST = 1e10

#: Temperatures of one ladder, and moves of one kind between two exchanges.
MOST_TEMPERATURES, MOST_MOVES = 256, 10_000

#: Dalton; with heavier hydrogens their carbons would be the fast ones.
HEAVIEST_HYDROGEN = 4.5


class SimulationSettings(BaseModel):
    """Frozen settings of a replica-exchange run (or of Langevin dynamics, with one temperature).

    Times are per replica and in ps. `checked` turns them into whole numbers of steps or refuses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperatures: tuple[float, ...]
    """The ladder in K, strictly rising; one temperature is plain Langevin dynamics."""
    time: float
    """Sampling time of each replica after equilibration, ps."""
    timestep: float = 1.0e-3
    """Integration step, ps."""
    friction: float = 2.0
    """Langevin friction, 1/ps."""
    exchange_interval: float = 0.5
    """Time between rounds of exchange attempts, ps."""
    save_interval: float = 0.5
    """Time between saved frames, ps."""
    equilibration: float = 10.0
    """Time run (with exchanges) and thrown away before the first frame, ps."""
    seed: int = 0
    """Seed of velocities, noise and exchanges."""
    ring_moves: int = 0
    """Metropolis moves of each replica that turn a ring over, after every exchange or frame."""

    @property
    def save_steps(self) -> int:
        return _steps(self.save_interval, self.timestep)

    @property
    def exchange_steps(self) -> int:
        return _steps(self.exchange_interval, self.timestep)

    @property
    def segment_steps(self) -> int:
        """Steps between two events (a frame, an exchange, or both)."""
        return min(self.save_steps, self.exchange_steps) if len(self.temperatures) > 1 else self.save_steps

    @property
    def segments_per_save(self) -> int:
        return self.save_steps // self.segment_steps

    @property
    def segments_per_exchange(self) -> int:
        return max(self.exchange_steps // self.segment_steps, 1)

    @property
    def equilibration_segments(self) -> int:
        steps = _steps(self.equilibration, self.timestep)
        return -(-steps // self.save_steps) * self.segments_per_save

    @property
    def n_frames(self) -> int:
        """Frames per temperature."""
        return _steps(self.time, self.timestep) // self.save_steps

    @property
    def total_segments(self) -> int:
        """Segments of the whole run, equilibration included."""
        saves = _steps(self.time, self.timestep) // self.save_steps
        return self.equilibration_segments + saves * self.segments_per_save

    @property
    def walks(self) -> int:
        """Independent ladders; frames of one temperature are kept walk after walk."""
        return 1

    def checked(self) -> Self:
        """These settings; InputError in one sentence when they cannot be run."""
        check_temperatures(self.temperatures)
        for name in ("time", "timestep", "friction", "exchange_interval", "save_interval"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise InputError(f"`{name}` must be positive; {value:g} was given.")
            if value > LONGEST:
                raise InputError(f"`{name}` must be at most {LONGEST:g}; {value:g} was given.")
        if not 0.0 <= self.equilibration <= LONGEST:
            raise InputError(
                f"`equilibration` must not be negative, nor above {LONGEST:g} ps; {self.equilibration:g} ps "
                "was given."
            )
        if self.timestep > LARGEST_TIMESTEP:
            raise InputError(
                f"`timestep='{self.timestep * 1e3:g}fs'` is too long for bonds without constraints; "
                f"use at most {LARGEST_TIMESTEP * 1e3:g}fs (the default, 1fs, is safe)."
            )
        check_seed(self.seed)
        check_moves(self.ring_moves, "ring_moves")
        self._check_intervals()
        return self

    def _check_intervals(self) -> None:
        intervals = {"save_interval": self.save_interval}
        if len(self.temperatures) > 1:
            intervals["exchange_interval"] = self.exchange_interval
        for name, value in intervals.items():
            steps = value / self.timestep
            if abs(steps - round(steps)) > 1e-6 * max(steps, 1.0) or round(steps) < 1:
                raise InputError(
                    f"`{name}='{value:g}ps'` is not a whole number of timesteps of "
                    f"{self.timestep * 1e3:g}fs; choose a multiple."
                )
        if self.time < self.save_interval * (1 - 1e-9):
            raise InputError(
                f"`time='{self.time:g}ps'` is shorter than `save_interval='{self.save_interval:g}ps'`, "
                "so that no frame would be saved; run longer or save more often."
            )
        long, short = max(intervals.values()), min(intervals.values())
        if round(long / self.timestep) % round(short / self.timestep):
            raise InputError(
                f"`save_interval='{self.save_interval:g}ps'` and `exchange_interval="
                f"'{self.exchange_interval:g}ps'`: the longer must be a multiple of the shorter."
            )


class BatchedSettings(SimulationSettings):
    """Settings of many ladders at once in torch."""

    replicas: int = 128
    """Copies of the molecule; a multiple of the number of temperatures."""
    hydrogen_mass: float | None = None
    """Mass of hydrogens in dalton, taken from their neighbours; None leaves them as they are."""
    torsion_moves: int = 0
    """Metropolis moves of each replica about a rotatable bond, after every exchange or frame."""
    precision: Literal["single", "double"] = "single"
    """Floating-point numbers of the dynamics."""
    engine: Literal["torch"] = "torch"
    """What makes the steps."""

    @property
    def walks(self) -> int:
        return self.replicas // len(self.temperatures)

    @property
    def segment_evaluations(self) -> int:
        """Energies with gradients of each replica in a segment."""
        return self.segment_steps + self.torsion_moves + self.ring_moves

    @property
    def n_frames(self) -> int:
        """Frames per temperature, of all walks together."""
        return super().n_frames * self.walks

    def checked(self) -> Self:
        """These settings; InputError in one sentence when they cannot be run."""
        super().checked()
        rungs = len(self.temperatures)
        if not 1 <= self.replicas <= MOST_REPLICAS or self.replicas % rungs:
            below = min(max(self.replicas // rungs, 1), MOST_REPLICAS // rungs) * rungs
            raise InputError(
                f"`replicas={self.replicas}` must be a positive multiple of the number of temperatures "
                f"({rungs}), at most {MOST_REPLICAS}; {below} would do."
            )
        if self.hydrogen_mass is not None and not 1.0 <= self.hydrogen_mass <= HEAVIEST_HYDROGEN:
            raise InputError(
                f"`hydrogen_mass={self.hydrogen_mass:g}` is outside 1 to {HEAVIEST_HYDROGEN:g} dalton; "
                "3 is usual."
            )
        check_moves(self.torsion_moves, "torsion_moves")
        return self


def usual_replicas(rungs: int) -> int:
    """Replicas when none are asked for: whole ladders, at least 128 copies, so that batches are full."""
    return -(-128 // rungs) * rungs


def check_moves(number: int, name: str) -> None:
    """InputError unless `number`, asked for as `name`, is one of moves between two exchanges."""
    if not 0 <= number <= MOST_MOVES:
        raise InputError(f"`{name}={number}` must not be negative, nor above {MOST_MOVES}.")


def check_temperatures(temperatures: tuple[float, ...]) -> None:
    """InputError unless `temperatures` (K) are a rising ladder."""
    if not temperatures:
        raise InputError("`temperatures` is empty; give one or more in K, such as 300,366,446.")
    if len(temperatures) > MOST_TEMPERATURES:
        raise InputError(f"`temperatures` has {len(temperatures)} rungs; give at most {MOST_TEMPERATURES}.")
    for temperature in temperatures:
        if not 1.0 <= temperature <= 1.0e4:
            raise InputError(f"`temperatures`: {temperature:g} K is outside 1 to 10000 K; give kelvin.")
    if any(b <= a for a, b in pairwise(temperatures)):
        raise InputError(
            f"`temperatures=[{', '.join(f'{t:g}' for t in temperatures)}]` must rise strictly, "
            "each named once; the first is the one of interest."
        )


def _steps(duration: float, timestep: float) -> int:
    return round(duration / timestep)
