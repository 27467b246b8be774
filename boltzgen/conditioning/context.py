"""What a flow may know of a batch: for each row a molecule, described by its physics, and a temperature.

Words: D coordinates of one molecule (its tokens), F features a coordinate, B rows of a batch.
No residue name, atom name or molecule index ever becomes a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import InputError

#: How an atom is placed: by bond, angle and torsion (as far as it has them), by bond and two bends, or by the
#: distances from two atoms and a torsion.
PLACEMENT_STYLES = ("open", "bend", "closure")


@dataclass(frozen=True)
class MoleculeFeatures:
    """One molecule as a flow sees it; tensors are float64 unless said otherwise.

    Attributes
    ----------
    fingerprint: the system's; for messages and bookkeeping, never an input of a network.
    tokens: (D, F) features of each coordinate.
    graph_distance: (D, D) long, bonds between the atoms that two coordinates place.
    circular: (D,) bool, coordinates that live on the whole circle.
    lower, upper: (D,) exact support of each coordinate.
    centre: (L,) centre of the L = D - circular.sum() linear coordinates after their link.
    whitening: (L, L) lower triangular; ``sqrt(kT) * whitening`` is the Cholesky factor of the
        covariance of the linked linear coordinates under the bonded terms.
    thermal_energy_unit: kT in kJ/mol of one kelvin, or 1/300 for model systems in units of kT.
    placements: (N, 7) long, one row an atom in order of placement; empty for model systems. Columns: where
        the references c, p, g stand in this order, the atom's coordinates (rows of `tokens`, in order;
        both -1 where there is none), and the index in `PLACEMENT_STYLES`.
    """

    fingerprint: str
    tokens: Tensor
    graph_distance: Tensor
    circular: Tensor
    lower: Tensor
    upper: Tensor
    centre: Tensor
    whitening: Tensor
    thermal_energy_unit: float
    placements: Tensor = field(default_factory=lambda: torch.zeros(0, 7, dtype=torch.long))

    @property
    def dimension(self) -> int:
        return int(self.circular.shape[0])

    def to(self, device: torch.device | str) -> MoleculeFeatures:
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Context:
    """A batch of rows: which molecule each row is, and at which temperature.

    Attributes
    ----------
    molecules: the distinct molecules of the batch.
    molecule: (B,) long, index into `molecules`.
    temperature: (B,) float64 K.
    """

    molecules: tuple[MoleculeFeatures, ...]
    molecule: Tensor
    temperature: Tensor

    def __post_init__(self) -> None:
        if not self.molecules:
            raise InputError("A context needs at least one molecule.")
        if self.molecule.shape != self.temperature.shape:
            raise InputError("A context needs one molecule index and one temperature for each row.")

    @classmethod
    def of(cls, molecule: MoleculeFeatures, temperature: float | Tensor, rows: int | None = None) -> Context:
        """The context of `rows` conformations of one molecule at one temperature (or a tensor of them)."""
        device = molecule.tokens.device
        if isinstance(temperature, Tensor):
            temperatures = temperature.to(device=device, dtype=torch.float64)
        else:
            temperatures = torch.full((rows or 1,), float(temperature), dtype=torch.float64, device=device)
        return cls((molecule,), torch.zeros(len(temperatures), dtype=torch.long, device=device), temperatures)

    @classmethod
    def concatenate(cls, contexts: Sequence[Context]) -> Context:
        """The rows of several contexts, one below the other."""
        molecules = tuple(m for c in contexts for m in c.molecules)
        starts = [sum(len(c.molecules) for c in contexts[:i]) for i in range(len(contexts))]
        index = torch.cat([c.molecule + start for c, start in zip(contexts, starts, strict=True)])
        return cls(molecules, index, torch.cat([c.temperature for c in contexts]))

    @property
    def rows(self) -> int:
        return int(self.molecule.shape[0])

    @property
    def dimension(self) -> int:
        """Width of a padded batch of coordinates."""
        return max(m.dimension for m in self.molecules)

    @property
    def mask(self) -> Tensor:
        """(B, dimension) bool, True where a coordinate is real and not padding."""
        sizes = torch.tensor([m.dimension for m in self.molecules], device=self.molecule.device)
        columns = torch.arange(self.dimension, device=self.molecule.device)
        return columns[None, :] < sizes[self.molecule][:, None]

    def to(self, device: torch.device | str) -> Context:
        return Context(
            tuple(m.to(device) for m in self.molecules), self.molecule.to(device), self.temperature.to(device)
        )
