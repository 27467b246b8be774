"""Whose turn it is: the molecules of each step, every one as often as every other."""

from __future__ import annotations

import torch


def molecules_in_turn(count: int, a_step: int, step: int, seed: int) -> list[int]:
    """The `a_step` of `count` molecules (all, when that many are asked for) that step number `step` is about.

    The steps go through one permutation of the molecules after the other, so that after any number of steps
    no molecule came more than once oftener than another. A function of its arguments alone: a resumed run
    meets the same molecules.
    """
    if a_step >= count:
        return list(range(count))
    turns = range(step * a_step, (step + 1) * a_step)
    return [_permutation(count, turn // count, seed)[turn % count] for turn in turns]


def _permutation(count: int, epoch: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator).tolist()  # type: ignore[no-any-return]
