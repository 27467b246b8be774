"""Whose turn it is: every molecule as often as every other, whatever the number a step."""

from __future__ import annotations

from collections import Counter

import pytest

from boltzgen.training.turns import molecules_in_turn


@pytest.mark.parametrize(("count", "a_step"), [(7, 1), (7, 3), (5, 4), (100, 6)])
def test_every_molecule_comes_as_often_as_every_other(count, a_step):
    seen: Counter[int] = Counter()
    for step in range(60):
        chosen = molecules_in_turn(count, a_step, step, seed=3)
        assert len(chosen) == a_step
        seen.update(chosen)
        assert max(seen.values()) - min(seen[n] for n in range(count)) <= 1


def test_order_depends_on_seed_and_epoch():
    one = [molecules_in_turn(20, 20 // 4, step, seed=1) for step in range(8)]
    assert one[:4] != one[4:]
    assert one != [molecules_in_turn(20, 5, step, seed=2) for step in range(8)]
    assert one == [molecules_in_turn(20, 5, step, seed=1) for step in range(8)]


def test_all_when_that_many_are_asked_for():
    assert molecules_in_turn(3, 3, 5, seed=0) == molecules_in_turn(3, 9, 5, seed=0) == [0, 1, 2]
