"""Symmetry functions of ANI: what an element network sees of an atom's surroundings.

The radial part is eq. 3 and the angular part eq. 4 of Smith, Isayev and Roitberg, Chem. Sci. 8, 3192 (2017),
with the prefactor of 1/4, the damping of the cosine by 0.95 and the order of the components of TorchANI (Gao
et al., J. Chem. Inf. Model. 60, 3408, 2020). Lengths in nm, angles in rad. Atoms within the cutoff count
whether bonded or not, so nothing depends on a topology or on the order of the atoms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.fast.constants import Constants

#: TorchANI's factor before the arc cosine: keeps its slope finite at 0 and pi.
COSINE_DAMPING = 0.95


@dataclass(frozen=True)
class SymmetryFunctionSettings:
    """Cutoffs and grids.

    Attributes
    ----------
    elements: symbols; their order is that of the components.
    radial_cutoff, angular_cutoff: nm. radial_eta, angular_eta: 1/nm2, sharpness of the shells.
    radial_shells, angular_shells: nm, centres of the shells. angular_sections: rad, centres of the sections.
    angular_zeta: sharpness of the sections, a whole number.
    """

    elements: tuple[str, ...]
    radial_cutoff: float
    radial_eta: float
    radial_shells: tuple[float, ...]
    angular_cutoff: float
    angular_eta: float
    angular_shells: tuple[float, ...]
    angular_zeta: int
    angular_sections: tuple[float, ...]

    @property
    def radial_length(self) -> int:
        """Radial components of one atom: a shell for each element."""
        return len(self.elements) * len(self.radial_shells)

    @property
    def length(self) -> int:
        """Components of one atom: the radial ones, then shells times sections for each pair of elements."""
        pairs = len(self.elements) * (len(self.elements) + 1) // 2
        return self.radial_length + pairs * len(self.angular_shells) * len(self.angular_sections)


class SymmetryFunctions:
    """The symmetry functions of one list of atoms, whose pairs and triples are laid out once.

    Parameters
    ----------
    species: (N,) int, index of each atom's element in ``settings.elements``.
    """

    def __init__(self, settings: SymmetryFunctionSettings, species: np.ndarray) -> None:
        if settings.angular_zeta != int(settings.angular_zeta) or settings.angular_zeta < 1:
            raise InputError(f"angular_zeta is {settings.angular_zeta}; it has to be a whole number above 0.")
        self.settings, self.n_atoms = settings, len(species)
        elements, n = len(settings.elements), len(species)
        first, second = np.triu_indices(n, k=1)
        self._neighbours = _neighbours(n, species, elements)
        self._constants = Constants(
            first=first,
            second=second,
            radial_slot_first=first * elements + species[second],
            radial_slot_second=second * elements + species[first],
            radial_shells=np.array(settings.radial_shells)[:, None],
            angular_shells=np.array(settings.angular_shells)[:, None],
            cosine=COSINE_DAMPING * np.cos(settings.angular_sections)[:, None],
            sine=np.sin(settings.angular_sections)[:, None],
        )

    def values(self, x: Tensor) -> Tensor:
        """Positions (N, 3, b) in nm -> symmetry functions (N, ``settings.length``, b).

        A conformation with coincident atoms or NaN has NaN in its own column alone.
        """
        c = self._constants.like(x)
        step = x.index_select(0, c["second"]) - x.index_select(0, c["first"])
        distance = (step * step).sum(1).sqrt()
        radial = self._radial(distance, c)
        if self.n_atoms < 3:
            length = self.settings.length - self.settings.radial_length
            return torch.cat([radial, x.new_zeros(self.n_atoms, length, x.shape[2])], dim=1)
        unit = step / distance[:, None]
        damping = _cutoff(distance, self.settings.angular_cutoff)
        near = (distance < self.settings.angular_cutoff).any(1).cpu().numpy()
        angular = [self._angular(atom.within(near), unit, distance, damping, c) for atom in self._neighbours]
        return torch.cat([radial, torch.stack(angular)], dim=1)

    def _radial(self, distance: Tensor, c: dict[str, Tensor]) -> Tensor:
        """(N, elements * shells, b): ``1/4 exp(-eta (r - shell)^2) cutoff(r)``, summed for each element."""
        s = self.settings
        damping = 0.25 * _cutoff(distance, s.radial_cutoff)
        shells = torch.exp(-s.radial_eta * (distance[:, None] - c["radial_shells"]) ** 2) * damping[:, None]
        total = distance.new_zeros(self.n_atoms * len(s.elements), *shells.shape[1:])
        total = total.index_add(0, c["radial_slot_first"], shells)
        total = total.index_add(0, c["radial_slot_second"], shells)
        return total.reshape(self.n_atoms, s.radial_length, -1)

    def _angular(
        self, atom: _Neighbours, unit: Tensor, distance: Tensor, damping: Tensor, c: dict[str, Tensor]
    ) -> Tensor:
        """(pairs of elements * shells * sections, b) of one atom, summed over its pairs of neighbours.

        ``2 ((1 + cos(theta - section)) / 2)^zeta exp(-eta ((r1 + r2) / 2 - shell)^2) cutoff(r1) cutoff(r2)``.
        """
        s = self.settings
        pair, one, two, kind = (torch.as_tensor(index, device=unit.device) for index in atom.indices)
        sign = torch.as_tensor(atom.sign, device=unit.device).to(unit)
        away = unit.index_select(0, pair) * sign[:, None, None]
        near, weight = distance.index_select(0, pair), damping.index_select(0, pair)
        cosine = (away.index_select(0, one) * away.index_select(0, two)).sum(1)
        sine = (1 - (COSINE_DAMPING * cosine) ** 2).sqrt()
        section = 0.5 + 0.5 * (cosine[:, None] * c["cosine"] + sine[:, None] * c["sine"])
        section = _whole_power(section, int(s.angular_zeta))
        mean = 0.5 * (near.index_select(0, one) + near.index_select(0, two))
        both = 2 * weight.index_select(0, one) * weight.index_select(0, two)
        shell = torch.exp(-s.angular_eta * (mean[:, None] - c["angular_shells"]) ** 2) * both[:, None]
        parts = (shell[:, :, None] * section[:, None]).flatten(1, 2)
        n_pairs = (s.length - s.radial_length) // parts.shape[1]
        total = parts.new_zeros(n_pairs, *parts.shape[1:]).index_add(0, kind, parts)
        return total.flatten(0, 1)


def _cutoff(distance: Tensor, radius: float) -> Tensor:
    """``(1 + cos(pi r / radius)) / 2`` within `radius`, 0 beyond (eq. 2)."""
    return 0.5 + 0.5 * torch.cos((distance * (math.pi / radius)).clamp_max(math.pi))


def _whole_power(value: Tensor, exponent: int) -> Tensor:
    """`value` to a whole `exponent`, by squaring."""
    if exponent == 1:
        return value
    half = _whole_power(value, exponent // 2)
    return half * half * value if exponent % 2 else half * half


@dataclass(frozen=True)
class _Neighbours:
    """The other atoms of one atom, and the pairs of them.

    Attributes
    ----------
    pair: (m,) the pair of atoms that holds each neighbour; sign: (m,) 1 or -1, the direction of its step.
    one, two: (t,) two neighbours; kind: (t,) index of their pair of elements.
    """

    pair: np.ndarray
    sign: np.ndarray
    one: np.ndarray
    two: np.ndarray
    kind: np.ndarray

    @property
    def indices(self) -> tuple[np.ndarray, ...]:
        return self.pair, self.one, self.two, self.kind

    def within(self, near: np.ndarray) -> _Neighbours:
        """Without the neighbours whose pair is False in `near`: what no conformation of a block reaches."""
        kept = near[self.pair]
        place = np.cumsum(kept) - 1
        rows = kept[self.one] & kept[self.two]
        one, two = place[self.one[rows]], place[self.two[rows]]
        return _Neighbours(self.pair[kept], self.sign[kept], one, two, self.kind[rows])


def _neighbours(n: int, species: np.ndarray, elements: int) -> list[_Neighbours]:
    number = np.zeros((n, n), dtype=int)
    number[np.triu_indices(n, k=1)] = np.arange(n * (n - 1) // 2)
    number = np.maximum(number, number.T)
    kinds = np.zeros((elements, elements), dtype=int)
    kinds[np.triu_indices(elements)] = np.arange(elements * (elements + 1) // 2)
    kinds = np.maximum(kinds, kinds.T)
    one, two = np.triu_indices(n - 1, k=1)
    out = []
    for atom in range(n):
        others = np.delete(np.arange(n), atom)
        kind = kinds[species[others[one]], species[others[two]]]
        sign = np.where(others > atom, 1.0, -1.0)
        out.append(_Neighbours(number[atom, others], sign, one, two, kind))
    return out
