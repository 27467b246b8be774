"""Where the base distribution of a molecule sits and how wide it is: the bonded terms' own answer.

The linear coordinates, after their link, are centred where the bonded energy (bonds, angles, torsions,
impropers) is lowest with the rotatable torsions held at the reference, and whitened by its curvature there.
Nothing is typed in, nothing is fitted to data, and the result scales with ``sqrt(kT)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.base import Coordinates
from boltzgen.coordinates.support import link, unlink
from boltzgen.units import thermal_energy

#: Standard deviation at 300 K, in units of the linked coordinate, above which curvature is not believed.
WIDEST = 1.5

#: Newton steps; the bonded energy is nearly quadratic and five are usually enough.
NEWTON_STEPS = 12


@torch.enable_grad()  # the caller may be within torch.no_grad()
def bonded_minimum(
    coordinates: Coordinates, bonded_energy: Callable[[Tensor], Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Centre (L,) and whitening (L, L) of the linked linear coordinates.

    `bonded_energy` maps positions (batch, atoms, 3) in nm to kJ/mol. ``kT * whitening @ whitening.T`` is the
    covariance; the whitening is lower triangular, in units of 1/sqrt(kJ/mol).
    """
    table = coordinates.table
    linear = torch.as_tensor(np.flatnonzero(~table.circular))
    lower, upper = torch.as_tensor(table.lower)[linear], torch.as_tensor(table.upper)[linear]
    reference = torch.as_tensor(np.array(table.reference), dtype=torch.float64)

    def gradient(points: Tensor) -> Tensor:
        points = points if points.requires_grad else points.detach().requires_grad_(True)
        full = reference.repeat(len(points), 1).index_copy(1, linear, unlink(points, lower, upper)[0])
        energy = bonded_energy(coordinates.decode(full)[0])
        return torch.autograd.grad(energy.sum(), points, create_graph=True)[0]

    centre = link(reference[linear], lower, upper)[0]
    floor = thermal_energy(300.0) / WIDEST**2
    for _ in range(NEWTON_STEPS):
        values, vectors = _curvature(gradient, centre, floor)
        slope = gradient(centre[None])[0].detach()
        step = -(vectors @ ((vectors.T @ slope) / values))
        centre = centre + step.clamp(-0.1, 0.1)
        if float(step.abs().max()) < 1e-9:
            break
    values, vectors = _curvature(gradient, centre, floor)
    covariance = (vectors / values) @ vectors.T
    return centre.numpy(), torch.linalg.cholesky(0.5 * (covariance + covariance.T)).numpy()


def _curvature(gradient: Callable[[Tensor], Tensor], centre: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues (at least `floor`) and eigenvectors of the Hessian; one copy of the point gives one row.

    Exact derivatives, not differences: rounding would depend on the order in which the atoms are named.
    """
    copies = centre.repeat(len(centre), 1).requires_grad_(True)
    hessian = torch.autograd.grad(gradient(copies).diagonal().sum(), copies)[0]
    values, vectors = torch.linalg.eigh(0.5 * (hessian + hessian.T))
    return values.abs().clamp_min(floor), vectors
