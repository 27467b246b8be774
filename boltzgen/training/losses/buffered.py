"""What losses that keep samples share: a buffer for each target and temperature, in checkpoints too."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor

from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Objective, Term, Turn
from boltzgen.training.losses.replay_buffer import ReplayBuffer

Buffer = TypeVar("Buffer", bound=ReplayBuffer)


class BufferedObjective(Objective, Generic[Buffer]):
    """A loss with `buffers`, one for each target and temperature, in this order.

    A step is about one of them, whose turn lasts `stay` steps.
    """

    buffers: list[list[Buffer]]
    stay: int = 1

    @abstractmethod
    def loss(self, place: int, rung: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        """On `rows` samples of the buffer of one target and temperature, once it has any."""

    def terms(self, turn: Turn) -> list[Term]:
        place, rung = self.whose_turn(turn)
        if not len(self.buffers[place][rung]):
            return []
        compute = partial(self.loss, place, rung, turn.progress)
        return [Term(self.batch_size, compute, of=(place, rung))]

    def whose_turn(self, turn: Turn) -> tuple[int, int]:
        """The target, and the rung of its temperatures, that the stay is about."""
        stay = turn.every(self.stay)
        rung = int(torch.randint(len(self.buffers[0]), (1,), generator=stay.random(0)))
        return stay.molecules(len(self.places), 1)[0], rung

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{place}/{rung}/{name}": value
            for place, ladder in enumerate(self.buffers)
            for rung, buffer in enumerate(ladder)
            for name, value in buffer.tensors().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        for place, ladder in enumerate(self.buffers):
            for rung, buffer in enumerate(ladder):
                start = f"{place}/{rung}/"
                own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
                device = self.given.targets[place].reference.device
                buffer.restore({name: value.to(device) for name, value in own.items()})
