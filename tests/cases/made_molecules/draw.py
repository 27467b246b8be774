"""The splits: sixty test molecules first, then those of validation, then training from what shares no key."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cases.made_molecules.pool import Candidate, pool

#: Of everything below; it stood here before anything was trained.
SEED = 20261130
DRAWS = 16_000

#: Scaffolds of more than this share of the pool (benzene, pyrrolidine, ...) are always learned.
_COMMON = 0.008
#: At most so many molecules of one scaffold, and of one skeleton, are learned.
_OF_A_SCAFFOLD, _OF_A_SKELETON = 10, 3


@dataclass(frozen=True)
class Wanted:
    """How many of each kind, charged ones among them, and how their sizes (atoms with hydrogens) scatter."""

    kinds: dict[str, tuple[int, int]]
    mean: float
    deviation: float
    fewest: int
    most: int


#: Sizes as FreeSolv's: mean 18, 95 % at most 30.
TEST = Wanted({"saturated": (24, 4), "aromatic": (13, 3), "chain": (23, 5)}, 17.7, 7.0, 6, 32)
VALIDATION = Wanted({"saturated": (8, 2), "aromatic": (4, 1), "chain": (8, 2)}, 17.7, 7.0, 6, 32)
TRAIN = Wanted({"saturated": (170, 32), "aromatic": (100, 22), "chain": (150, 30)}, 18.0, 7.0, 5, 35)


def splits() -> dict[str, list[Candidate]]:
    """Candidates by split, in an order of which any first part is balanced."""
    candidates = pool(DRAWS, SEED)
    generator = random.Random(SEED)
    counts = Counter(one.key for one in candidates)
    common = {key for key, count in counts.items() if count > _COMMON * len(candidates)}
    kept: dict[str, list[Candidate]] = {}
    taken = set(common)
    for name, wanted in (("test", TEST), ("validation", VALIDATION)):
        rare = [one for one in candidates if one.key not in taken]
        kept[name] = _drawn(rare, wanted, generator, limit=lambda key: 1)
        taken |= {one.key for one in kept[name]}
    learned = [one for one in candidates if one.key in common or one.key not in taken]
    kept["train"] = _drawn(
        learned,
        TRAIN,
        generator,
        limit=lambda key: _OF_A_SCAFFOLD if key.startswith("ring") else _OF_A_SKELETON,
        even=True,
    )
    return kept


def _drawn(
    candidates: Sequence[Candidate],
    wanted: Wanted,
    generator: random.Random,
    *,
    limit: Callable[[str], int],
    even: bool = False,
) -> list[Candidate]:
    """Sizes are drawn, and for each a candidate of it or of the nearest one.

    limit: most candidates of a key. even: of several the one is taken whose pieces were used least.
    """
    found: list[Candidate] = []
    used: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for kind, (number, charged) in wanted.kinds.items():
        for slot in range(number):
            if slot in (0, charged):
                left = [
                    one
                    for one in candidates
                    if one.kind == kind
                    and (one.charge != 0) == (slot < charged)
                    and wanted.fewest <= one.atoms <= wanted.most
                ]
            size = round(_truncated(generator, wanted))
            left = [one for one in left if keys[one.key] < limit(one.key)]
            nearest = min(abs(one.atoms - size) for one in left)
            those = [one for one in left if abs(one.atoms - size) == nearest]
            generator.shuffle(those)
            one = (
                min(those, key=lambda c: sum(used[p] for p in c.pieces) / len(c.pieces)) if even else those[0]
            )
            left.remove(one)
            found.append(one)
            keys[one.key] += 1
            used.update(one.pieces)
    generator.shuffle(found)
    return found


def _truncated(generator: random.Random, wanted: Wanted) -> float:
    while True:
        size = generator.gauss(wanted.mean, wanted.deviation)
        if wanted.fewest <= size <= wanted.most:
            return size
