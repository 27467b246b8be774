"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv 2409.11321, algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from boltzgen.guards import environment_kept

#: Added to the root of the squares before it divides.
TINY = 1e-8


class Soap(torch.optim.Optimizer):
    """For tensors of two and more dimensions; vectors, and dimensions longer than `longest`, as in Adam.

    Parameters
    ----------
    lr: learning rate, may be changed between steps. betas: decay of the mean and of the squares.
    weight_decay: decoupled. every: steps from one basis to the next.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        every: int = 10,
        longest: int = 256,
    ) -> None:
        with environment_kept():  # torch imports its compiler here, which names its cache there
            super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        self.every, self.longest = every, longest

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state = self.state[parameter]
        if not state:
            self._begin(state, gradient)
        state["step"] += 1
        count = float(state["step"])
        bases = [state.get(f"basis_{n}") for n in range(gradient.ndim)]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(turned(gradient, bases) ** 2, 1 - second)
        size = (state["square"] / (1 - second**count)).sqrt_().add_(TINY)
        update = turned(state["mean"] / (1 - first**count), bases) / size
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(group["lr"] * turned(update, [None if b is None else b.T for b in bases]))
        for n, basis in enumerate(bases):
            if basis is not None:
                state[f"moment_{n}"].lerp_(_moment(gradient, n), 1 - second)
                if count % self.every == 0:
                    state[f"basis_{n}"] = torch.linalg.qr(state[f"moment_{n}"] @ basis)[0].contiguous()

    def _begin(self, state: dict[str, Tensor], gradient: Tensor) -> None:
        state["step"] = torch.zeros(())
        # All state lies as it will when a checkpoint is read, so that a run goes on bit for bit.
        for name in ("mean", "square"):
            state[name] = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        for n, length in enumerate(gradient.shape if gradient.ndim > 1 else ()):
            if 1 < length <= self.longest:
                moment = state[f"moment_{n}"] = _moment(gradient, n)
                # In single precision LAPACK fails on a moment of many tiny entries.
                basis = torch.linalg.eigh(moment.double())[1].flip(1).to(moment.dtype)
                state[f"basis_{n}"] = basis.contiguous()


def _moment(gradient: Tensor, dimension: int) -> Tensor:
    """Second moments (n, n) of the gradient along one of its dimensions."""
    rows = gradient.movedim(dimension, 0).flatten(1)
    return rows @ rows.T


def turned(tensor: Tensor, bases: list[Tensor | None]) -> Tensor:
    """Each dimension in the basis of its own, where there is one."""
    for basis in bases:
        if basis is None:
            tensor = tensor.movedim(0, -1)
        else:
            tensor = torch.tensordot(tensor, basis, dims=([0], [0]))
    return tensor
