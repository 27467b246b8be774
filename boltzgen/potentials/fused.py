"""The fast path: energies and hand-derived gradients in one pass, the batch innermost.

Words: N atoms, P pairs, b conformations of a block. Tensors are (rows, 3, b) or (rows, b), so that
every operation runs along contiguous conformations; a block is small enough for the processor's
cache. Sums over atoms, pairs and terms are products with constant incidence matrices, which keeps
each conformation in its own column: a bad one cannot touch its neighbours.

What is computed here is defined in `terms`; the tests hold the two together to 1e-10.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.parameters import ForceFieldParameters
from boltzgen.potentials.terms import (
    COULOMB_CONSTANT,
    DIELECTRIC_OFFSET,
    OBC_ALPHA,
    OBC_BETA,
    OBC_GAMMA,
    PROBE_RADIUS,
    Constants,
    solvent_prefactor,
)

#: Smallest length^2 (nm2) of a cross product by which a gradient is divided: linear angles, flat torsions.
SMALLEST_AREA = 1e-12

#: Elements of the largest tensor in a block, for one thread: a compromise between the calls of many
#: small blocks and the cache misses of large ones (measured best between 100 000 and 300 000).
BLOCK_ELEMENTS_CPU = 240_000
BLOCK_ELEMENTS_DEVICE = 64_000_000


def incidence(n_atoms: int, positive: np.ndarray, negative: np.ndarray | None = None) -> np.ndarray:
    """(N, rows) matrix with +1 where a row's `positive` atom is, and -1 at its `negative` atom."""
    matrix = np.zeros((n_atoms, len(positive)))
    rows = np.arange(len(positive))
    matrix[positive, rows] += 1
    if negative is not None:
        matrix[negative, rows] -= 1
    return matrix


def column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)[:, None]


class Kernel(ABC):
    """Some terms of the energy, with their gradient, for one block of conformations."""

    bonded: bool = False
    #: Rows of the largest tensor: what the block size is chosen by.
    rows: int = 1

    def __init__(self, **arrays: np.ndarray) -> None:
        self.constants = Constants(**arrays)

    @abstractmethod
    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        """Add this kernel's energy to `energy` (b,) and, if given, dE/dx to `gradient` (N, 3, b).

        `x` is (N, 3, b) in nm; `cyclic` (N, 5, b) the same as x, y, z, x, y, so that a cross product
        is two slices.
        """


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products of (rows, 3+, b) vectors: (rows, b)."""
    return (a[:, 0] * b[:, 0]).addcmul_(a[:, 1], b[:, 1]).addcmul_(a[:, 2], b[:, 2])


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Vector products of (rows, 5, b) cyclic vectors: (rows, 3, b)."""
    return (a[:, 1:4] * b[:, 2:5]).addcmul_(a[:, 2:5], b[:, 1:4], value=-1)


def _differences(x: Tensor, to: Tensor, start: Tensor) -> Tensor:
    return x.index_select(0, to).sub_(x.index_select(0, start))


def _scatter(gradient: Tensor, matrix: Tensor, rows: Tensor) -> None:
    """gradient (N, 3, b) += matrix (N, rows) @ rows (rows, 3, b)."""
    gradient.view(len(gradient), -1).addmm_(matrix, rows.reshape(len(rows), -1))


class BondKernel(Kernel):
    """Harmonic bonds."""

    bonded = True

    def __init__(self, p: ForceFieldParameters) -> None:
        first, second = p.bond_atoms.T
        super().__init__(
            first=first,
            second=second,
            length=column(p.bond_length),
            stiffness=column(p.bond_stiffness),
            half=0.5 * p.bond_stiffness,
            incidence=incidence(p.n_atoms, first, second),
        )
        self.rows = len(first)

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        d = _differences(x, c["first"], c["second"])
        r = _dot(d, d).sqrt_()
        stretch = r - c["length"]
        energy += c["half"] @ stretch.square()
        if gradient is not None:
            d *= stretch.mul_(c["stiffness"]).div_(r)[:, None]
            _scatter(gradient, c["incidence"], d)


