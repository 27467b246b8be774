"""Harmonic oscillators as a molecule that torch moves: what tests of dynamics share."""

from __future__ import annotations

import torch

STIFFNESS = torch.tensor([0.7, 9.0, 60.0], dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def oscillators(x):
    """An anisotropic Gaussian's energy."""
    return 0.5 * (STIFFNESS * x**2).sum(1), STIFFNESS * x
