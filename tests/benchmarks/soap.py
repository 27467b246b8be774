"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv 2409.11321, algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Soap:
    """For matrices; what is not a matrix gets Adam. No weight decay.

    Parameters
    ----------
    rate: may be changed between steps. betas: decay of the mean and the square. every: steps to a new basis.
    """

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, *, betas: tuple[float, float] = (0.95, 0.95),
        every: int = 10,
    ) -> None:  # fmt: skip
        self.parameters, self.rate, self.betas, self.every = list(parameters), rate, betas, every
        self.steps = 0
        self._mean = [torch.zeros_like(p) for p in self.parameters]
        self._square = [torch.zeros_like(p) for p in self.parameters]
        self._statistics = [[torch.zeros(size, size) for size in p.shape] for p in self.parameters]
        self._bases = [[torch.eye(size) for size in p.shape] for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        first, second = self.betas
        correction = (1 - second**self.steps) ** 0.5 / (1 - first**self.steps)
        for index, parameter in enumerate(self.parameters):
            gradient = parameter.grad
            assert gradient is not None
            mean, square = self._mean[index], self._square[index]
            if parameter.ndim == 2 and self.steps == 1:
                self._learn(index, gradient, 0.0)
                self._bases[index] = [torch.linalg.eigh(s)[1] for s in self._statistics[index]]
            mean.lerp_(gradient, 1 - first)
            turned = self._turn(index, gradient)
            square.lerp_(turned**2, 1 - second)
            update = self._turn(index, mean) / (square.sqrt() + 1e-8) * correction
            parameter.sub_(self.rate * self._turn(index, update, back=True))
            if parameter.ndim == 2:
                self._learn(index, gradient, second)
                if self.steps % self.every == 0:
                    pairs = zip(self._statistics[index], self._bases[index], strict=True)
                    self._bases[index] = [torch.linalg.qr(s @ basis)[0] for s, basis in pairs]

    def _learn(self, index: int, gradient: Tensor, decay: float) -> None:
        left, right = self._statistics[index]
        left.lerp_(gradient @ gradient.T, 1 - decay)
        right.lerp_(gradient.T @ gradient, 1 - decay)

    def _turn(self, index: int, matrix: Tensor, *, back: bool = False) -> Tensor:
        if matrix.ndim != 2:
            return matrix
        left, right = self._bases[index]
        return left @ matrix @ right.T if back else left.T @ matrix @ right
