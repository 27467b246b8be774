"""What a flow may know of a molecule: physics, and the same physics however the reference is bent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from boltzgen.conditioning.features import HARMONICS, PHYSICS, RING_SIZES, RINGS
from boltzgen.coordinates.support import unlink
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare

SERIES = slice(PHYSICS.stop - 2 * HARMONICS, PHYSICS.stop)


@pytest.fixture(scope="module")
def tryptophan():
    system = prepare(sequence="ACE-TRP-NME", implicit="obc1")
    return system, Target.from_system(system)


def test_a_torsion_series_is_the_energy_of_turning_about_its_axis(tryptophan):
    """Turned rigidly, at the minimum of everything else, against the torsion terms (impropers included)."""
    _, target = tryptophan
    table = target.coordinates.table
    linear = torch.as_tensor(~np.asarray(table.circular))
    values = torch.as_tensor(np.array(table.reference))
    lower, upper = torch.as_tensor(table.lower)[linear], torch.as_tensor(table.upper)[linear]
    values[linear] = unlink(target.features.centre, lower, upper)[0]
    angles = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)
    turned = 0
    for row in np.flatnonzero(np.asarray(table.circular)):
        frames = values.repeat(len(angles), 1)
        frames[:, row] = angles
        energy = target.potential.energy_by_term(target.coordinates.decode(frames)[0])["torsion"]
        a, b = target.features.tokens[row, SERIES].reshape(HARMONICS, 2).T * 10.0
        n = torch.arange(1, HARMONICS + 1)
        series = (a * torch.cos(n * angles[:, None]) + b * torch.sin(n * angles[:, None])).sum(dim=1)
        difference = energy - series
        assert float((difference - difference.mean()).abs().max()) < 1e-6
        turned += float(series.std()) > 0.1
    assert turned >= 5


def test_features_forget_how_the_reference_is_strained(tryptophan):
    system, target = tryptophan
    values = target.coordinates.encode(torch.as_tensor(np.array(system.reference_positions))[None])[0]
    linear = ~np.asarray(target.coordinates.table.circular)
    noise = torch.randn(len(values[0]), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values[:, linear] *= 1 + 0.01 * noise[linear]
    strained = np.asarray(target.coordinates.decode(values)[0][0])
    other = Target.from_system(replace(system, reference_positions=strained))  # 0.3 if it mattered
    assert np.abs(strained - system.reference_positions).max() > 0.02
    assert float((other.features.tokens - target.features.tokens).abs().max()) < 0.06


def test_rings_are_told_by_their_size(tryptophan):
    _, target = tryptophan
    flags = target.features.tokens[:, RINGS].reshape(-1, 4, len(RING_SIZES))
    rings = target.coordinates.graph.rings
    assert sorted(map(len, rings)) == [5, 6]
    for row, atoms in enumerate(target.coordinates.table.atoms):
        for place, atom in enumerate(atoms):
            sizes = {len(ring) for ring in rings if atom in ring}
            assert {RING_SIZES[n] for n in flags[row, place].nonzero()[:, 0]} == sizes
