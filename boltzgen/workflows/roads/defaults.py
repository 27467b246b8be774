"""What suits a molecule: ladder and length of its simulation; `boltzgen.training.suited` says how to train.

docs/run.md says the same in words. Everything follows from the number of atoms and of torsions that turn, so
that a molecule is treated alike on every machine; but where the time does not suffice it is cut, and the
engine is the one that is faster there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from boltzgen.training.suited import ATOMS

#: Neighbours of the ladder differ by this factor at 22 atoms (half of the exchanges), at most by the other.
STEP, LARGEST_STEP = 1.22, 1.6

#: Hottest over coldest: barriers of some 20 kJ/mol are then crossed within a walk.
SPAN, SPAN_WITHOUT_TORSIONS = 2.4, 1.6

#: Energies of the simulation: a base and so many for each torsion that turns, within bounds.
BASE_EVALUATIONS, EVALUATIONS_A_TORSION, MOST_EVALUATIONS = 200_000, 150_000, 4_000_000

#: Copies at a time (one batch), fewest ladders among them, and frames kept at each temperature.
REPLICAS, FEWEST_LADDERS, FRAMES = 96, 8, 3000

#: ps: between exchanges (when torsions are moved, too), and the step with hydrogens of three dalton; the step
#: with OpenMM, where hydrogens keep their mass.
INTERVAL, TIMESTEP, MOVES, OPENMM_TIMESTEP = 0.1, 0.002, 5, 0.001

#: ps of each walk at least; those of OpenMM follow each other.
LEAST = {"torch": 2.0, "openmm": 0.4}

#: Shares of the time where it does not suffice; the rest is for draws and the answer.
SHARES = {"simulate": 0.25, "check": 0.12, "train": 0.43}


@dataclass(frozen=True)
class Simulated:
    """How to simulate: ladder (K), replicas, ps of each, ps between frames and thrown away, moves.

    engine, platform: as `simulate` takes them. With ``openmm`` one ladder makes the picoseconds, and the
    frames, of all.
    """

    temperatures: tuple[float, ...]
    replicas: int
    time: float
    save_interval: float
    equilibration: float
    moves: int
    engine: str = "torch"
    platform: str = "auto"

    @property
    def evaluations(self) -> float:
        """Energies with gradients of the whole run."""
        ps = self.replicas * (self.time + self.equilibration)
        if self.engine == "openmm":
            return ps / OPENMM_TIMESTEP
        return ps / TIMESTEP + self.moves * ps / INTERVAL

    def options(self) -> dict[str, object]:
        """Keyword arguments of `simulate`."""
        of_openmm = self.engine == "openmm"
        walks = self.replicas // len(self.temperatures) if of_openmm else 1
        options: dict[str, object] = {
            "temperatures": ",".join(f"{kelvin:g}" for kelvin in self.temperatures),
            "time": f"{round(self.time * walks, 6):g}ps",
            "timestep": f"{1e3 * (OPENMM_TIMESTEP if of_openmm else TIMESTEP):g}fs",
            "exchange_interval": f"{INTERVAL:g}ps",
            "save_interval": f"{self.save_interval:g}ps",
            "equilibration": f"{round(self.equilibration * walks, 6):g}ps",
            "engine": self.engine,
        }
        if of_openmm:
            return {**options, "platform": self.platform}
        moves = {"torsion_moves": self.moves} if self.moves else {}
        return {**options, "replicas": self.replicas, "hydrogen_mass": 3.0, **moves}

    def to_json(self) -> dict[str, object]:
        """The fields, JSON types only."""
        return {**vars(self), "temperatures": list(self.temperatures)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Simulated:
        """Inverse of `to_json`."""
        return cls(**{**content, "temperatures": tuple(content["temperatures"])})

    def within(self, evaluations: float) -> Simulated:
        """The same, shorter where it would need more than so many `evaluations`, but for a least length."""
        share = min(1.0, evaluations / self.evaluations)
        return self if share == 1.0 else _timed(replace(self), share * (self.time + self.equilibration))


def ladder(atoms: int, temperature: float, torsions: int) -> tuple[float, ...]:
    """Temperatures (K): round, all different, rising by one factor that falls with the root of the size.

    torsions: that turn, and rings that have states.
    """
    step = min(STEP ** math.sqrt(ATOMS / atoms), LARGEST_STEP)
    span = SPAN if torsions else SPAN_WITHOUT_TORSIONS
    rungs = max(2, math.ceil(math.log(span) / math.log(step)))
    digits = max(0, 2 - math.floor(math.log10(temperature)))
    above = (round(temperature * span ** (k / rungs), digits) for k in range(1, rungs + 1))
    return (float(f"{temperature:g}"), *above)


def simulation(atoms: int, temperature: float, torsions: int, rings: int = 0) -> Simulated:
    """The simulation of a molecule of so many `atoms`, `torsions` that turn and `rings` that have states."""
    rungs = ladder(atoms, temperature, torsions + rings)
    walks = max(FEWEST_LADDERS, REPLICAS // len(rungs))
    wanted = min(BASE_EVALUATIONS + EVALUATIONS_A_TORSION * (torsions + rings), MOST_EVALUATIONS)
    moves = MOVES if torsions else 0
    a_ps = len(rungs) * walks * (1 / TIMESTEP + moves / INTERVAL)
    empty = Simulated(rungs, len(rungs) * walks, 0.0, INTERVAL, 0.0, moves)
    return _timed(empty, wanted / a_ps)


def check(whole: Simulated) -> Simulated:
    """A second run, to check with: the same ladder, half as long."""
    return _timed(whole, 0.5 * (whole.time + whole.equilibration))


def _timed(empty: Simulated, ps: float) -> Simulated:
    """`empty` with so many `ps` in all, a fifth of them thrown away, and about `FRAMES` frames."""
    total = max(ps, LEAST[empty.engine])
    equilibration = round(max(0.2 * total, INTERVAL) / INTERVAL) * INTERVAL
    walks = empty.replicas // len(empty.temperatures)
    between = max(round((total - equilibration) * walks / FRAMES / INTERVAL), 1) * INTERVAL
    time = max(round((total - equilibration) / between), 1) * between
    return replace(
        empty,
        time=round(time, 6),
        save_interval=round(between, 6),
        equilibration=round(equilibration, 6),
    )
