"""Where the base distribution of a molecule sits and how wide it is: the bonded terms' own answer.

The linear coordinates, after their link, are centred where the bonded energy (bonds, angles, torsions,
impropers) is lowest with the rotatable torsions held at the reference, and whitened by its curvature there.
Nothing is typed in, nothing is fitted to data, and the result scales with ``sqrt(kT)``.

Bends, the two components x, y of an atom's tilt from the line through its references, are centred on the line.
On it an angle has no derivatives, so that curvatures are taken beside it, where that along y is ``V'(r) / r``.
Where the line is no minimum (an azide of 172 degrees: the minima are a circle of radius r0 around it), the
width reaches over the circle: ``r0^2 + kT / V''(r0)`` for each component at 300 K.
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

#: Tilt at which the curvature of a straight angle is taken: its square and the rounding of 1/tilt are small.
TILT = 1e-4

#: Tilts among which the circle of minima of a nearly straight angle is looked for (at 1.4, 70 degrees).
TILTS = 0.02 * torch.arange(1, 71, dtype=torch.float64)

Gradient = Callable[[Tensor], Tensor]


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
    bends = torch.tensor([k for k, row in enumerate(linear) if table.kind[row] == "bend"], dtype=torch.long)

    def gradient(points: Tensor) -> Tensor:
        points = points if points.requires_grad else points.detach().requires_grad_(True)
        full = reference.repeat(len(points), 1).index_copy(1, linear, unlink(points, lower, upper)[0])
        energy = bonded_energy(coordinates.decode(full)[0])
        return torch.autograd.grad(energy.sum(), points, create_graph=True)[0]

    centre = link(reference[linear], lower, upper)[0]
    centre[bends[0::2]], centre[bends[1::2]] = TILT, 0.0
    floor = thermal_energy(300.0) / WIDEST**2
    free = torch.ones_like(centre)
    free[bends] = 0.0
    for _ in range(NEWTON_STEPS):
        values, vectors = _eigen(_hessian(gradient, centre) * free * free[:, None], floor)
        slope = gradient(centre[None])[0].detach() * free
        step = -(vectors @ ((vectors.T @ slope) / values))
        centre = centre + step.clamp(-0.1, 0.1)
        if float(step.abs().max()) < 1e-9:
            break
    hessian = _hessian(gradient, centre)
    for x, y in bends.reshape(-1, 2).tolist():
        if hessian[y, y] < 0:
            hessian[[x, y], :] = hessian[:, [x, y]] = 0.0
            hessian[x, x] = hessian[y, y] = _precision_of_a_circle(gradient, centre, x)
    values, vectors = _eigen(hessian, floor)
    covariance = (vectors / values) @ vectors.T
    centre[bends] = 0.0
    return centre.numpy(), torch.linalg.cholesky(0.5 * (covariance + covariance.T)).numpy()


def _precision_of_a_circle(gradient: Gradient, centre: Tensor, x: int) -> float:
    """kJ/mol per unit^2, of both components of a bend (`x` the first) whose energy falls on leaving the line.

    0 when it falls on all the way.
    """
    points = centre.repeat(len(TILTS), 1)
    points[:, x] = TILTS
    slope = gradient(points).detach()[:, x]
    rises = torch.nonzero((slope[:-1] < 0) & (slope[1:] >= 0)).flatten()
    if not len(rises):
        return 0.0
    low = int(rises[0])
    stiffness = (slope[low + 1] - slope[low]) / (TILTS[low + 1] - TILTS[low])
    radius = TILTS[low] - slope[low] / stiffness
    kT = thermal_energy(300.0)
    return float(kT / (radius**2 + kT / stiffness))


def _hessian(gradient: Gradient, centre: Tensor) -> Tensor:
    """(L, L) second derivatives at `centre`; one copy of the point gives one row.

    Exact derivatives, not differences: rounding would depend on the order in which the atoms are named.
    """
    copies = centre.repeat(len(centre), 1).requires_grad_(True)
    hessian = torch.autograd.grad(gradient(copies).diagonal().sum(), copies)[0]
    return 0.5 * (hessian + hessian.T)


def _eigen(hessian: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues (at least `floor`) and eigenvectors."""
    values, vectors = torch.linalg.eigh(hessian)
    return values.abs().clamp_min(floor), vectors
