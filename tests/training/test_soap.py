"""The optimizer: Adam where there are no bases, and the same way in whatever axes a problem is written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from boltzgen.training.checkpoint import optimizer_tensors, restore_optimizer
from boltzgen.training.optimizer.soap import Soap

STEPS = 35


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rotation(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(_random(size, size, seed=seed))[0]


def _loss(weights: Tensor, seed: int = 1) -> Tensor:
    """A quadratic function of a tensor in which every number meets every other."""
    flat = weights.flatten()
    mixing = _random(len(flat), len(flat), seed=seed) / len(flat) ** 0.5
    return ((mixing @ flat - _random(len(flat), seed=seed + 1)) ** 2).sum()


def _minimised(start: Tensor, loss, optimizer_of, steps: int = STEPS) -> Tensor:
    weights = start.clone().requires_grad_()
    optimizer = optimizer_of([weights])
    for _ in range(steps):
        optimizer.zero_grad()
        loss(weights).backward()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 2)])
def test_without_bases_it_is_adam(shape):
    start = _random(*shape, seed=3)
    own = _minimised(start, _loss, lambda p: Soap(p, lr=0.02, longest=1))
    adam = _minimised(start, _loss, lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.9, 0.99)))
    torch.testing.assert_close(own, adam, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(own, start, atol=0.05)


def test_weight_decay_is_that_of_adamw():
    start = _random(5, 6, seed=3)
    own = _minimised(start, _loss, lambda p: Soap(p, lr=0.02, weight_decay=0.3, longest=1))
    adam = _minimised(
        start, _loss, lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.9, 0.99), weight_decay=0.3)
    )
    torch.testing.assert_close(own, adam, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 6), (3, 4, 5)])
def test_the_axes_of_a_problem_do_not_matter(shape):
    """Adam's way depends on them; ours turns with them, so that the bases are what they should be."""
    start = _random(*shape, seed=3)
    rotations = [_rotation(size, seed=10 + n) for n, size in enumerate(shape)]

    def turned(tensor: Tensor, back: bool = False) -> Tensor:
        for rotation in rotations:
            tensor = torch.tensordot(tensor, rotation if back else rotation.T, dims=([0], [0]))
        return tensor

    def gap(optimizer_of) -> float:
        straight = _minimised(start, _loss, optimizer_of)
        other = _minimised(turned(start), lambda w: _loss(turned(w, back=True)), optimizer_of)
        return float((turned(other, back=True) - straight).abs().max())

    torch.testing.assert_close(turned(turned(start), back=True), start)
    assert gap(lambda p: Soap(p, lr=0.02)) < 1e-6
    assert gap(lambda p: torch.optim.Adam(p, lr=0.02)) > 1e-2


def test_a_badly_scaled_problem_in_skew_axes_needs_fewer_steps_than_with_adam():
    left, right = _rotation(8, seed=1), _rotation(8, seed=2)
    scales = torch.logspace(0, -2, 8, dtype=torch.float64)
    goal = _random(8, 8, seed=4)

    def loss(weights: Tensor) -> Tensor:
        return ((scales[:, None] * (left @ (weights - goal) @ right) * scales) ** 2).sum()

    start = torch.zeros(8, 8, dtype=torch.float64)
    own = loss(_minimised(start, loss, lambda p: Soap(p, lr=0.02), steps=300))
    adam = loss(_minimised(start, loss, lambda p: torch.optim.Adam(p, lr=0.02), steps=300))
    assert own < 0.1 * adam


def test_it_goes_on_from_its_saved_state():
    start, whole = _random(4, 5, seed=3), _random(4, 5, seed=3)
    whole = _minimised(whole, _loss, lambda p: Soap(p, lr=0.02), steps=30)
    weights = start.clone().requires_grad_()
    optimizer = Soap([weights], lr=0.02)
    for step in range(30):
        if step == 13:  # between two bases
            saved = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
            optimizer = Soap([weights], lr=0.02)
            restore_optimizer(optimizer, saved)
        optimizer.zero_grad()
        _loss(weights).backward()
        optimizer.step()
    assert torch.equal(weights.detach(), whole)


def test_tiny_and_missing_gradients_do_no_harm():
    weights = torch.zeros(100, 3).requires_grad_()
    idle = torch.ones(3, 3).requires_grad_()
    optimizer = Soap([weights, idle], lr=0.1)
    slopes = torch.exp(-torch.linspace(0, 100, 300).view(100, 3))
    for _ in range(12):
        optimizer.zero_grad()
        (weights * slopes).sum().backward()
        optimizer.step()
    assert torch.isfinite(weights).all() and float((weights * slopes).sum()) < -1
    assert torch.equal(idle, torch.ones(3, 3))
