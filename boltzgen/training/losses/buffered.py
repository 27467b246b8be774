"""What losses that keep samples share: a buffer for each target and temperature, in checkpoints too."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor

from boltzgen.training.losses.objective import Objective
from boltzgen.training.losses.replay_buffer import ReplayBuffer

Buffer = TypeVar("Buffer", bound=ReplayBuffer)


class BufferedObjective(Objective, Generic[Buffer]):
    """A loss with `buffers`, one for each target and temperature, in this order."""

    buffers: list[list[Buffer]]

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
