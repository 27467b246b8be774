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
from boltzgen.potentials.terms import Constants

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
        self._constants = Constants(
            first=first, second=second,
            radial_slot_first=first * elements + species[second],
            radial_slot_second=second * elements + species[first],
            radial_shells=np.array(settings.radial_shells)[:, None],
            angular_shells=np.array(settings.angular_shells)[:, None],
            cosine=COSINE_DAMPING * np.cos(settings.angular_sections)[:, None],
            sine=np.sin(settings.angular_sections)[:, None],
            **_neighbours(n), **_triples(species, elements),
        )  # fmt: skip

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
        angular = [self._angular(atom, unit, distance, damping, c) for atom in range(self.n_atoms)]
        return torch.cat([radial, torch.stack(angular)], dim=1)

    def _radial(self, distance: Tensor, c: dict[str, Tensor]) -> Tensor:
        """(N, elements * shells, b): ``1/4 exp(-eta (r - shell)^2) cutoff(r)``, summed within each element."""
        s = self.settings
        damping = 0.25 * _cutoff(distance, s.radial_cutoff)
        shells = torch.exp(-s.radial_eta * (distance[:, None] - c["radial_shells"]) ** 2) * damping[:, None]
        total = distance.new_zeros(self.n_atoms * len(s.elements), *shells.shape[1:])
        total = total.index_add(0, c["radial_slot_first"], shells)
        total = total.index_add(0, c["radial_slot_second"], shells)
        return total.reshape(self.n_atoms, s.radial_length, -1)

    def _angular(
        self, atom: int, unit: Tensor, distance: Tensor, damping: Tensor, c: dict[str, Tensor]
    ) -> Tensor:
        """(pairs of elements * shells * sections, b) of one atom, summed over its pairs of neighbours.

        ``2 ((1 + cos(theta - section)) / 2)^zeta exp(-eta ((r1 + r2) / 2 - shell)^2) cutoff(r1) cutoff(r2)``.
        """
        s = self.settings
        pair, one, two = c["neighbour_pair"][atom], c["neighbour_one"][atom], c["neighbour_two"][atom]
        away = unit.index_select(0, pair) * c["neighbour_sign"][atom][:, None, None].to(unit)
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
        total = parts.new_zeros(n_pairs, *parts.shape[1:]).index_add(0, c["element_pair"][atom], parts)
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


def _neighbours(n: int) -> dict[str, np.ndarray]:
    """The other atoms of each atom: the pair (N, N - 1) that holds both, and the sign of its step."""
    number = np.zeros((n, n), dtype=int)
    first, second = np.triu_indices(n, k=1)
    number[first, second] = number[second, first] = np.arange(len(first))
    others = np.array([np.delete(np.arange(n), atom) for atom in range(n)], dtype=int).reshape(n, -1)
    sign = np.where(others > np.arange(n)[:, None], 1.0, -1.0)
    return {"neighbour_pair": np.take_along_axis(number, others, axis=1), "neighbour_sign": sign}


def _triples(species: np.ndarray, elements: int) -> dict[str, np.ndarray]:
    """Pairs of neighbours of each atom, (N, T): which two, and the index of their pair of elements."""
    n = len(species)
    one, two = np.triu_indices(max(n - 1, 0), k=1)
    index = np.zeros((elements, elements), dtype=int)
    index[np.triu_indices(elements)] = np.arange(elements * (elements + 1) // 2)
    index = np.maximum(index, index.T)
    kinds = [np.delete(species, atom) for atom in range(n)]
    element_pair = np.array([index[kind[one], kind[two]] for kind in kinds], dtype=int).reshape(n, len(one))
    shape = (n, len(one))
    return {
        "neighbour_one": np.broadcast_to(one, shape),
        "neighbour_two": np.broadcast_to(two, shape),
        "element_pair": element_pair,
    }
