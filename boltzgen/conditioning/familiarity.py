"""How far a molecule lies from those that a model was trained on.

Each coordinate is described by its *surroundings*: its own token without the order waves, which carry no
chemistry, and the mean features of the atoms one, two and three bonds away. Every quantity is divided by a
step that a chemist would call a difference (`_steps`), so that the distance between two surroundings is a
number of such differences. A coordinate's strangeness is the distance to the nearest surroundings in the
training molecules. No name and no order of atoms enters.

Words: D coordinates of one molecule, S numbers that describe the surroundings of one, R surroundings kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import ATOM_FEATURES, HARMONICS, PHYSICS, RINGS
from boltzgen.coordinates.base import KINDS
from boltzgen.errors import InputError
from boltzgen.system.graph.elements import symbol_of

#: Surroundings kept of a training set, at most; two bytes a number, less than 2 MB in all.
LARGEST_RECORD = 5000

#: Surroundings are stored on a grid of this width; distances below `TOLERANCE` are its rounding.
GRID, TOLERANCE = 0.01, 0.1

#: Strangeness from which an atom is named (another conformation as the reference gives less); no coordinate
#: counts for more than `LARGEST_STRANGENESS`.
NAMED, LARGEST_STRANGENESS = 2.0, 5.0

#: What an element that no training molecule had adds to the score, each; and what a molecule that is e times
#: the size of the largest, or at e times the highest temperature, adds.
ELEMENT_PENALTY, SIZE_PENALTY, TEMPERATURE_PENALTY = 50.0, 50.0, 50.0

#: K by which a temperature may miss the range seen without a word.
ROUNDED = 0.01

#: Height of a torsion's harmonic (10 kJ/mol) up to which differences count, and above which ratios do.
TORSION_STEP = 0.2

SHELLS = (1, 2, 3)
_OWN = len(KINDS) + 8
_SERIES = PHYSICS.stop - 2 * HARMONICS
_SURROUNDINGS = _SERIES + HARMONICS + len(RINGS) + len(SHELLS) * (ATOM_FEATURES + 1)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model has seen, in short.

    Attributes
    ----------
    surroundings: (R, S) int16, in units of `GRID`. radius: the largest distance from any surroundings of the
        training to those kept; 0 when all were.
    elements: atomic numbers, rising. atoms, coordinates: smallest and largest number in one molecule.
    temperatures: lowest and highest (K). molecules: how many there were.
    """

    surroundings: Tensor
    radius: float
    elements: tuple[int, ...]
    atoms: tuple[int, int]
    coordinates: tuple[int, int]
    temperatures: tuple[float, float]
    molecules: int

    @classmethod
    def of(
        cls,
        molecules: Sequence[MoleculeFeatures],
        temperatures: Sequence[float],
        *,
        largest: int = LARGEST_RECORD,
    ) -> Seen:
        """The record of training `molecules` at `temperatures` (K); the order of either does not matter."""
        if not molecules or not temperatures:
            raise InputError("A record of what was seen needs at least one molecule and one temperature.")
        rows = torch.cat([_on_grid(surroundings(molecule)) for molecule in molecules])
        kept, radius = _representatives(rows, largest)
        sizes = [len(molecule.placements) for molecule in molecules]
        dimensions = [molecule.dimension for molecule in molecules]
        return cls(
            surroundings=kept,
            radius=radius,
            elements=tuple(sorted({z for molecule in molecules for z in atomic_numbers(molecule)})),
            atoms=(min(sizes), max(sizes)),
            coordinates=(min(dimensions), max(dimensions)),
            temperatures=(float(min(temperatures)), float(max(temperatures))),
            molecules=len(molecules),
        )

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps; `from_tensors` takes it back."""
        return {
            "surroundings": self.surroundings.contiguous(),
            "elements": torch.tensor(self.elements, dtype=torch.int64),
            "counts": torch.tensor([*self.atoms, *self.coordinates, self.molecules], dtype=torch.int64),
            "temperatures": torch.tensor(self.temperatures, dtype=torch.float64),
            "radius": torch.tensor([self.radius], dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Seen:
        """Inverse of `tensors`; KeyError or ValueError when they are of something else."""
        kept = tensors["surroundings"]
        if kept.dim() != 2 or kept.shape[1] != _SURROUNDINGS or kept.dtype != torch.int16:
            raise ValueError(f"surroundings {tuple(kept.shape)}, expected (R, {_SURROUNDINGS}) int16")
        fewest, most, low, high, molecules = (int(n) for n in tensors["counts"].tolist())
        coldest, hottest = (float(t) for t in tensors["temperatures"].tolist())
        return cls(
            kept,
            float(tensors["radius"][0]),
            tuple(int(z) for z in tensors["elements"].tolist()),
            (fewest, most),
            (low, high),
            (coldest, hottest),
            molecules,
        )


@dataclass(frozen=True, eq=False)
class Familiarity:
    """How one molecule compares with what a model has seen.

    Attributes
    ----------
    strangeness: (D,) distance of each coordinate's surroundings from the nearest seen, at most
        `LARGEST_STRANGENESS`. new_elements: atomic numbers of elements never seen.
    size_excess: logarithm of atoms over the most seen, 0 where it is no larger. coordinates: D.
    temperature_excess: largest distance of a temperature's logarithm from the range seen.
    reasons: what is unfamiliar, in words, the gravest first.
    """

    strangeness: Tensor
    new_elements: tuple[int, ...]
    size_excess: float
    coordinates: int
    temperature_excess: float
    reasons: tuple[str, ...]

    @property
    def score(self) -> float:
        """0: all was seen; larger is farther away. The one place where the parts are added.

        The logarithm of the effective sample size is a sum over the coordinates, so strangeness is
        summed, not averaged: the same unknown group costs the same in a small and in a large molecule.
        """
        return (
            float(self.strangeness.sum())
            + ELEMENT_PENALTY * len(self.new_elements)
            + SIZE_PENALTY * self.size_excess
            + TEMPERATURE_PENALTY * self.temperature_excess
        )


def familiarity(
    seen: Seen,
    molecule: MoleculeFeatures,
    *,
    temperatures: Sequence[float] = (),
    atoms: Sequence[int] | None = None,
) -> Familiarity:
    """Compare `molecule` with what was `seen`.

    Parameters
    ----------
    temperatures: K, at which the flow is asked; the one farthest from those seen counts.
    atoms: (N,) the index of each atom in order of placement, for the reasons alone (`placed_atoms`).
    """
    beyond = _nearest(surroundings(molecule), seen.surroundings) - seen.radius - TOLERANCE
    strangeness = beyond.clamp(0.0, LARGEST_STRANGENESS)
    numbers = atomic_numbers(molecule)
    new = tuple(sorted(set(numbers) - set(seen.elements)))
    size, largest = len(molecule.placements), seen.atoms[1]
    excess = math.log(size / largest) if 0 < largest < size else 0.0
    coldest, hottest = seen.temperatures
    outside = max([0.0, *(max(math.log(t / hottest), math.log(coldest / t)) for t in temperatures)])
    reasons = [f"element {_symbol(z)} was in no training molecule" for z in new]
    if excess:
        reasons.append(f"{size} atoms; the largest training molecule had {largest}")
    reasons += _strange_atoms(beyond, molecule, numbers, atoms)
    reasons += temperatures_outside(temperatures, seen.temperatures)
    return Familiarity(strangeness, new, excess, molecule.dimension, outside, tuple(reasons))


def temperatures_outside(temperatures: Sequence[float], trained_at: Sequence[float]) -> list[str]:
    """A sentence for each of `temperatures` (K) outside the range of `trained_at`, where that is known."""
    if not trained_at:
        return []
    coldest, hottest = min(trained_at), max(trained_at)
    return [
        f"{kelvin:g} K lies outside the {coldest:g} to {hottest:g} K of the training"
        for kelvin in dict.fromkeys(temperatures)
        if not coldest - ROUNDED <= kelvin <= hottest + ROUNDED
    ]


def _strange_atoms(
    beyond: Tensor, molecule: MoleculeFeatures, numbers: list[int], atoms: Sequence[int] | None
) -> list[str]:
    """The sentence about atoms with unknown surroundings, the strangest three named."""
    rows = molecule.placements[:, 3:6].cpu()
    worst = [(float(beyond[own[own >= 0]].max()), k) for k, own in enumerate(rows) if (own >= 0).any()]
    strange = sorted((pair for pair in worst if pair[0] >= NAMED), key=lambda pair: (-pair[0], pair[1]))
    if not strange:
        return []
    named = [f"{k if atoms is None else atoms[k]} ({_symbol(numbers[k])})" for _, k in strange[:3]]
    if len(strange) == 1:
        return [f"the surroundings of atom {named[0]}, counted from 0, are unlike anything trained on"]
    most = "" if len(strange) <= len(named) else "most of all "
    return [
        f"the surroundings of {len(strange)} of {len(rows)} atoms are unlike anything trained on: "
        f"{most}{', '.join(named)}, counted from 0"
    ]


def surroundings(molecule: MoleculeFeatures) -> Tensor:
    """(D, S) float64: what is around each coordinate, in steps that count as a difference.

    Of a torsion's series the height of each harmonic counts and not its phase, which turns with the reference
    conformation by as much as its angles are bent.
    """
    tokens = molecule.tokens.detach().cpu().double()
    placed = tokens[:, _OWN : _OWN + ATOM_FEATURES + 1]
    series = tokens[:, _SERIES : _SERIES + 2 * HARMONICS].unflatten(1, (HARMONICS, 2))
    heights = torch.asinh(series.norm(dim=2) / TORSION_STEP)
    distance = molecule.graph_distance.cpu()
    one_a_atom = _first_of_each_atom(molecule)
    shells = []
    for bonds in SHELLS:
        inside = ((distance == bonds) & one_a_atom[None, :]).double()
        shells.append(inside @ placed / inside.sum(dim=1, keepdim=True).clamp_min(1.0))
    rings = tokens[:, RINGS.start : RINGS.stop]
    return torch.cat([tokens[:, :_SERIES], heights, rings, *shells], dim=1) / _steps()


def atomic_numbers(molecule: MoleculeFeatures) -> list[int]:
    """Atomic number of each atom in order of placement; empty for model systems."""
    placements = molecule.placements.cpu()
    if not len(placements):
        return []
    column = ATOM_FEATURES - 1  # the last feature of an atom is its atomic number over ten
    own = placements[1:, 3]
    tokens = molecule.tokens.cpu()
    others = tokens[own, _OWN + column]
    root = tokens[own[:1], _OWN + ATOM_FEATURES + 1 + column]
    return [round(10.0 * float(value)) for value in torch.cat([root, others])]


def _first_of_each_atom(molecule: MoleculeFeatures) -> Tensor:
    """(D,) bool: one coordinate of each placed atom; all for model systems."""
    placements = molecule.placements.cpu()
    if not len(placements):
        return torch.ones(molecule.dimension, dtype=torch.bool)
    first = torch.zeros(molecule.dimension, dtype=torch.bool)
    first[placements[1:, 3]] = True
    return first


def _steps() -> Tensor:
    """(S,) what counts as one difference in each number of the surroundings, in the number's own unit.

    An atom: another element 0.5; log-mass 0.5; charge 0.1 e; radius a tenth of 0.3 nm; well depth; Born
    radius and scale; degree one; three in the atomic number. A coordinate: its kind; 0.1 nm or rad; a factor
    of exp(0.3) in the width; a torsion's harmonic of 1 kJ/mol, or half as high again when it is above 2;
    being in a ring of another size.
    """
    atom = [0.5] * (ATOM_FEATURES - 8) + [0.5, 0.1, 0.1, 0.2, 0.1, 0.1, 0.25, 0.3]
    own = [0.5] * len(KINDS) + [0.5, 0.1, 0.1, 0.1, 0.3, 0.5, 0.5, 0.5]
    reference = [*atom, 0.5]
    return torch.tensor(
        own + 4 * reference + [0.5] * (HARMONICS + len(RINGS)) + len(SHELLS) * reference,
        dtype=torch.float64,
    )


def _on_grid(values: Tensor) -> Tensor:
    limits = torch.iinfo(torch.int16)
    return (values / GRID).round().clamp(limits.min, limits.max).to(torch.int16)


def _representatives(rows: Tensor, largest: int) -> tuple[Tensor, float]:
    """Distinct `rows` (n, S), at most `largest`, and the largest distance from the others to those kept.

    Those farthest from all that are kept are kept next, a twentieth more at a time; the sorting makes the
    result a function of the set.
    """
    distinct = torch.unique(rows, dim=0)
    if len(distinct) <= largest:
        return distinct, 0.0
    scaled = distinct.float() * GRID
    scaled = scaled - scaled.mean(dim=0)
    nearest = torch.full((len(scaled),), torch.inf)
    chosen = new = torch.zeros(1, dtype=torch.long)
    while True:
        for part in new.split(256):
            nearest = torch.minimum(nearest, torch.cdist(scaled, scaled[part]).min(dim=1)[0])
        nearest[new] = 0.0
        if len(chosen) == largest:
            return distinct[chosen.sort()[0]], float(nearest.max())
        new = nearest.topk(min(largest - len(chosen), 1 + len(chosen) // 20))[1]
        chosen = torch.cat([chosen, new])


def _nearest(rows: Tensor, kept: Tensor) -> Tensor:
    """(D,) Euclidean distance of each of `rows` (D, S) to the nearest of `kept` (R, S), on its grid."""
    limits = torch.iinfo(torch.int16)
    inside = rows.clamp(limits.min * GRID, limits.max * GRID)
    mode = "donot_use_mm_for_euclid_dist"  # differences of squares would lose the small distances
    return torch.cdist(inside, kept.double() * GRID, compute_mode=mode).min(dim=1)[0]


def _symbol(number: int) -> str:
    return symbol_of(number, f"with atomic number {number}")
