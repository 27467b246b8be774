"""What `simulate` returns: the manifest of the MD folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boltzgen.data.manifest import doubts_of
from boltzgen.workflows.records import Record, whole_number


@dataclass(frozen=True)
class ExchangePair:
    """Exchanges between two neighbours of the ladder (K); `acceptance` None where nothing was attempted."""

    low_K: float
    high_K: float
    attempts: int
    accepted: int
    acceptance: float | None


@dataclass(frozen=True)
class BatchedRun:
    """What the torch engine tells besides.

    Attributes
    ----------
    walks: independent ladders. restarts: replicas that broke down and were put back.
    moves_tried, moves_taken: Metropolis moves about bonds; None without them.
    drift: between the halves of the walks, in standard errors, by quantity; empty until the run is complete.
    """

    walks: int
    restarts: int
    moves_tried: int | None
    moves_taken: int | None
    drift: Mapping[str, float]


@dataclass(frozen=True)
class RingMovesMade:
    """Metropolis moves of rings, of all replicas and the whole run.

    Attributes
    ----------
    flips, nitrogens: moves there are, those that turn rings over and those that invert a nitrogen in one.
    tried, taken: how often one of them was proposed, and accepted.
    """

    flips: int
    nitrogens: int
    tried: int
    taken: int


@dataclass(frozen=True)
class RingState:
    """A state of a ring in words, and the `frames` in it.

    height_kT: of its lowest conformer over the lowest of all; None where no conformer of it was found.
    """

    name: str
    frames: int
    height_kT: float | None


@dataclass(frozen=True, repr=False)
class Simulation(Record):
    """``MD/manifest.json``, the `folder` that it stands in, and the `frames` at each temperature."""

    folder: Path
    frames: int

    @property
    def molecule(self) -> str:
        """What people call the molecule."""
        return str(self._content["system"]["name"])

    @property
    def n_atoms(self) -> int:
        return int(self._content["system"]["n_atoms"])

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The ladder, rising, K."""
        return tuple(float(kelvin) for kelvin in self._content["temperatures_K"])

    @property
    def platform(self) -> str:
        """What computed it."""
        return str(self._content["platform"])

    @property
    def wall_seconds(self) -> float:
        """Over all resumptions."""
        return float(self._content["wall_seconds"])

    @property
    def energy_evaluations(self) -> int | None:
        """Energies with gradients that everything cost; None where the engine does not count them."""
        return whole_number(self._content.get("energy_evaluations"))

    @property
    def exchanges(self) -> tuple[ExchangePair, ...]:
        """Neighbours of the ladder, from cold to hot; empty for one temperature."""
        return tuple(ExchangePair(**pair) for pair in (self._content["exchange"] or {}).get("pairs", ()))

    @property
    def round_trips(self) -> int | None:
        """Of all replicas between the ends of the ladder; None for one temperature."""
        exchange = self._content["exchange"]
        return None if exchange is None else int(exchange["round_trips"])

    @property
    def batched(self) -> BatchedRun | None:
        """What the torch engine tells; None for OpenMM."""
        found = self._content.get("torch")
        if not found:
            return None
        moves = found["torsion_moves"] or {"tried": None, "taken": None}
        drift = dict(found.get("drift") or {})
        return BatchedRun(found["walks"], found["restarts"], moves["tried"], moves["taken"], drift)

    @property
    def ring_moves(self) -> RingMovesMade | None:
        """The moves of rings; None where none were asked or no ring has one."""
        found = self._content.get("ring_moves")
        return None if found is None else RingMovesMade(**found)

    @property
    def ring_states(self) -> tuple[RingState, ...]:
        """States of rings at the lowest temperature; empty where no ring has any or the run is partial."""
        found = self._content.get("rings") or {"states": ()}
        return tuple(RingState(**state) for state in found["states"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the frames leave out, or know from their starts alone: `boltzgen.data.manifest.doubts_of`."""
        return doubts_of(self._content)

    def independent_frames(self, temperature: float) -> int | None:
        """Frames at `temperature` (K) that count as independent; None where it was not measured."""
        measured = self._content["statistical_inefficiency"]
        found = [g for key, g in measured.items() if key.endswith(f"@{temperature:g}K")]
        return int(self.frames / max(found)) if found else None

    def rows(self) -> dict[str, Any]:
        return {
            "molecule": f"{self.molecule}, {self.n_atoms} atoms",
            "platform": self.platform,
            "wall time, s": self.wall_seconds,
        }

    def __repr__(self) -> str:
        ladder = ", ".join(f"{kelvin:g}" for kelvin in self.temperatures)
        return (
            f"<Simulation of {self.molecule}: {self.frames} frames at {ladder} K each, in {self.folder}; "
            f"{self.platform}, {self.wall_seconds:.3g} s>"
        )
