"""Spot check of densities: the analytic log-determinants against the determinants of autograd's Jacobians.

A smooth error in a log-determinant leaves no trace in the spread of the weights, and spoils every answer. So
a few fresh draws are taken apart: the flow's map to its latents, and the map from coordinates to atoms. For
the second the honest test is the square Jacobian of (translation, three Euler angles, internals) -> Cartesian
coordinates, whose determinant is the shape measure times the sine of the middle Euler angle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.coordinates.base import Coordinates
from boltzgen.errors import BoltzgenError
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.generator import BoltzmannGenerator
from boltzgen.remedies import REPORT

#: Differences in ln(density) that rounding explains, by the arithmetic of the flow.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-2}

#: Draws taken, and draws checked of those that lie in the domain.
DRAWN, CHECKED = 16, 3

#: Euler angles (rad) at which the rotation is differentiated; any with a middle angle away from 0 and pi.
EULER = (0.4, 1.1, -0.7)


@dataclass(frozen=True)
class DeterminantCheck:
    """Largest differences in ln(density) over the draws checked; None where there was nothing to compare.

    Attributes
    ----------
    rows: draws compared. flow: log density of the flow's draw against its base density and autograd.
    coordinates: log-determinant of the coordinates against the square Jacobian.
    tolerance: what rounding may do.
    """

    rows: int
    flow: float | None
    coordinates: float | None
    tolerance: float

    @property
    def passed(self) -> bool:
        return all(value is None or value <= self.tolerance for value in (self.flow, self.coordinates))

    def reason(self) -> str:
        """One sentence about what is wrong; only when `passed` is False."""
        wrong = [
            (name, value)
            for name, value in (("flow", self.flow), ("coordinates", self.coordinates))
            if value is not None and not value <= self.tolerance
        ]
        name, value = wrong[0]
        return (
            f"the log-determinant of the {name} differs from autograd by {value:.3g} (rounding allows "
            f"{self.tolerance:g}): no density or weight made with it can be trusted; {REPORT}"
        )


def spot_check(generator: BoltzmannGenerator, temperature: float, *, seed: int = 90210) -> DeterminantCheck:
    """Compare the densities of a few draws of `generator` at `temperature` (K) with autograd.

    The draws have a random generator of their own, so that the samples of a run do not depend on the check.
    """
    if isinstance(generator.flow, TemperatureMixture):  # its own part is a sum; wrong can be the flow's
        temperature = generator.flow.temperatures[0]
        generator = replace(generator, flow=generator.flow.inner)
    target, flow = generator.target, generator.flow
    with torch.no_grad():
        embedding = generator.embed(temperature, DRAWN)
        values, density = flow.sample(embedding, generator=torch.Generator().manual_seed(seed))
        positions, _ = target.coordinates.decode(values)
        usable = target.coordinates.inside(positions) & torch.isfinite(density)
    rows = torch.nonzero(usable)[:CHECKED, 0]
    tolerance = TOLERANCE[next((p.dtype for p in flow.parameters()), torch.float64)]
    if not len(rows):
        return DeterminantCheck(0, None, None, tolerance)
    values, density = values[rows].detach(), density[rows].detach()
    found = None
    if generator.has_latents:
        found = _largest(density - _flow_density(generator, values, temperature))
    volume = coordinates_log_det(target.coordinates, values)
    reported = target.coordinates.decode(values)[1].detach()
    against = None if volume is None else _largest(reported - volume)
    return DeterminantCheck(len(rows), found, against, tolerance)


def require_determinants(generator: BoltzmannGenerator, temperature: float) -> DeterminantCheck:
    """`spot_check`, or BoltzgenError when a log-determinant is wrong: no verdict can mend that."""
    check = spot_check(generator, temperature)
    if not check.passed:
        name = generator.target.name
        raise BoltzgenError(f"{name}: {check.reason()}.")
    return check


def coordinates_log_det(coordinates: Coordinates, values: Tensor) -> Tensor | None:
    """log|det| (B,) of decode at `values` (B, D) by autograd; None for fewer than three atoms."""
    if coordinates.measure != "shape":
        return _log_det(lambda rows: coordinates.decode(rows)[0].flatten(1), values)
    n_atoms = coordinates.decode(values[:1])[0].shape[1]
    if n_atoms < 3:
        return None
    rigid = values.new_tensor([0.0, 0.0, 0.0, *EULER]).expand(len(values), 6)

    def place(rows: Tensor) -> Tensor:
        atoms = coordinates.decode(rows[:, 6:])[0]
        return (atoms @ _rotation(rows[:, 3:6]).transpose(1, 2) + rows[:, None, :3]).flatten(1)

    return _log_det(place, torch.cat([rigid, values], dim=1)) - torch.sin(values.new_tensor(EULER[1])).log()


def _flow_density(generator: BoltzmannGenerator, values: Tensor, temperature: float) -> Tensor:
    """Log density (B,) of `values` from the flow's base density and autograd's determinant."""
    flow = generator.latent_flow

    def latents(rows: Tensor) -> Tensor:
        return flow.encode(rows, generator.embed(temperature, len(rows)))[0]

    embedding = generator.embed(temperature, len(values))
    with torch.no_grad():
        base = flow.latent_log_prob(latents(values), embedding)
    return base + _log_det(latents, values)


def _log_det(function, values: Tensor) -> Tensor:
    """log|det| (B,) of the Jacobian of `function`, which maps (rows, D) to (rows, D) row by row.

    Each row is repeated D times and one backward pass gives all of its gradients.
    """
    batch, size = values.shape
    repeated = values.repeat_interleave(size, dim=0).requires_grad_(True)
    with torch.enable_grad():
        outputs = function(repeated)
        picked = outputs[torch.arange(batch * size), torch.arange(size).repeat(batch)]
        (gradient,) = torch.autograd.grad(picked.sum(), repeated)
    return torch.linalg.slogdet(gradient.reshape(batch, size, size).to(torch.float64))[1]


def _rotation(angles: Tensor) -> Tensor:
    """Rotation matrices (B, 3, 3) about z, x and z by `angles` (B, 3)."""
    (ca, cb, cc), (sa, sb, sc) = angles.cos().unbind(1), angles.sin().unbind(1)
    rows = [
        ca * cc - sa * cb * sc,
        -ca * sc - sa * cb * cc,
        sa * sb,
        sa * cc + ca * cb * sc,
        -sa * sc + ca * cb * cc,
        -ca * sb,
        sb * sc,
        sb * cc,
        cb,
    ]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _largest(difference: Tensor) -> float:
    """Largest magnitude; infinite when a difference is not a number."""
    return float(torch.nan_to_num(difference.abs(), nan=torch.inf).max())
