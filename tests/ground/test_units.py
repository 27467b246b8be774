"""kT in every unit that an energy may have; symbols of the elements."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem
from scipy import constants

from boltzgen.potentials.model_systems import HarmonicWell
from boltzgen.system.graph.elements import symbol_of
from boltzgen.units import MODEL_TEMPERATURE, thermal_energy


def test_kt_is_codata_s():
    for kelvin in (300.0, 412.5):
        assert thermal_energy(kelvin) == pytest.approx(constants.R * kelvin / 1000, rel=1e-12)
    ladder = np.array([300.0, 450.0])
    np.testing.assert_allclose(thermal_energy(ladder) / thermal_energy(ladder[0]), [1.0, 1.5], rtol=1e-12)


def test_the_energy_of_a_model_system_is_in_kt_at_its_own_temperature():
    """Twice as hot, half the reduced energy: of K/2 |x|^2 with K = 3 at x = 2, six kT at 300 K."""
    assert thermal_energy(2.5 * MODEL_TEMPERATURE, "kT") == pytest.approx(2.5)
    well, x = HarmonicWell(3.0), torch.full((2, 1), 2.0, dtype=torch.float64)
    found = well.reduced_energy(x, torch.tensor([300.0, 600.0], dtype=torch.float64))
    assert torch.allclose(found, found.new_tensor([6.0, 3.0]), rtol=1e-12)


def test_symbols_are_those_of_rdkit():
    table = Chem.GetPeriodicTable()
    assert [symbol_of(z) for z in range(1, 119)] == [table.GetElementSymbol(z) for z in range(1, 119)]
    assert symbol_of(0) == symbol_of(119) == "X" and symbol_of(0, "none") == symbol_of(-3, "none") == "none"
