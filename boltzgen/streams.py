"""Random streams that belong to rows: what is drawn for a row depends on its seed and its number alone.

Draws are made in blocks of a fixed number of rows, and each block has a generator of its own. Its state, the
624 words of a Mersenne Twister, is ``SeedSequence(seed, spawn_key=place).generate_state(624)`` of numpy, a
hash that numpy keeps as it is between versions; `place` is a purpose (see below), then the number of a block.
``torch.Generator.manual_seed`` would not do: on a CPU it reads the lowest 32 bits of a seed. Two of 10 000
blocks would be the same in one run of a hundred, and seeds that lie 2^32 apart would be one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from boltzgen.checks import check_seed
from boltzgen.errors import BoltzgenError
from boltzgen.remedies import REPORT

#: What a stream is for, the first number of its place: blocks of draws, groups that are refined together,
#: the pilot population that decides how, groups of chains, and tasks of losses that are added to a training.
DRAWS, REFINED, PILOT, CHAINS, LOSSES_ADDED = 0, 1, 2, 3, 4

#: Words of the state of a Mersenne Twister, and the byte of torch's state where they begin, 8 bytes each.
_WORDS, _BEGIN = 624, 24


def stream(seed: int, *place: int) -> torch.Generator:
    """The generator (on the CPU) of `place` under `seed`; any two that differ are independent.

    InputError when `seed` is none. Numbers of a place lie below 2^32.
    """
    check_seed(seed)
    words = np.random.SeedSequence(seed, spawn_key=place).generate_state(_WORDS, np.uint32)
    generator, state = torch.Generator(), _fresh_state().copy()
    state[_BEGIN : _BEGIN + 8 * _WORDS] = words.astype(np.uint64).view(np.uint8)
    generator.set_state(torch.from_numpy(state))
    return generator


@cache
def _fresh_state() -> np.ndarray:
    """The bytes of a generator that was not used yet; BoltzgenError where they are not as we know them."""
    seed = 12345
    state = torch.Generator().manual_seed(seed).get_state().numpy()
    second = (1812433253 * (seed ^ (seed >> 30)) + 1) % 2**32  # Matsumoto, Nishimura (1998), init_genrand
    words = state[_BEGIN : _BEGIN + 16]
    if len(words) < 16 or words.view(np.uint64).tolist() != [seed, second]:
        raise BoltzgenError(
            f"torch {torch.__version__} keeps the state of its random numbers in another way than those that "
            f"boltzgen was tested with; install one that `constraints.txt` names, and {REPORT}"
        )
    return state
