"""Density, coordinates and energy married: a flow, and the molecule it is asked about.

Words: B rows, N atoms; log densities are with respect to the shape measure of the design (model systems:
Lebesgue measure); reduced energies ``u = U / kT``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from boltzgen.checks import check_number
from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.conditioning.familiarity import Familiarity, Seen, familiarity
from boltzgen.conditioning.features import model_features, molecule_features, placed_atoms
from boltzgen.coordinates.base import Coordinates
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.drawn_rows import DrawnRows
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.errors import InputError, UnsupportedError
from boltzgen.flows.base import Embedding, Flow, InvertibleFlow
from boltzgen.flows.blocks import BlockSampler
from boltzgen.potentials.base import Potential
from boltzgen.potentials.model_systems import by_name
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.of_system import description_of, potential_of, require_invariance
from boltzgen.system.graph.graph_hash import graph_hash
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import MODEL_TEMPERATURE

#: Standard deviation of the base of a model system, in every dimension.
MODEL_WIDTH = 2.0

#: Largest and smallest number of rows treated at once, and the working set (bytes) that they may need.
LARGEST_BATCH, SMALLEST_BATCH, WORKING_SET = 4096, 64, 2**30

#: Rows at once when an energy takes milliseconds a row, so that a run can be stopped between batches.
SLOW_BATCH = 256

#: Most and fewest rows of a block of draws, and about how many coordinates all of its rows have together.
#: Part of what a seed means, and so never read off the machine. Larger ones would draw a tenth faster on one
#: core in float64 (docs/measured/energies.md), but a block of eight residues takes two seconds already.
LARGEST_BLOCK, SMALLEST_BLOCK, BLOCK_COORDINATES = 1024, 64, 100_000

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
        return self.potential.reduced_energy(positions, temperature)

    def reasons(self, positions: Tensor) -> np.ndarray:
        """Why each of `positions` (B, N, 3) lies outside the domain, (B,) str; ``""`` for those inside."""
        return np.array(self.coordinates.reasons)[self.coordinates.domain(positions).cpu().numpy()]

    def ensemble(self, drawn: DrawnRows, temperature: float, *, reason: np.ndarray | None = None) -> Ensemble:
        """The rows `drawn` at `temperature` (K), an energy each; rejected for `reason` (B,) str.

        By default those outside the domain are.
        """
        reasons = np.array(self.coordinates.reasons)[drawn.outside.cpu().numpy()]
        with np.errstate(over="ignore"):  # atoms beyond float32 become inf, and their rows are rejected
            positions = drawn.positions.cpu().numpy().astype(np.float32)
        return Ensemble.from_densities(
            positions,
            drawn.log_q.cpu().numpy(),
            drawn.u.cpu().numpy(),
            temperature=temperature if self.is_molecular else None,
            measure=self.coordinates.measure,
            system_fingerprint=self.fingerprint,
            domain=self.domain,
            topology_pdb=self.topology_pdb,
            reason=reasons if reason is None else reason,
            provenance={"requested": len(drawn), "energy_evaluations": len(drawn)},
        )

    def familiarity(self, seen: Seen | None, temperatures: Sequence[float]) -> Familiarity | None:
        """How far this molecule, asked at `temperatures` (K), lies from what a model has `seen`.

        Its score is the unfamiliarity that every verb reports. None for a model without a record.
        """
        if seen is None:
            return None
        atoms = placed_atoms(self.coordinates.table) if self.is_molecular else None
        return familiarity(seen, self.features, temperatures=temperatures, atoms=atoms)

    def batch_rows(self) -> int:
        """Rows to treat at once so that the working set stays near one gigabyte."""
        size = BYTES_PER_COORDINATE * self.features.dimension
        if self.is_molecular:
            size += BYTES_PER_PAIR * int(self.reference.shape[1]) ** 2
        largest = SLOW_BATCH if self.potential.slow else LARGEST_BATCH
        return max(SMALLEST_BATCH, min(largest, WORKING_SET // size))

    def block_rows(self) -> int:
        """Rows of a block of draws: a power of two that the number of coordinates alone decides."""
        fitting = max(1, BLOCK_COORDINATES // max(1, self.features.dimension))
        return max(SMALLEST_BLOCK, min(LARGEST_BLOCK, 2 ** (fitting.bit_length() - 1)))


class DecodingSteps(NamedTuple):
    """Latents on their way to positions: both values, and ``log|det d(out)/d(in)|`` (B,) of both steps.

    coordinates: (B, D), what the flow makes of the latents. positions: (B, N, 3) nm.
    """

    coordinates: Tensor
    positions: Tensor
    flow_log_det: Tensor
    coordinates_log_det: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class BoltzmannGenerator:
    """A trained flow and one target.

    Positions become latents by `encode` and latents positions by `decode`; `log_prob` is the density of
    positions, and `draw` and `sample` make new ones with their weights.
    """

    flow: Flow
    target: Target

    @property
    def has_latents(self) -> bool:
        """Whether `encode` and `decode` are there: the flow is a one-to-one map."""
        return isinstance(self.flow, InvertibleFlow)

    @property
    def latent_flow(self) -> InvertibleFlow:
        """The flow as the map that it is; UnsupportedError when it has no latent space."""
        if isinstance(self.flow, InvertibleFlow):
            return self.flow
        raise UnsupportedError(
            f"A {type(self.flow).__name__} has no latent space, which moves, maps and bgflow need; ask the "
            "flow at one temperature, or train a coupling or an autoregressive flow."
        )

    def embed(self, temperature: float, rows: int) -> Embedding:
        """What the flow computes of this molecule at `temperature` (K), for a batch of `rows`."""
        return self.flow.embed(Context.of(self.target.features, temperature, rows))

    def encode(self, positions: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Latents (B, D) of `positions`, and ``log|det dz/dx|`` (B,); differentiable.

        Parameters
        ----------
        positions: (B, N, 3) nm (model systems: (B, d)), float64, on the target's device. All are treated at
            once; split them by `Target.batch_rows` when they are many.
        temperature: K, of the flow.

        Latents of linear coordinates are standard normal under the flow, those of circular ones uniform on
        [-pi, pi). x is measured by the shape measure (model systems: Lebesgue), so that the log density of x
        is ``latent_flow.latent_log_prob(z, ...) + log_det``, what `log_prob` gives. Where and how the
        molecule is placed is lost.

        Nothing raises on a bad row: outside the domain, or where a number is not finite, the log-determinant
        is -inf, and so is the log density; `Target.reasons` says why. Latents of such rows mean nothing.

        UnsupportedError: the flow has no latent space.
        """
        flow, coordinates = self.latent_flow, self.target.coordinates
        values, outer = coordinates.encode(positions)
        latents, inner = flow.encode(values, self.embed(temperature, len(positions)))
        log_det = outer + inner
        finite = torch.isfinite(latents).all(dim=1)
        lost = ~(coordinates.inside(positions) & torch.isfinite(log_det) & finite)
        return latents.masked_fill(~finite[:, None], 0.0), log_det.masked_fill(lost, -torch.inf)

    def decode(self, latents: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Positions of `latents` (B, D) float64, and ``log|det dx/dz|`` (B,); the inverse of `encode`.

        positions: (B, N, 3) nm in the frame of the first three atoms placed (model systems: (B, d)).

        Measures, device and errors are those of `encode`. Positions may lie outside the domain (a ring that
        does not close): their weight is 0, and `Target.reasons` says why; the log-determinant is still that
        of the map.
        """
        steps = self.decode_in_steps(latents, self.embed(temperature, len(latents)))
        return steps.positions, steps.flow_log_det + steps.coordinates_log_det

    def decode_in_steps(self, latents: Tensor, embedding: Embedding) -> DecodingSteps:
        """`decode` with what lies between; `embedding` from `embed`, for callers that keep it."""
        values, inner = self.latent_flow.decode(latents, embedding)
        positions, outer = self.target.coordinates.decode(values)
        return DecodingSteps(values, positions, inner, outer)

    @torch.no_grad()
    def log_prob(
        self, positions: Tensor, temperature: float, *, rows: int | None = None
    ) -> tuple[Tensor, np.ndarray]:
        """Log density (B,) float64 of `positions` and, for rows outside the domain, why (B,) str.

        Rows outside the domain have log density -inf; nothing raises.
        """
        parts, reasons = [], []
        for batch in positions.split(rows or self.target.batch_rows()):
            batch = batch.to(self.target.reference.device, torch.float64)
            values, log_det = self.target.coordinates.encode(batch)
            density = self.flow.log_prob(values, self.embed(temperature, len(batch))) + log_det
            reasons.append(self.target.reasons(batch))
            outside = torch.as_tensor(reasons[-1] != "", device=density.device)
            parts.append(density.masked_fill(outside | ~torch.isfinite(density), -torch.inf))
        return torch.cat(parts), np.concatenate(reasons)

    @torch.no_grad()
    def draw(
        self, number: int, temperature: float, *, seed: int, rows: int | None = None, first_block: int = 0
    ) -> Iterator[Ensemble]:
        """`number` samples at `temperature` in K as they come, each with density, energy and weight.

        Rows are drawn in blocks of `Target.block_rows`, each from its own `boltzgen.streams.stream`. A block
        goes whole through flow, coordinates and energy, however few of its rows are wanted. So row n under
        `seed` is the same, byte for byte, whatever `number` and `rows` are: fewer samples are the first of
        more. (The energy too, where both are compiled or neither.) Costly energies (``Potential.slow``),
        which look at one conformation at a time, are computed for the rows wanted alone.

        rows: samples handed out together; whole blocks, rounded up, and where energies are costly any number.
            By default one block, or `SLOW_BATCH` costly energies.
        first_block: the first row is row ``first_block * block_rows()`` of the seed, for parts of one draw.
        """
        held: list[DrawnRows] = []
        costly = self.target.potential.slow
        together = rows or (SLOW_BATCH if costly else 1)
        for drawn in self._passes(number, temperature, seed, first_block):
            for part in drawn.split(together) if costly else [drawn]:
                u = self.target.reduced_energy(part.positions, temperature) if costly else part.u
                held.append(replace(part, u=u))
                if sum(map(len, held)) >= together:
                    yield self.target.ensemble(DrawnRows.join(held), temperature)
                    held = []
        if held:
            yield self.target.ensemble(DrawnRows.join(held), temperature)

    def __repr__(self) -> str:
        size = self.target.reference.shape[1]
        what = f"{size} atoms, " if self.target.is_molecular else ""
        return (
            f"<BoltzmannGenerator: {self.flow!r} asked about {self.target.name}, {what}"
            f"{self.target.features.dimension} internal coordinates>"
        )

    def sample(self, number: int, temperature: float, *, seed: int = 0) -> Ensemble:
        """`number` samples in one ensemble; `draw` gives them block by block."""
        check_number(number)
        return concatenate(list(self.draw(number, temperature, seed=seed)))

    def _passes(self, number: int, temperature: float, seed: int, first_block: int) -> Iterator[DrawnRows]:
        """The rows wanted of each pass of the flow, without energies where they are costly."""
        target, size = self.target, self.target.block_rows()
        sampler = BlockSampler(self.flow, target.features, temperature, size, most=target.batch_rows())
        first, last = first_block * size, first_block * size + number
        for block in range(first_block // sampler.blocks * sampler.blocks, -(-last // size), sampler.blocks):
            values, density = sampler.draw(seed, block)
            positions, log_det = target.coordinates.decode(values)
            u = torch.full_like(density, torch.nan)
            if not target.potential.slow:
                u = target.reduced_energy(positions, temperature)
            found = DrawnRows(positions, density - log_det, target.coordinates.domain(positions), u)
            yield found[max(first - block * size, 0) : last - block * size]

    def target_log_weights(self, positions: Tensor, u: Tensor, temperature: float) -> np.ndarray:
        """``-u - log_q`` at samples of the target; +inf where the flow has no density."""
        density, _ = self.log_prob(positions, temperature)
        return (-u.to(density) - density).cpu().numpy()


def temperature_of(ensemble: Ensemble) -> float:
    """At which temperature (K) the reduced energies of `ensemble` were taken.

    Samples of a model system carry none; the ratio of the stored energies to those of the model tells it, to
    the precision of stored positions (1e-5): hundredths of a kelvin are taken where they are as near.
    `MODEL_TEMPERATURE` where no row or no such model is there, or no temperature explains the energies.
    """
    if ensemble.temperature is not None:
        return ensemble.temperature
    rows = np.flatnonzero(ensemble.valid)[:200]
    stored = ensemble.u[rows]
    if not np.any(stored):
        return MODEL_TEMPERATURE
    try:
        potential = by_name(ensemble.system_fingerprint.removeprefix("model:"))
    except InputError:
        return MODEL_TEMPERATURE
    positions = torch.as_tensor(np.array(ensemble.positions[rows]), dtype=torch.float64)
    with torch.no_grad():
        u = potential.reduced_energy(positions, MODEL_TEMPERATURE).numpy()
    ratio = float(u @ stored / (stored @ stored))
    if not (ratio > 0 and np.allclose(ratio * stored, u, rtol=1e-3, atol=1e-3)):
        return MODEL_TEMPERATURE
    found = MODEL_TEMPERATURE * ratio
    near = round(found, 2)
    return near if abs(near - found) < 1e-5 * found else round(found, 6)


def read_target(source: str, *, isomers: str) -> tuple[MolecularSystem | None, Target]:
    """The molecule (None for ``model:NAME``) and the target of `source`: a SYS folder, example or model."""
    if source.startswith("model:"):
        return None, Target.from_model(source.removeprefix("model:"))
    molecule = MolecularSystem.load(source)
    return molecule, Target.from_system(molecule, isomers=isomers)
