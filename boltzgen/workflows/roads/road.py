"""A road: when it suits a molecule, how long it takes, and its steps; and all that there are.

A new road is one file ``road_*.py`` in this folder with a `Road` called ``ROAD``. The first that suits, in
the order of their numbers, is taken.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from boltzgen.free_energy.variables import Variable
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.roads.measures import Rate
from boltzgen.workflows.roads.walk import Walk
from boltzgen.workflows.roads.wells import turning


@dataclass
class Scene:
    """What a road looks at: the walk and the molecule."""

    walk: Walk
    system: MolecularSystem

    @property
    def atoms(self) -> int:
        return self.system.n_atoms

    @cached_property
    def variables(self) -> list[Variable]:
        """The coordinates whose states are asked for when none are named."""
        return turning(self.system)

    @property
    def torsions(self) -> int:
        return sum(variable.periodic for variable in self.variables)

    @property
    def rings(self) -> int:
        """Rings whose pucker has states."""
        return sum(not variable.periodic for variable in self.variables)


@dataclass(frozen=True)
class Source:
    """What a road leaves: the model to draw from, frames to check with, frames it trained on, its pilot.

    walkers: how many the model moves instead of drawing; None for draws. rate: what their rows cost here.
    """

    model: str | Path
    check: Path | None
    frames: Path | None = None
    pilot: str = "PILOT"
    walkers: int | None = None
    rate: Rate | None = None

    def rows(self, number: int) -> int:
        """`number` samples, or somewhat more, so that all walkers have equally many."""
        return number if self.walkers is None else -(-number // self.walkers) * self.walkers


@dataclass(frozen=True)
class Expected:
    """How long a road takes from here (s), on which grounds, and a warning where the time will not do."""

    seconds: float
    grounds: str
    warning: str = ""


class Road(ABC):
    """One way from a prepared molecule to a model of it."""

    name: ClassVar[str]
    order: ClassVar[int]
    """Roads are tried from the lowest number."""

    @abstractmethod
    def suits(self, scene: Scene) -> str | None:
        """Why this road is the one for the molecule; None where it is not."""

    @abstractmethod
    def expect(self, scene: Scene) -> Expected:
        """How long it will take here, draws and answer included."""

    @abstractmethod
    def steps(self, scene: Scene) -> Source:
        """Do the steps up to a model that samples can be drawn from."""


def roads() -> list[Road]:
    """All roads, in the order in which they are tried."""
    import boltzgen.workflows.roads as package

    names = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    found = [import_module(f"{package.__name__}.{name}").ROAD for name in names if name.startswith("road_")]
    return sorted(found, key=lambda road: road.order)


def road_called(name: str) -> Road:
    """The road of this name, which a plan holds."""
    return next(road for road in roads() if road.name == name)
