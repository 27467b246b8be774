"""On a GPU: a hybrid has the energies and forces that it has on the CPU, bad rows alone.

``BOLTZGEN_GPU_DEVICE=cpu`` runs the same code without a GPU.
"""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = os.environ.get("BOLTZGEN_GPU_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no CUDA device"
    ),
]


def energy_and_gradient(potential, x):
    x = x.clone().requires_grad_()
    energy = potential.energy(x)
    (gradient,) = torch.autograd.grad(energy.nan_to_num().sum(), x)
    return energy.detach().cpu(), gradient.cpu()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("region", ["all", "name CB HB1 HB2 HB3"])
@pytest.mark.filterwarnings("ignore:xtb-ala2-small was trained")
def test_a_hybrid_agrees_with_the_cpu(dtype, tolerance, region):
    from boltzgen.potentials.of_system import potential_of
    from boltzgen.system.prepare import prepare

    system = prepare(sequence="ACE-ALA-NME", implicit="obc1", ml="xtb-ala2-small", ml_region=region)
    generator = torch.Generator().manual_seed(0)
    noise = 0.003 * torch.randn(64, system.n_atoms, 3, generator=generator, dtype=torch.float64)
    x = torch.tensor(system.reference_positions) + noise
    x[5, 3] = torch.nan
    expected, slope = energy_and_gradient(potential_of(system), x)
    energy, gradient = energy_and_gradient(potential_of(system).to(DEVICE), x.to(DEVICE, dtype))
    assert energy.isnan().tolist() == expected.isnan().tolist() == [row == 5 for row in range(64)]
    assert (gradient[5] == 0).all()
    good = torch.arange(64) != 5
    torch.testing.assert_close(energy[good].double(), expected[good], rtol=tolerance, atol=100 * tolerance)
    largest = float(slope.abs().max())
    torch.testing.assert_close(gradient.double(), slope, rtol=0.0, atol=10 * tolerance * largest)
