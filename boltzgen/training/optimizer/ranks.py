"""Several processes that train one flow together, started by ``torchrun``: their gradients are averaged.

Each process (rank) has the whole flow and data, takes molecules and draws of its own, and makes the same step
from the mean gradient, so that the weights stay equal bit for bit. Rank 0 alone measures and writes; buffers
of weighted samples are each rank's own, and only those of rank 0 are in a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

#: How long a rank waits for the others, who may be measuring or writing.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Ranks:
    """This process among `size`; one process alone needs nothing started."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    began: bool = False
    """Whether the group was started here, and ends here; one that the caller started is the caller's."""

    @classmethod
    def started(cls, device: str) -> Ranks:
        """As ``torchrun`` says in the environment; on GPUs each rank of a machine takes one of its own."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(device=device)
        if device.startswith("cuda"):
            device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
            torch.cuda.set_device(device)
        begins = not distributed.is_initialized()
        if begins:
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
        return cls(distributed.get_rank(), size, device, begins)

    def end(self) -> None:
        """Leave the group, if it was begun here; the last thing a rank does."""
        if self.began:
            distributed.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0

    def average_gradients(self, module: nn.Module) -> None:
        """Leave the mean over the ranks in ``.grad`` of every parameter that any rank has a gradient for.

        A rank that found none (no sound row) counts with zero.
        """
        if self.size == 1:
            return
        parameters = list(module.parameters())
        known = self.total([float(p.grad is not None) for p in parameters])
        used = [p for p, count in zip(parameters, known, strict=True) if count]
        if not used:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in used])
        distributed.all_reduce(flat)
        parts = (flat / self.size).split([p.numel() for p in used])
        for parameter, part in zip(used, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def total(self, values: Iterable[float]) -> list[float]:
        """The sum over the ranks of each number."""
        if self.size == 1:
            return list(values)
        sums: Tensor = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()  # type: ignore[no-any-return]