class AngleKernel(Kernel):
    """Harmonic angles; the two arms of the A angles are the rows [0, A) and [A, 2A) of one tensor."""

    bonded = True

    def __init__(self, p: ForceFieldParameters) -> None:
        first, apex, last = p.angle_atoms.T
        ends, apexes = np.concatenate([first, last]), np.concatenate([apex, apex])
        super().__init__(
            ends=ends,
            apexes=apexes,
            equilibrium=column(p.angle_equilibrium),
            stiffness=column(p.angle_stiffness),
            half=0.5 * p.angle_stiffness,
            incidence=incidence(p.n_atoms, ends, apexes),
        )
        self.count = len(first)
        self.rows = 2 * self.count

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        arms = _differences(cyclic, c["ends"], c["apexes"])
        one, two = arms[: self.count], arms[self.count :]
        normal = _cross(one, two)
        area = _dot(normal, normal).sqrt_()
        inner = _dot(one, two)
        bend = torch.atan2(area, inner).sub_(c["equilibrium"])
        energy += c["half"] @ bend.square()
        if gradient is not None:
            # d theta / d one = (one (one.two) / one^2 - two) / |one x two|, and likewise for two
            scale = bend.mul_(c["stiffness"]).div_(area.clamp_min_(SMALLEST_AREA))
            inner *= scale
            arms = arms[:, :3]
            along = inner.repeat(2, 1).div_(_dot(arms, arms))
            out = arms * along[:, None]
            out[: self.count].addcmul_(two[:, :3], scale[:, None], value=-1)
            out[self.count :].addcmul_(one[:, :3], scale[:, None], value=-1)
            _scatter(gradient, c["incidence"], out)


class TorsionKernel(Kernel):
    """Periodic torsions: T terms on Q different quadruples, whose three edges are 3 Q rows."""

    bonded = True

    def __init__(self, p: ForceFieldParameters) -> None:
        quads, term_quad = np.unique(p.torsion_atoms, axis=0, return_inverse=True)
        start, to = np.concatenate([quads[:, n] for n in (0, 1, 2)]), np.concatenate(quads[:, 1:].T)
        slope = incidence(len(quads), term_quad.reshape(-1)) * -(p.torsion_barrier * p.torsion_periodicity)
        super().__init__(
            start=start,
            to=to,
            term_quad=term_quad.reshape(-1),
            periodicity=column(p.torsion_periodicity),
            phase=column(p.torsion_phase),
            barrier=p.torsion_barrier,
            slope=slope,
            incidence=incidence(p.n_atoms, to, start),
        )
        self.offset = float(p.torsion_barrier.sum())
        self.count = len(quads)
        self.rows = 3 * self.count

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        n = self.count
        edges = _differences(cyclic, c["to"], c["start"])
        axis = edges[n : 2 * n]
        normals = _cross(edges[: 2 * n], edges[n:])
        axis_squared = _dot(axis, axis)
        axis_length = axis_squared.sqrt()
        sine = _dot(edges[:n], normals[n:]).mul_(axis_length)
        angle = torch.atan2(sine, _dot(normals[:n], normals[n:]))
        phases = angle.index_select(0, c["term_quad"]).mul_(c["periodicity"]).sub_(c["phase"])
        energy += c["barrier"] @ phases.cos()
        energy += self.offset
        if gradient is not None:
            # d phi / d edge with the normals m, n: |axis| m / m^2 for the first edge, |axis| n / n^2 for
            # the last, minus their mixture by the outer edges' shares along it for the axis
            slope = (c["slope"] @ phases.sin_()).mul_(axis_length)
            weights = slope.repeat(2, 1).div_(_dot(normals, normals).clamp_min_(SMALLEST_AREA**2))
            normals *= weights[:, None]
            outer = torch.cat([edges[:n, :3], edges[2 * n :, :3]])
            share = _dot(outer, axis.repeat(2, 1, 1)).div_(axis_squared.repeat(2, 1))
            middle = normals * share[:, None]
            middle = middle[:n].add_(middle[n:]).neg_()
            _scatter(gradient, c["incidence"], torch.cat([normals[:n], middle, normals[n:]]))


