"""Samples gathered into wells: each is minimised, and minima that nobody can tell apart are one well.

Two minima are one when their energies agree and their symmetric RMSD (`boltzgen.wells.symmetry`) is
small: methyls turned by a third, chairs that a relabelling exchanges. In a molecule that is its own mirror
image, the image of a minimum belongs to the same well, whose degeneracy is then 2; 1 where the two are one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.coordinates.domain import Domain
from boltzgen.errors import BoltzgenError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.base import Potential
from boltzgen.progress import Progress, silent
from boltzgen.system.graph.mirror import mirrored, placed_by_hands
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.wells.curvature import off_saddles
from boltzgen.wells.labels import Labels, labels_of, torsion_angles
from boltzgen.wells.minimisation import minima
from boltzgen.wells.symmetry import Symmetry

#: nm and kJ/mol within which two minima are one: CREST's thresholds, Pracht, Bohle, Grimme, PCCP 22, 7169
#: (2020).
SAME_RMSD, SAME_ENERGY = 0.0125, 0.2
#: The same for copies that need no rotation to be compared: sorted distances (nm) and energies (kJ/mol).
_SAME_DISTANCE, _CLOSE = 0.002, 0.02
#: Wells up to which each new one is told from a saddle, by six gradients an atom.
MOST_CHECKED = 300
#: nm within which a conformation is its own image under a symmetry: minima are known to that.
_IMAGE = 0.005


@dataclass(frozen=True, eq=False)
class Well:
    """One well.

    positions: (N, 3) nm, the lowest of its minima; energy: kJ/mol. degeneracy: 2 where its mirror image is
    another conformation of the same molecule. symmetry_number: rotations that give the same conformation with
    other labels. labels: of `positions`.
    """

    positions: np.ndarray
    energy: float
    degeneracy: int
    symmetry_number: int
    labels: Labels


@dataclass(frozen=True, eq=False)
class Gathered:
    """wells. codes: (n,) the well of each row, -1 where it has none. lost: why, how many.

    complete: whether all symmetries of the molecule were tried.
    """

    wells: tuple[Well, ...]
    codes: np.ndarray
    lost: dict[str, int]
    complete: bool


def gathered(
    system: MolecularSystem,
    potential: Potential,
    positions: np.ndarray,
    *,
    isomers: str = "reference",
    stop: StopRequest | None = None,
    progress: Progress = silent,
) -> Gathered:
    """The wells of `positions` (n, N, 3) nm of `system` under `potential` (kJ/mol).

    A row whose minimum lies outside the domain of `isomers`, or was not found, belongs to no well.
    BoltzgenError where no row has a minimum; StoppedError where `stop` was requested.
    """
    graph = MolecularGraph.from_system(system)
    found, energies, done = minima(
        potential,
        torch.as_tensor(np.array(positions, dtype=np.float64)),
        stop=stop,
        progress=lambda rows: progress(rows, len(positions), {}),
    )
    if stop is not None and stop.requested:
        raise StoppedError(f"{stop.reason} while samples were minimised; nothing was written.")
    domain = Domain(graph, isomers)
    outside = (domain(found) != 0) & done
    kept = np.flatnonzero((done & ~outside).numpy())
    lost = {"not minimised": int((~done).sum()), "left the domain": int(outside.sum())}
    if not len(kept):
        raise BoltzgenError(
            f"no conformation of {system.name!r} could be minimised ({lost}); look at the samples by "
            '`export(OUT, output=FILE, format="pdb")`.'
        )
    gather = _Gather(system, graph, domain, potential)
    codes = np.full(len(positions), -1)
    codes[kept] = gather.codes(found.numpy()[kept], energies.numpy()[kept])
    return Gathered(gather.wells(), codes, {why: n for why, n in lost.items() if n}, gather.symmetry.complete)


class _Gather:
    """Minima of one molecule, told apart."""

    def __init__(
        self, system: MolecularSystem, graph: MolecularGraph, domain: Domain, potential: Potential
    ) -> None:
        self.system, self.graph, self.domain, self.potential = system, graph, domain, potential
        self.symmetry = Symmetry.of(np.asarray(system.atomic_numbers).tolist(), system.bonds)
        self.pairs = _pairs(graph)
        self.positions: list[np.ndarray] = []
        self.energies: list[float] = []

    def codes(self, positions: np.ndarray, energies: np.ndarray) -> np.ndarray:
        """The well (n,) of each minimum."""
        leaders, copies = self._copies(positions, energies)
        number = np.empty(len(leaders), dtype=int)
        for place, row in enumerate(leaders):  # which stand by rising energy
            number[place] = self._well_of(positions[row], float(energies[row]))
        return number[copies]

    def _copies(self, positions: np.ndarray, energies: np.ndarray) -> tuple[list[int], np.ndarray]:
        """Rows that lead a set of equal distances and energies, and the place of each row's leader (n,)."""
        prints = self._prints(positions)
        leaders: list[int] = []
        places = np.empty(len(positions), dtype=int)
        for row in np.argsort(energies, kind="stable"):
            near = [
                place
                for place in range(len(leaders) - 1, -1, -1)
                if energies[row] - energies[leaders[place]] < _CLOSE
            ]
            away = np.abs(prints[[leaders[place] for place in near]] - prints[row]).max(axis=1, initial=0.0)
            if len(near) and away.min() < _SAME_DISTANCE:
                places[row] = near[int(away.argmin())]
            else:
                places[row] = len(leaders)
                leaders.append(int(row))
        return leaders, places

    def _prints(self, positions: np.ndarray) -> np.ndarray:
        """(n, pairs) distances, sorted among pairs of equal atoms: the same for equal conformations."""
        columns = []
        for first, second in self.pairs:
            apart = np.linalg.norm(positions[:, first] - positions[:, second], axis=2)
            columns.append(np.sort(apart, axis=1))
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(positions), 1))

    def _well_of(self, x: np.ndarray, energy: float) -> int:
        """The number of the well of a stationary point, a new one where it is like none."""
        known = self._like(x, energy)
        if known is not None:
            return known
        checked = len(self.positions) < MOST_CHECKED
        lower, below = off_saddles(x, energy, self.potential) if checked else (x, energy)
        if below < energy and int(self.domain(torch.as_tensor(lower[None]))[0]) == 0:
            return self._well_of(lower, below)
        self.positions.append(x)
        self.energies.append(energy)
        return len(self.positions) - 1

    def _like(self, x: np.ndarray, energy: float) -> int | None:
        """The well that has `x`, or its mirror image, as its minimum."""
        near = [k for k, known in enumerate(self.energies) if abs(energy - known) < SAME_ENERGY]
        if not near:
            return None
        known = np.array([self.positions[k] for k in near])
        distance = np.minimum(self.symmetry.rmsd(x, known), self.symmetry.rmsd(mirrored(x), known))
        return near[int(distance.argmin())] if distance.min() < SAME_RMSD else None

    def wells(self) -> tuple[Well, ...]:
        return tuple(self._described(x, e) for x, e in zip(self.positions, self.energies, strict=True))

    def _described(self, x: np.ndarray, energy: float) -> Well:
        image = self._image(x)
        own = image is None or self.symmetry.rmsd(x, mirrored(x)[None])[0] < _IMAGE
        if image is not None and not own:
            x = self._shown(x, image)
        labels = labels_of(self.graph, self.system.atom_names, x)
        number = max(self.symmetry.number(x, _IMAGE), 1)
        return Well(x, energy, 1 if own else 2, number, labels)

    def _image(self, x: np.ndarray) -> np.ndarray | None:
        """The mirror image of `x` (N, 3) with labels inside the domain; None for a molecule with a hand."""
        images = placed_by_hands(self.graph, mirrored(x)[self.symmetry.listed])
        inside = np.flatnonzero((self.domain(torch.as_tensor(images)) == 0).numpy())
        return None if not len(inside) else np.asarray(images[inside[0]])

    def _shown(self, x: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Of a conformation and its image the one whose first torsion off 0 and 180 degrees is positive."""
        angles = torsion_angles(self.graph, x[None])[0]
        turned = [angle for angle in angles if 1.0 < abs(angle) < 179.0]
        return image if turned and turned[0] < 0 else x


def _pairs(graph: MolecularGraph) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of atoms, those that the molecule does not tell apart together."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i in range(graph.n_atoms):
        for k in range(i + 1, graph.n_atoms):
            kind = tuple(sorted((graph.classes[i], graph.classes[k])))
            found.setdefault((kind[0], kind[1]), []).append((i, k))
    return [(np.array(pairs)[:, 0], np.array(pairs)[:, 1]) for pairs in found.values()]
