"""A molecule and a check that the tests of several backends share."""

from __future__ import annotations

import numpy as np
import torch

from boltzgen.potentials.base import Potential

#: Ethanol, nm: C C O H H H H H H.
ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
ETHANOL_POSITIONS = 0.1 * np.array(
    [
        [-0.888, 0.165, -0.027],
        [0.466, -0.512, -0.031],
        [1.436, 0.420, 0.451],
        [-0.841, 1.069, -0.644],
        [-1.156, 0.460, 0.993],
        [-1.662, -0.498, -0.424],
        [0.445, -1.403, 0.605],
        [0.740, -0.814, -1.048],
        [1.460, 1.113, -0.227],
    ]
)


def ethanol(count: int = 1, scale: float = 0.003) -> torch.Tensor:
    noise = np.random.default_rng(5).normal(scale=scale, size=(count, 9, 3))
    return torch.tensor(ETHANOL_POSITIONS + noise)


def assert_slopes(potential: Potential, x: torch.Tensor, tolerance: float, step: float = 1e-4) -> None:
    """Gradients along random directions agree with central differences, relative to the largest."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(potential.energy(x).sum(), x)
    generator = np.random.default_rng(2)
    for _ in range(3):
        direction = torch.tensor(generator.normal(size=tuple(x.shape[1:])))
        direction /= direction.norm()
        with torch.no_grad():
            high, low = (potential.energy(x + sign * step * direction) for sign in (1, -1))
        slope = (high - low) / (2 * step)
        expected = (gradient * direction).sum((1, 2))
        assert float(gradient.flatten(1).norm(dim=1).min()) > 10.0
        torch.testing.assert_close(slope, expected, rtol=0.0, atol=tolerance * float(gradient.abs().max()))
