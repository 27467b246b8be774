"""A few seconds of the random run over our own files (`tests/fuzz/own_files.py`)."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

from own_files import faults, mutate, mutate_json


def test_random_damage_ends_in_a_sentence():
    count, found = faults(6, seed=11)
    assert count > 20 and found == []


def test_a_seed_makes_the_same_damage_again_and_some_damage_each_time():
    data = json.dumps({"a": [1, {"b": "text"}], "c": None}).encode()
    for change in (mutate, mutate_json):
        made = [change(data, random.Random(seed)) for seed in range(50)]
        assert made == [change(data, random.Random(seed)) for seed in range(50)]
        assert sum(one != data for one in made) > 40
