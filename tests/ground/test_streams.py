"""Random streams: the hash that is documented, and nothing in common between any two."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boltzgen.errors import InputError
from boltzgen.streams import DRAWS, REFINED, stream


def test_a_stream_is_numpys_twister_with_the_documented_state():
    """torch makes a float64 of two words, the first above the second, and keeps 53 bits of them."""
    twister = np.random.MT19937()
    key = np.random.SeedSequence(3, spawn_key=(1, 7)).generate_state(624)
    twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}}
    words = [int(word) for word in twister.random_raw(2000)]
    expected = [
        ((high << 32 | low) % 2**53) / 2**53 for high, low in zip(words[::2], words[1::2], strict=True)
    ]
    assert torch.rand(1000, generator=stream(3, 1, 7), dtype=torch.float64).tolist() == expected


@pytest.mark.parametrize(
    "other",
    [
        stream(1, DRAWS, 3),
        stream(2**32, DRAWS, 3),
        stream(0, DRAWS, 4),
        stream(0, REFINED, 3),
        stream(0, DRAWS),
    ],
    ids=["seed", "seed with the same 32 bits", "block", "purpose", "shorter place"],
)
def test_streams_have_nothing_in_common(other):
    """Neither value by value (|r| < 4.5 / sqrt(n)) nor shifted: no number of one is found in the other."""
    one, two = (
        torch.rand(100_000, generator=generator, dtype=torch.float64)
        for generator in (stream(0, DRAWS, 3), other)
    )
    assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 4.5 / 100_000**0.5
    assert not set(one.tolist()) & set(two.tolist())
    assert torch.equal(one[:5], torch.rand(5, generator=stream(0, DRAWS, 3), dtype=torch.float64))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(InputError, match="give a whole number from 0"):
        stream(seed, DRAWS, 0)
