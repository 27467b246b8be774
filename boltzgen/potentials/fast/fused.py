"""The fast path: energies and hand-derived gradients in one pass, the batch innermost.

Words: N atoms, P pairs, b conformations of a block. Tensors are (rows, 3, b) or (rows, b), so that
every operation runs along contiguous conformations; a block is small enough for the processor's
cache. Sums over atoms, pairs and terms are products with constant incidence matrices, which keeps
each conformation in its own column: a bad one cannot touch its neighbours.

What is computed here is defined in `terms`; the tests hold the two together to 1e-10.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.fast.constants import Constants
from boltzgen.potentials.records.parameters import ForceFieldParameters

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


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products of (rows, 3+, b) vectors: (rows, b)."""
    return (a[:, 0] * b[:, 0]).addcmul_(a[:, 1], b[:, 1]).addcmul_(a[:, 2], b[:, 2])


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Vector products of (rows, 5, b) cyclic vectors: (rows, 3, b)."""
    return (a[:, 1:4] * b[:, 2:5]).addcmul_(a[:, 2:5], b[:, 1:4], value=-1)


def differences(x: Tensor, to: Tensor, start: Tensor) -> Tensor:
    return x.index_select(0, to).sub_(x.index_select(0, start))


def scatter(gradient: Tensor, matrix: Tensor, rows: Tensor) -> None:
    """gradient (N, 3, b) += matrix (N, rows) @ rows (rows, 3, b)."""
    gradient.view(len(gradient), -1).addmm_(matrix, rows.reshape(len(rows), -1))


class BondKernel(Kernel):
    """Harmonic bonds."""

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
        d = differences(x, c["first"], c["second"])
        r = dot(d, d).sqrt_()
        stretch = r - c["length"]
        energy += c["half"] @ stretch.square()
        if gradient is not None:
            d *= stretch.mul_(c["stiffness"]).div_(r)[:, None]
            scatter(gradient, c["incidence"], d)


class AngleKernel(Kernel):
    """Harmonic angles; the two arms of the A angles are the rows [0, A) and [A, 2A) of one tensor."""

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
        arms = differences(cyclic, c["ends"], c["apexes"])
        one, two = arms[: self.count], arms[self.count :]
        normal = cross(one, two)
        area = dot(normal, normal).sqrt_()
        inner = dot(one, two)
        bend = torch.atan2(area, inner).sub_(c["equilibrium"])
        energy += c["half"] @ bend.square()
        if gradient is not None:
            # d theta / d one = (one (one.two) / one^2 - two) / |one x two|, and likewise for two
            scale = bend.mul_(c["stiffness"]).div_(area.clamp_min_(SMALLEST_AREA))
            inner *= scale
            arms = arms[:, :3]
            along = inner.repeat(2, 1).div_(dot(arms, arms))
            out = arms * along[:, None]
            out[: self.count].addcmul_(two[:, :3], scale[:, None], value=-1)
            out[self.count :].addcmul_(one[:, :3], scale[:, None], value=-1)
            scatter(gradient, c["incidence"], out)


@dataclass(frozen=True)
class Dihedrals:
    """The torsion angles of Q quadruples, whose three edges are 3 Q rows, and what their gradient needs."""

    angle: Tensor
    edges: Tensor
    normals: Tensor
    axis_squared: Tensor
    axis_length: Tensor

    @staticmethod
    def arrays(n_atoms: int, quadruples: np.ndarray) -> dict[str, np.ndarray]:
        """The constants that `of` and `add_gradient` read; `quadruples` is (Q, 4)."""
        start = np.concatenate([quadruples[:, n] for n in (0, 1, 2)])
        to = np.concatenate(quadruples[:, 1:].T)
        return {"start": start, "to": to, "incidence": incidence(n_atoms, to, start)}

    @classmethod
    def of(cls, c: dict[str, Tensor], cyclic: Tensor) -> Dihedrals:
        edges = differences(cyclic, c["to"], c["start"])
        n = len(edges) // 3
        axis = edges[n : 2 * n]
        normals = cross(edges[: 2 * n], edges[n:])
        axis_squared = dot(axis, axis)
        axis_length = axis_squared.sqrt()
        sine = dot(edges[:n], normals[n:]).mul_(axis_length)
        angle = torch.atan2(sine, dot(normals[:n], normals[n:]))
        return cls(angle, edges, normals, axis_squared, axis_length)

    def add_gradient(self, c: dict[str, Tensor], slope: Tensor, gradient: Tensor) -> None:
        """Add dE/dx to `gradient`, where `slope` (Q, b) is dE/d angle; spends both and this object."""
        # d phi / d edge with the normals m, n: |axis| m / m^2 for the first edge, |axis| n / n^2 for
        # the last, minus their mixture by the outer edges' shares along it for the axis
        edges, normals, n = self.edges, self.normals, len(self.angle)
        axis = edges[n : 2 * n]
        slope = slope.mul_(self.axis_length)
        weights = slope.repeat(2, 1).div_(dot(normals, normals).clamp_min_(SMALLEST_AREA**2))
        normals *= weights[:, None]
        outer = torch.cat([edges[:n, :3], edges[2 * n :, :3]])
        share = dot(outer, axis.repeat(2, 1, 1)).div_(self.axis_squared.repeat(2, 1))
        middle = normals * share[:, None]
        middle = middle[:n].add_(middle[n:]).neg_()
        scatter(gradient, c["incidence"], torch.cat([normals[:n], middle, normals[n:]]))


class TorsionKernel(Kernel):
    """Periodic torsions: T terms on Q different quadruples."""

    def __init__(self, p: ForceFieldParameters) -> None:
        quads, term_quad = np.unique(p.torsion_atoms, axis=0, return_inverse=True)
        slope = incidence(len(quads), term_quad.reshape(-1)) * -(p.torsion_barrier * p.torsion_periodicity)
        super().__init__(
            term_quad=term_quad.reshape(-1),
            periodicity=column(p.torsion_periodicity),
            phase=column(p.torsion_phase),
            barrier=p.torsion_barrier,
            slope=slope,
            **Dihedrals.arrays(p.n_atoms, quads),
        )
        self.offset = float(p.torsion_barrier.sum())
        self.rows = 3 * len(quads)

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        dihedrals = Dihedrals.of(c, cyclic)
        phases = dihedrals.angle.index_select(0, c["term_quad"]).mul_(c["periodicity"]).sub_(c["phase"])
        energy += c["barrier"] @ phases.cos()
        energy += self.offset
        if gradient is not None:
            dihedrals.add_gradient(c, c["slope"] @ phases.sin_(), gradient)
