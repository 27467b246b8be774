"""What can be asked of `simulate`, with the defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict

from boltzgen.errors import InputError

#: What a time may be followed by, and how many ps it is.
_PICOSECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6}


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Options of `simulate`; a time is a string with a unit (``2ns``, ``500ps``, ``1fs``) or a float in ps.

    Attributes
    ----------
    temperatures: K, rising; one alone is Langevin dynamics. ``300,366,446`` or numbers.
    time: sampling time of each replica. timestep: at most 2 fs, for nothing is constrained.
    friction: 1/ps. exchange_interval: between rounds of exchanges. save_interval: between saved frames.
    equilibration: run and thrown away first. seed: of velocities, noise and exchanges.
    engine: ``openmm``, one replica for each temperature, ``torch``, many ladders at once, or ``auto``: what
        other arguments name, else the faster of the two here for one ladder.
    platform: an OpenMM platform, or ``auto`` to measure and take the fastest.
    starts: where replicas begin: ``auto`` (many conformers where rings have states that last, else the
        reference), ``reference``, ``conformers``, or a file of structures (SDF, XYZ, any trajectory, MD).
    ring_moves: Metropolis moves of each replica that turn a ring over, at an exchange or frame; 0 for none.
    replicas, device, hydrogen_mass, torsion_moves, precision, compile_energies: torch's. Copies in all
        (128 or a few more), ``cpu`` or ``cuda``, dalton, Metropolis moves about bonds at an exchange or
        frame (none), ``single`` or ``double``; None compiles where it pays.
    """

    temperatures: str | float | Sequence[float] = 300.0
    time: str | float = "1ns"
    timestep: str | float = "1fs"
    friction: float = 2.0
    exchange_interval: str | float = "0.5ps"
    save_interval: str | float = "0.5ps"
    equilibration: str | float = "10ps"
    seed: int = 0
    engine: str = "auto"
    platform: str = "auto"
    starts: str | PathLike[str] = "auto"
    ring_moves: int = 1
    replicas: int | None = None
    device: str | None = None
    hydrogen_mass: float | None = None
    torsion_moves: int | None = None
    precision: str | None = None
    compile_energies: bool | None = None


class SimulateKeywords(TypedDict, total=False):
    """The fields of `SimulateOptions` as keyword arguments."""

    temperatures: str | float | Sequence[float]
    time: str | float
    timestep: str | float
    friction: float
    exchange_interval: str | float
    save_interval: str | float
    equilibration: str | float
    seed: int
    engine: str
    platform: str
    starts: str | PathLike[str]
    ring_moves: int
    replicas: int | None
    device: str | None
    hydrogen_mass: float | None
    torsion_moves: int | None
    precision: str | None
    compile_energies: bool | None


def parse_time(value: str | float, name: str) -> float:
    """Picoseconds in ``"2ns"``, ``"500 ps"`` or ``"1fs"``; a bare number is refused, a float is in ps."""
    if isinstance(value, int | float):
        return float(value)
    match = re.fullmatch(r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None or match[2].lower() not in _PICOSECONDS:
        raise InputError(
            f"`{name}={value!r}` is not a time with a unit; write, for example, 2ns, 500ps or 1fs."
        )
    return float(match[1]) * _PICOSECONDS[match[2].lower()]
