"""`Trajectory`: frames of one molecule, each with its energy and temperature; rows never part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.units import same_temperature


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Simulated conformations of one molecule, one row a frame.

    Attributes:
        positions: ``(frames, atoms, 3)`` float32, nm.
        energies: ``(frames,)`` float64, potential energy in kJ/mol; NaN where unknown.
        temperatures: ``(frames,)`` float64, K.
        replicas: ``(frames,)`` int, the replica that made the frame (0 when there was one).
        system_fingerprint: fingerprint of the `MolecularSystem` that was simulated; None when unknown.
        statistical_inefficiency: frames per independent frame, keyed ``"energy@300K"``,
            ``"torsions@300K"``, ``"size@300K"``; empty when it was not measured.
        cautions: what `simulate` said against populations of these frames; they stay with the frames.
    """

    positions: np.ndarray
    energies: np.ndarray
    temperatures: np.ndarray
    replicas: np.ndarray
    system_fingerprint: str | None = None
    statistical_inefficiency: dict[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, dtype=np.float32)
        if positions.ndim != 3 or positions.shape[2] != 3:
            raise InputError(f"Positions must have the shape (frames, atoms, 3), not {positions.shape}.")
        object.__setattr__(self, "positions", positions)
        dtypes: dict[str, Any] = {"energies": np.float64, "temperatures": np.float64, "replicas": np.int64}
        for name, dtype in dtypes.items():
            values = np.asarray(getattr(self, name), dtype=dtype)
            if values.shape != (len(positions),):
                raise InputError(
                    f"A trajectory of {len(positions)} frames needs as many {name}; got shape {values.shape}."
                )
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: Any) -> Trajectory:
        """The frames `rows`: a slice, a boolean mask or an array of indices (not a single integer)."""
        if np.isscalar(rows):
            raise TypeError("index a Trajectory with a slice, a mask or an index array")
        return Trajectory(
            self.positions[rows],
            self.energies[rows],
            self.temperatures[rows],
            self.replicas[rows],
            self.system_fingerprint,
            dict(self.statistical_inefficiency),
            self.cautions,
        )

    def __repr__(self) -> str:
        ladder = ", ".join(f"{kelvin:g}" for kelvin in self.temperature_ladder)
        return f"<Trajectory: {len(self)} frames of {self.n_atoms} atoms at {ladder} K>"

    @property
    def n_atoms(self) -> int:
        return int(self.positions.shape[1])

    @property
    def temperature_ladder(self) -> np.ndarray:
        """The different temperatures, rising, K."""
        return np.unique(self.temperatures)

    def is_at(self, temperature: float) -> np.ndarray:
        """(frames,) bool: which frames are at `temperature` (K, within 0.01)."""
        return same_temperature(self.temperatures, temperature)

    def at(self, temperature: float) -> Trajectory:
        """The frames at `temperature` (K, within 0.01), in their order.

        Raises InputError naming the temperatures there are, when there is none.
        """
        rows = self.is_at(temperature)
        if not rows.any():
            known = ", ".join(f"{t:g}" for t in self.temperature_ladder) or "none"
            raise InputError(f"The trajectory has no frames at {temperature:g} K; it has {known} K.")
        chosen = self[rows]
        suffix = f"@{temperature:g}K"
        kept = {k: g for k, g in self.statistical_inefficiency.items() if k.endswith(suffix)}
        return replace(chosen, statistical_inefficiency=kept)

    def digest(self) -> str:
        """SHA-256 (hex) of the positions: the same frames in the same order have the same."""
        return hashlib.sha256(np.ascontiguousarray(self.positions).tobytes()).hexdigest()

    def decorrelated(self) -> Trajectory:
        """Frames g apart at each temperature, g the largest statistical inefficiency measured there.

        Raises InputError when none was measured (see `boltzgen.data.statistics`).
        """
        rows = []
        for temperature in self.temperature_ladder:
            suffix = f"@{temperature:g}K"
            found = [g for k, g in self.statistical_inefficiency.items() if k.endswith(suffix)]
            if not found:
                raise InputError(f"No statistical inefficiency is known at {temperature:g} K; measure it.")
            here = np.flatnonzero(self.is_at(temperature))
            rows.append(here[spaced_rows(len(here), max(found))])
        return self[np.sort(np.concatenate(rows))]


def spaced_rows(count: int, spacing: float) -> np.ndarray:
    """Indices of `count` rows that are on average `spacing` (>= 1, not necessarily whole) apart."""
    rows = np.unique(np.floor(np.arange(0.0, count, max(spacing, 1.0))).astype(np.int64))
    return rows[rows < count]  # by rounding, a range may hold its own end


def joined(parts: list[Trajectory]) -> Trajectory:
    """The frames of `parts` one after the other; they must be of one molecule."""
    if not parts:
        raise InputError("There is no trajectory to join.")
    if len({part.n_atoms for part in parts}) > 1 or len({p.system_fingerprint for p in parts}) > 1:
        raise InputError("The trajectories are of different molecules or force fields; give one system's.")
    measured = {key: g for part in parts for key, g in part.statistical_inefficiency.items()}
    return Trajectory(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.energies for part in parts]),
        np.concatenate([part.temperatures for part in parts]),
        np.concatenate([part.replicas for part in parts]),
        parts[0].system_fingerprint,
        measured,
        tuple(dict.fromkeys(one for part in parts for one in part.cautions)),
    )