class PairKernel(Kernel):
    """Lennard-Jones, Coulomb and generalized Born with one distance for all three."""

    def __init__(self, p: ForceFieldParameters) -> None:
        self.solvent = p.has_solvent
        pairs = p.pairs() if p.has_solvent else p.pairs().interacting()
        first, second = pairs.atoms.T
        self.rows = len(first) * (2 if p.has_solvent else 1)
        self.count = len(first)
        repulsion = 4 * pairs.epsilon * pairs.sigma**12
        dispersion = 4 * pairs.epsilon * pairs.sigma**6
        coulomb = COULOMB_CONSTANT * pairs.charge_product
        arrays = {
            "first": first,
            "second": second,
            "twice_repulsion": column(2 * repulsion),
            "dispersion": column(dispersion),
            "half_dispersion": -0.5 * dispersion,
            "halves": np.full(len(first), 0.5),
            "coulomb": column(coulomb),
            "coulomb_row": coulomb,
            "incidence": incidence(p.n_atoms, first, second),
        }
        super().__init__(**arrays, **(self._solvent_arrays(p, first, second) if p.has_solvent else {}))

    @staticmethod
    def _solvent_arrays(
        p: ForceFieldParameters, first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        offset = p.born_radius - DIELECTRIC_OFFSET
        descreened, other = np.concatenate([first, second]), np.concatenate([second, first])
        scaled = (p.born_scale * offset)[other]
        prefactor = solvent_prefactor(p)
        polar = prefactor * p.solvent_charge[first] * p.solvent_charge[second]
        tension = 4 * np.pi * p.surface_area_energy
        psi = 0.5 * offset[:, None] * incidence(p.n_atoms, descreened)
        swallowable = np.flatnonzero(scaled > offset[descreened])
        return {
            "descreened": descreened,
            "scaled": scaled.reshape(2, -1, 1),
            "own": offset[descreened].reshape(2, -1, 1),
            "half_scaled_squared": (scaled**2 / 2).reshape(2, -1, 1),
            "psi": psi,
            "swallowable": swallowable,
            "swallowable_own": column(offset[descreened][swallowable]),
            "swallowed_psi": -2 * psi[:, swallowable],
            "both_ends": incidence(p.n_atoms, first) + incidence(p.n_atoms, second),
            "psi_by_slope": column(-0.125 * offset),
            "inverse_offset": column(1 / offset),
            "inverse_radius": column(1 / p.born_radius),
            "polar": column(polar),
            "polar_row": polar,
            "self_row": 0.5 * prefactor * p.solvent_charge**2,
            "self_energy": column(0.5 * prefactor * p.solvent_charge**2),
            "surface_row": tension * (p.born_radius + PROBE_RADIUS) ** 2 * p.born_radius**6,
            "surface": column(6 * tension * (p.born_radius + PROBE_RADIUS) ** 2 * p.born_radius**6),
        }

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        d = (c["incidence"].T @ x.view(len(x), -1)).view(self.count, 3, -1)
        squared = _dot(d, d)
        inverse = squared.rsqrt()
        inverse_squared = inverse * inverse
        sixth = (inverse_squared * inverse_squared).mul_(inverse_squared)
        # 2 A r^-12 - B r^-6: half of it, less half of B r^-6, is the energy; six times it, the slope
        virial = (sixth * c["twice_repulsion"]).sub_(c["dispersion"]).mul_(sixth)
        energy += c["halves"] @ virial
        energy += c["half_dispersion"] @ sixth
        energy += c["coulomb_row"] @ inverse
        slope = None
        if gradient is not None:
            slope = virial.mul_(-6).addcmul_(inverse, c["coulomb"], value=-1).mul_(inverse)  # dE/dr
        if self.solvent:
            self._solvent(c, squared, inverse, inverse_squared, energy, slope)
        if gradient is not None and slope is not None:
            d *= slope.mul_(inverse)[:, None]
            _scatter(gradient, c["incidence"], d)

    def _solvent(
        self,
        c: dict[str, Tensor],
        squared: Tensor,
        inverse: Tensor,
        inverse_squared: Tensor,
        energy: Tensor,
        slope: Tensor | None,
    ) -> None:
        """Add the solvent's energy, and to `slope` (P, b) its dE/dr."""
        r = squared * inverse
        psi, descreening = self._descreening(c, r, inverse, inverse_squared)
        radii, radii_slope = _born_radii(c, psi)
        product = radii.index_select(0, c["first"]).mul_(radii.index_select(0, c["second"]))
        damping = (squared / product).mul_(-0.25).exp_()
        effective = torch.addcmul(squared, product, damping).rsqrt_()
        inverse_radii = radii.reciprocal()
        sixth = inverse_radii.pow(6)
        energy += c["polar_row"] @ effective
        energy += c["self_row"] @ inverse_radii
        energy += c["surface_row"] @ sixth
        if slope is None:
            return
        # with cubed = -2 dE/d(f^2): dE/dr = -r cubed (1 - damping/4) at fixed radii, and
        # dE/dln(B_i B_j) = -cubed damping (B_i B_j + r^2/4) / 2
        cubed = (effective * effective).mul_(effective).mul_(c["polar"])
        damped = damping.mul_(cubed)
        by_product = product.add_(squared, alpha=0.25).mul_(damped)
        cubed.sub_(damped, alpha=0.25).mul_(r)
        slope -= cubed
        by_radius = (c["both_ends"] @ by_product).mul_(-0.5)  # dE/dln B
        by_radius.addcmul_(inverse_radii, c["self_energy"], value=-1).addcmul_(sixth, c["surface"], value=-1)
        by_radius.mul_(inverse_radii).mul_(radii_slope).mul_(c["psi_by_slope"])
        descreening *= by_radius.index_select(0, c["descreened"]).view_as(descreening)
        slope += descreening[0]
        slope += descreening[1]

    def _descreening(
        self, c: dict[str, Tensor], r: Tensor, inverse: Tensor, inverse_squared: Tensor
    ) -> tuple[Tensor, Tensor]:
        """OBC's psi (N, b), and -4 d(pair integral)/dr (2, P, b); the slopes of the two bounds cancel."""
        gap = r - c["scaled"]
        inside = gap.view(2 * self.count, -1).index_select(0, c["swallowable"])
        lower = torch.maximum(gap.abs_(), c["own"]).reciprocal_()
        upper = torch.maximum(r + c["scaled"], c["own"]).reciprocal_()
        logarithm = (upper / lower).log_()
        difference = lower - upper
        squares = upper.add_(lower).mul_(difference)
        weight = logarithm.addcmul_(squares, c["half_scaled_squared"])
        integral = difference.addcmul_(weight, inverse, value=0.5).addcmul_(squares, r, value=-0.25)
        psi = c["psi"] @ integral.view(2 * self.count, -1)
        # where the other sphere holds this atom's sphere: 1/own - 1/(scaled - r), elsewhere exactly 0
        own = c["swallowable_own"]
        psi.addmm_(c["swallowed_psi"], torch.maximum(inside.neg_(), own).reciprocal_().sub_(own.reciprocal()))
        return psi, squares.addcmul_(weight, inverse_squared, value=2)


def _born_radii(c: dict[str, Tensor], psi: Tensor) -> tuple[Tensor, Tensor]:
    """Born radii (N, b) and their derivative by psi."""
    bent = psi * OBC_GAMMA
    bent = bent.sub_(OBC_BETA).mul_(psi).add_(OBC_ALPHA).mul_(psi).tanh_()
    radii = torch.addcmul(c["inverse_offset"], bent, c["inverse_radius"], value=-1).reciprocal_()
    slope = (psi * (3 * OBC_GAMMA)).sub_(2 * OBC_BETA).mul_(psi).add_(OBC_ALPHA)
    slope.mul_((bent * bent).neg_().add_(1)).mul_(c["inverse_radius"]).mul_(radii).mul_(radii)
    return radii, slope


def kernels(p: ForceFieldParameters) -> list[Kernel]:
    """The kernels that `p` needs."""
    chosen: list[Kernel] = []
    if len(p.bond_atoms):
        chosen.append(BondKernel(p))
    if len(p.angle_atoms):
        chosen.append(AngleKernel(p))
    if len(p.torsion_atoms):
        chosen.append(TorsionKernel(p))
    if p.has_nonbonded or p.has_solvent:
        chosen.append(PairKernel(p))
    return chosen
