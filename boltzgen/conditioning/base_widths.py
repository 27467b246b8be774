"""Where the base distribution of a molecule sits and how wide it is: the bonded terms' own answer.

The linear coordinates, after their link, are centred where the bonded energy (bonds, angles, torsions,
impropers) is lowest with the rotatable torsions held at the reference, and whitened by its curvature there.
Nothing is typed in, nothing is fitted to data, and the result scales with ``sqrt(kT)``.

Bends, the two components of an atom's tilt from the line through its references, are centred on the line
and stand by themselves: on the line an angle has no derivatives, and a torsion about it no value. Where the
energy rises with the tilt, ``V'(r) / r`` beside the line is the curvature of both. Where it falls (an azide
of 172 degrees has its minima on a circle of radius r0 around the line), both have the variance
``r0^2 + kT / V''(r0)`` at 300 K, which reaches over the circle.
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

#: Tilts at which the slope of a bend is taken, the first beside the line (at 1.4, 70 degrees).
TILTS = torch.cat([torch.tensor([1e-4], dtype=torch.float64), 0.02 * torch.arange(1.0, 71.0).double()])

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
    centre[bends[0::2]], centre[bends[1::2]] = TILTS[0], 0.0
    floor = thermal_energy(300.0) / WIDEST**2
    alone = torch.ones_like(centre).index_fill(0, bends, 0.0)
    for _ in range(NEWTON_STEPS):
        values, vectors = _eigen(_hessian(gradient, centre) * alone * alone[:, None], floor)
        slope = gradient(centre[None])[0].detach() * alone
        step = -(vectors @ ((vectors.T @ slope) / values))
        centre = centre + step.clamp(-0.1, 0.1)
        if float(step.abs().max()) < 1e-9:
            break
    hessian = _hessian(gradient, centre) * alone * alone[:, None]
    for pair in bends.reshape(-1, 2).tolist():
        hessian[pair, pair] = _precision_of_a_bend(gradient, centre, pair)
    values, vectors = _eigen(hessian, floor)
    covariance = (vectors / values) @ vectors.T
    return (centre * alone).numpy(), torch.linalg.cholesky(0.5 * (covariance + covariance.T)).numpy()


def _precision_of_a_bend(gradient: Gradient, centre: Tensor, pair: list[int]) -> float:
    """kJ/mol per unit^2 of both components `pair` of a bend; 0 where nothing holds the atom near the line."""
    slope = torch.zeros_like(TILTS)  # along the tilt, in the mean over four directions
    for component in pair:
        for sign in (-1.0, 1.0):
            points = centre.repeat(len(TILTS), 1)
            points[:, pair] = 0.0
            points[:, component] = sign * TILTS
            slope += 0.25 * sign * gradient(points).detach()[:, component]
    if slope[0] >= 0:
        return float(slope[0] / TILTS[0])
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
