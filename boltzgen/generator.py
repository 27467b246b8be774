"""Density, coordinates and energy married: a flow, and the molecule it is asked about.

Words: B rows, N atoms; log densities are with respect to the shape measure of the design (model systems:
Lebesgue measure); reduced energies ``u = U / kT``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.conditioning.features import model_features, molecule_features
from boltzgen.coordinates.base import Coordinates
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError
from boltzgen.flows.base import Flow
from boltzgen.potentials.base import Potential
from boltzgen.potentials.model_systems import by_name
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.of_system import description_of, potential_of, require_invariance
from boltzgen.system.graph.graph_hash import graph_hash
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

#: Model systems have energies in kT; this is the temperature (K) at which that kT is taken.
MODEL_TEMPERATURE = 300.0

#: Standard deviation of the base of a model system, in every dimension.
MODEL_WIDTH = 2.0

#: Largest and smallest number of rows treated at once, and the working set (bytes) that they may need.
#: Fixed, not read off the machine: the size of a batch decides which random numbers a sample gets.
LARGEST_BATCH, SMALLEST_BATCH, WORKING_SET = 4096, 64, 2**30

#: Rows at once when an energy takes milliseconds a row, so that a run can be stopped between batches.
SLOW_BATCH = 256

#: Bytes a row: spline parameters and their temporaries for each coordinate, pair energies for each two atoms.
BYTES_PER_COORDINATE, BYTES_PER_PAIR = 1024, 160


@dataclass(frozen=True, eq=False)
class Target:
    """A molecule (or model system) ready for a flow: coordinates, energy, features and where it came from.

    `graph` is its `graph_hash`, empty for model systems.
    """

    name: str
    fingerprint: str
    coordinates: Coordinates
    potential: Potential
    features: MoleculeFeatures
    domain: str
    topology_pdb: str
    reference: Tensor
    graph: str = ""

    @classmethod
    def from_system(cls, system: MolecularSystem, *, isomers: str = "reference") -> Target:
        """The molecule `system`; InputError or UnsupportedError when its energy cannot be used."""
        potential = potential_of(system)
        require_invariance(potential, system.name)
        described = potential if isinstance(potential, MolecularMechanics) else description_of(system)
        coordinates = InternalCoordinates(system, isomers=isomers)
        return cls(
            name=system.name,
            fingerprint=system.fingerprint,
            coordinates=coordinates,
            potential=potential,
            features=molecule_features(system, coordinates, described),
            domain=coordinates.domain_label,
            topology_pdb=system.topology_pdb,
            reference=torch.as_tensor(np.array(system.reference_positions))[None],
            graph=graph_hash(system),
        )

    @classmethod
    def from_model(cls, name: str) -> Target:
        """The model system `name`, as in ``many-well-32``; energies in kT at 300 K."""
        potential = by_name(name)
        coordinates = IdentityCoordinates(potential.dimension)
        return cls(
            name=name,
            fingerprint=f"model:{name}",
            coordinates=coordinates,
            potential=potential,
            features=model_features(f"model:{name}", coordinates, MODEL_WIDTH),
            domain=coordinates.domain_label,
            topology_pdb="",
            reference=torch.as_tensor(np.array(potential.reference, dtype=np.float64))[None],
        )

    @property
    def is_molecular(self) -> bool:
        return self.potential.energy_unit == "kJ/mol"

    def to(self, device: torch.device | str) -> Target:
        """The same target with its tensors on `device`."""
        return replace(
            self,
            features=self.features.to(device),
            potential=self.potential.to(device),
            reference=self.reference.to(device),
        )

    def close(self) -> None:
        """End the worker processes of the potential, if it has any; the next energy starts them again."""
        self.potential.close()

    @cached_property
    def reference_energy(self) -> Tensor:
        """The energy (1,) of the reference as a temperature: over that of a state it is ``U / kT``."""
        with torch.no_grad():
            return self.reduced_energy(self.reference, 1.0)

    def reduced_energy(self, positions: Tensor, temperature: Tensor | float) -> Tensor:
        """``U / kT`` (B,) of `positions` at `temperature` in K, a number or (B,)."""
        unit = GAS_CONSTANT if self.is_molecular else 1.0 / MODEL_TEMPERATURE
        return self.potential.energy(positions) / (unit * temperature)

    def batch_rows(self) -> int:
        """Rows to treat at once so that the working set stays near one gigabyte."""
        size = BYTES_PER_COORDINATE * self.features.dimension
        if self.is_molecular:
            size += BYTES_PER_PAIR * int(self.reference.shape[1]) ** 2
        largest = SLOW_BATCH if self.potential.slow else LARGEST_BATCH
        return max(SMALLEST_BATCH, min(largest, WORKING_SET // size))


@dataclass(frozen=True, eq=False, repr=False)
class BoltzmannGenerator:
    """A trained flow and one target."""

    flow: Flow
    target: Target

    @torch.no_grad()
    def log_prob(
        self, positions: Tensor, temperature: float, *, rows: int | None = None
    ) -> tuple[Tensor, np.ndarray]:
        """Log density (B,) float64 of `positions` and, for rows outside the domain, why (B,) str.

        Rows outside the domain have log density -inf; nothing raises.
        """
        parts, reasons = [], []
        coordinates = self.target.coordinates
        names = np.array(coordinates.reasons)
        for batch in positions.split(rows or self.target.batch_rows()):
            batch = batch.to(self.target.reference.device, torch.float64)
            outside = coordinates.domain(batch)
            values, log_det = coordinates.encode(batch)
            embedding = self.flow.embed(Context.of(self.target.features, temperature, len(batch)))
            density = self.flow.log_prob(values, embedding) + log_det
            bad = (outside != 0) | ~torch.isfinite(density)
            parts.append(torch.where(bad, torch.full_like(density, -torch.inf), density))
            reasons.append(names[outside.cpu().numpy()])
        return torch.cat(parts), np.concatenate(reasons)

    @torch.no_grad()
    def draw(
        self, number: int, temperature: float, *, generator: torch.Generator, rows: int | None = None
    ) -> Iterator[Ensemble]:
        """`number` samples at `temperature` in K, batch by batch, each with density, energy and weight."""
        rows = rows or self.target.batch_rows()
        for start in range(0, number, rows):
            yield self._draw_batch(min(rows, number - start), temperature, generator)

    def __repr__(self) -> str:
        size = self.target.reference.shape[1]
        what = f"{size} atoms, " if self.target.is_molecular else ""
        return (
            f"<BoltzmannGenerator: {self.flow!r} asked about {self.target.name}, {what}"
            f"{self.target.features.dimension} internal coordinates>"
        )

    def sample(self, number: int, temperature: float, *, seed: int = 0, rows: int | None = None) -> Ensemble:
        """`number` samples in one ensemble; `draw` gives them batch by batch."""
        if number < 1:
            raise InputError(f"{number} samples were asked for; ask for at least one.")
        generator = torch.Generator().manual_seed(seed)
        return Ensemble.concatenate(list(self.draw(number, temperature, generator=generator, rows=rows)))

    def _draw_batch(self, rows: int, temperature: float, generator: torch.Generator) -> Ensemble:
        target = self.target
        embedding = self.flow.embed(Context.of(target.features, temperature, rows))
        values, density = self.flow.sample(embedding, generator=generator)
        positions, log_det = target.coordinates.decode(values)
        log_q = density - log_det
        u = target.reduced_energy(positions, temperature)
        reasons = np.array(target.coordinates.reasons)[target.coordinates.domain(positions).cpu().numpy()]
        with np.errstate(over="ignore"):  # atoms beyond float32 become inf, and their rows are rejected
            stored = positions.cpu().numpy().astype(np.float32)
        return Ensemble.from_densities(
            stored,
            log_q.cpu().numpy(),
            u.cpu().numpy(),
            temperature=temperature if target.is_molecular else None,
            measure=target.coordinates.measure,
            system_fingerprint=target.fingerprint,
            domain=target.domain,
            topology_pdb=target.topology_pdb,
            reason=reasons,
            provenance={"requested": rows, "energy_evaluations": rows},
        )

    def target_log_weights(self, positions: Tensor, u: Tensor, temperature: float) -> np.ndarray:
        """``-u - log_q`` at samples of the target; +inf where the flow has no density."""
        density, _ = self.log_prob(positions, temperature)
        return (-u.to(density) - density).cpu().numpy()


def read_target(source: str, *, isomers: str) -> tuple[MolecularSystem | None, Target]:
    """The molecule (None for ``model:NAME``) and the target of `source`: a SYS folder, example or model."""
    if source.startswith("model:"):
        return None, Target.from_model(source.removeprefix("model:"))
    molecule = MolecularSystem.load(source)
    return molecule, Target.from_system(molecule, isomers=isomers)
