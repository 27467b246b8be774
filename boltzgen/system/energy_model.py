"""How the energy of a prepared molecule is computed: what a System XML alone does not say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from boltzgen.errors import InputError

#: ``translated``: the System as batched torch; ``bridge``: OpenMM contexts in worker processes.
ENGINES = ("translated", "bridge")


@dataclass(frozen=True)
class MachineLearnedRegion:
    """The atoms whose internal energy a machine-learned or quantum potential gives.

    Attributes
    ----------
    backend: its name, as after ``--ml``.
    atoms: indices of the region's atoms, ascending.
    options: what the backend was told, as words (``{"solvent": "water"}``).
    """

    backend: str
    atoms: tuple[int, ...]
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnergyModel:
    """Which engine evaluates the System, and which atoms another potential takes over.

    Attributes
    ----------
    engine: ``translated`` or ``bridge``; the energy is the same, the speed is not.
    platform: OpenMM platform of the bridge, or ``auto``.
    workers: processes of the bridge, or of a potential that needs them.
    region: the machine-learned region of a hybrid; None for molecular mechanics alone.
    """

    engine: str = "translated"
    platform: str = "auto"
    workers: int = 1
    region: MachineLearnedRegion | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"The energy engine {self.engine!r} is not one of {', '.join(ENGINES)}.")
        if self.workers < 1:
            raise InputError(f"{self.workers} worker processes were asked for; give at least one.")

    def identity(self) -> bytes:
        """What of this changes the energy: nothing for molecular mechanics, the region for a hybrid."""
        return b"" if self.region is None else json.dumps(asdict(self.region), sort_keys=True).encode()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any] | None) -> EnergyModel:
        """The inverse of `to_json`, None being the default; KeyError, TypeError or ValueError for damage."""
        if record is None:
            return cls()
        region = record["region"]
        if region is not None:
            atoms = tuple(int(atom) for atom in region["atoms"])
            region = MachineLearnedRegion(str(region["backend"]), atoms, dict(region["options"]))
        return cls(str(record["engine"]), str(record["platform"]), int(record["workers"]), region)
