"""To and from bgflow, the library of Boltzmann generators: energies, priors, flows, internal coordinates.

bgflow (https://github.com/noegroup/bgflow) is not on the package index; install it from its repository, with
einops. Its conventions are translated here alone:

* energies are in kT and have the shape (B, 1); `temperature` there is relative to the one given here;
* a molecule is one vector (B, 3N) in nm;
* its flows go from latent to physical, and return ``log|det d(out)/d(in)|`` (B, 1) last.

The densities of our flows over molecules are with respect to the shape measure (docs/concepts.md), those of
bgflow's own flows over Cartesian vectors are not: compare weights of the two, not raw densities.
`BgflowCoordinates` bring its internal coordinates to the shape measure.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from boltzgen.conditioning.context import Context
from boltzgen.coordinates.base import Coordinates, CoordinateTable
from boltzgen.coordinates.geometry import axes
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.errors import InputError, MissingExtraError, UnsupportedError
from boltzgen.flows.base import InvertibleFlow
from boltzgen.flows.vector_flow import VectorFlow, VectorSettings, require_one_to_one
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.streams import stream


def bgflow_energy(target: Target, temperature: float) -> Any:
    """The reduced energy ``U / kT`` of `target` at `temperature` in K as a `bgflow.Energy`.

    It maps positions (B, 3N) in nm (model systems: (B, d)) to (B, 1).
    """
    return _classes().TargetEnergy(target, temperature)


def bgflow_flow(generator: BoltzmannGenerator, temperature: float) -> Any:
    """The map from latents (B, D) to positions (B, 3N) of `generator` at `temperature` in K.

    A `bgflow.Flow`, whose prior is `bgflow_prior`; ``bgflow.BoltzmannGenerator(prior, flow, energy)`` then
    has the weights of `generator`. Positions outside the domain have a log-determinant of -inf.

    Raises
    ------
    UnsupportedError: the flow has no latent space. MissingExtraError: bgflow is not installed.
    """
    return _classes().GeneratorFlow(generator, temperature)


def bgflow_prior(generator: BoltzmannGenerator, temperature: float) -> Any:
    """The normalised latent density that belongs to `bgflow_flow`, a bgflow Energy and Sampler.

    It draws from torch's global generator, as bgflow does.
    """
    return _classes().LatentDistribution(generator, temperature)


class BgflowFlow(InvertibleFlow):
    """A bgflow flow over the coordinates of one molecule or model system, as a flow of ours.

    Parameters
    ----------
    flow: a `bgflow.Flow` from latents (B, D) to coordinates (B, D), one tensor each.
    prior: a bgflow distribution of the latents, with a normalised energy (`bgflow.NormalDistribution` is).
    dimension: number D of the coordinates, ``target.coordinates.dimension``.

    It knows the molecule it was trained on and no temperature: contexts of other dimensions are refused, the
    temperatures of a context are not looked at. Samples outside the support of the coordinates have the
    weight 0, as everywhere.
    """

    flow: Any
    prior: Any

    def __init__(self, flow: nn.Module, prior: nn.Module, dimension: int) -> None:
        super().__init__()
        self.flow, self.prior, self.dimension = flow, prior, dimension

    def embed(self, context: Context) -> int:
        """The number of rows; InputError unless all are of one molecule with D coordinates."""
        if len(context.molecules) != 1 or context.dimension != self.dimension:
            raise InputError(
                f"This bgflow flow has {self.dimension} coordinates and knows one molecule; the context has "
                f"{len(context.molecules)}, of {context.dimension}."
            )
        return context.rows

    def encode(self, coordinates: Tensor, embedding: int) -> tuple[Tensor, Tensor]:
        return self._apply_flow(coordinates, inverse=True)

    def decode(self, latents: Tensor, embedding: int) -> tuple[Tensor, Tensor]:
        return self._apply_flow(latents, inverse=False)

    def draw_latents(self, embedding: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        with torch.random.fork_rng():  # bgflow draws from the global generators alone
            torch.manual_seed(seed)
            torch.set_rng_state(stream(seed).get_state())  # on a CPU, `manual_seed` reads 32 bits
            latents = self.prior.sample(embedding).to(torch.float64)
        return latents, self.latent_log_prob(latents, embedding)

    def latent_log_prob(self, latents: Tensor, embedding: int) -> Tensor:
        return -self.prior.energy(latents.to(self._dtype())).reshape(-1).to(torch.float64)

    def _apply_flow(self, values: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        *out, log_det = self.flow(values.to(self._dtype()), inverse=inverse)
        if len(out) != 1 or out[0].shape != values.shape:
            raise InputError(
                f"The bgflow flow does not map one tensor (B, {self.dimension}) to another; join its events "
                "with bgflow.MergeFlow."
            )
        return out[0].to(torch.float64), log_det.reshape(-1).to(torch.float64)

    def _dtype(self) -> torch.dtype:
        """That of the flow's own numbers; the rest of this library is float64."""
        tensors = [*self.flow.parameters(), *self.flow.buffers(), *self.prior.buffers()]
        return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float64)


class BgflowCoordinates(Coordinates):
    """The internal coordinates of a `bgflow.GlobalInternalCoordinateTransformation` as coordinates of ours.

    Parameters
    ----------
    transformation: from positions to bonds, angles, torsions, place and orientation.
    molecule: our coordinates of the same molecule; its domain is taken over.

    A row is bonds (nm), then angles, then torsions, as the transformation gives them: in rad or, normalised,
    as parts of pi and of a turn. `decode` knows no hands: the domain sorts mirror images out.

    Why the measure is exact: bgflow's place and orientation (two Euler angles and the cosine of the third)
    are uniform over all places and rotations, so what is left is the shape measure, but for the
    ``(2 pi)^2`` of normalised Euler angles.

    Raises
    ------
    UnsupportedError: another transformation. InputError: the z-matrix is one of other atoms.
    """

    measure = "shape"

    def __init__(self, transformation: Any, molecule: InternalCoordinates) -> None:
        if not isinstance(transformation, import_bgflow().GlobalInternalCoordinateTransformation):
            raise UnsupportedError(
                f"A {type(transformation).__name__} keeps Cartesian coordinates, which place and turn the "
                "molecule; use a GlobalInternalCoordinateTransformation."
            )
        self.transformation, self.molecule, self.reasons = transformation, molecule, molecule.reasons
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # bgflow calls numpy.row_stack
            bonds, angles, torsions = (
                np.asarray(getattr(transformation, f"{kind}_indices"))
                for kind in ("bond", "angle", "torsion")
            )
        first = [bonds[0, 1], *bonds[:, 0]]
        if sorted(first) != list(range(len(molecule.graph.reference_positions))):
            raise InputError(
                f"bgflow's z-matrix places the atoms {sorted(map(int, first))}; the molecule has "
                f"{len(molecule.graph.reference_positions)} atoms, counted from 0."
            )
        self._origin, self._axis, self._plane = first[:3]
        self._sizes = (len(bonds), len(angles), len(torsions))
        normalised = bool(transformation.normalize_angles)
        self._log_rotation = 2 * math.log(2 * math.pi) if normalised else 0.0
        reference = torch.tensor(molecule.graph.reference_positions)[None]
        self.table = CoordinateTable(
            kind=tuple(np.repeat(["bond", "angle", "torsion"], self._sizes).tolist()),
            atoms=np.concatenate([_padded(bonds), _padded(angles), torsions]),
            lower=np.repeat([0.0, 0.0, 0.0 if normalised else -np.pi], self._sizes),
            upper=np.repeat([np.inf, *((1.0, 1.0) if normalised else (np.pi, np.pi))], self._sizes),
            circular=np.repeat([False, False, not normalised], self._sizes),
            reference=self.encode(reference)[0][0].numpy(),
        )

    def domain(self, positions: Tensor) -> Tensor:
        return self.molecule.domain(positions)

    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        bonds, angles, torsions, _, _, log_det = self._transform(self._in_frame(positions).flatten(1))
        return torch.cat([bonds, angles, torsions], dim=1), log_det[:, 0] + self._log_rotation

    def decode(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        bonds, angles, torsions = coordinates.split(self._sizes, dim=1)
        place = coordinates.new_zeros(len(coordinates), 1, 3)
        middle = 0.5 if self._log_rotation else 0.0
        orientation = coordinates.new_tensor([middle, 0.0, middle]).expand(len(coordinates), 3)
        positions, log_det = self._transform(bonds, angles, torsions, place, orientation, inverse=True)
        return positions.reshape(len(coordinates), -1, 3), log_det[:, 0] - self._log_rotation

    def _transform(self, *given: Tensor, inverse: bool = False) -> list[Tensor]:
        """bgflow's own map of `given`, without the graph that it records even where nobody asked for one."""
        found = self.transformation(*given, inverse=inverse)
        wanted = torch.is_grad_enabled() and any(part.requires_grad for part in given)
        return list(found) if wanted else [part.detach() for part in found]

    def _in_frame(self, positions: Tensor) -> Tensor:
        """Turned so that the first bond lies along x: along z, bgflow's Euler angles have no derivative."""
        x = positions.permute(2, 1, 0)
        origin, axis, plane = (x[:, [atom]] for atom in (self._origin, self._axis, self._plane))
        frame = torch.stack(axes(axis, origin, plane))
        return torch.einsum("kcob,cnb->bnk", frame, x - origin)


class BgflowSettings(VectorSettings):
    """Affine coupling layers of bgflow (Dinh et al., Real NVP, arXiv 1605.08803)."""

    kind: Literal["bgflow"] = "bgflow"
    """Which flow; see docs/extending.md."""
    blocks: int = Field(default=4, ge=1, le=256)
    """Blocks, each of which transforms both halves of the coordinates once."""
    hidden: int = Field(default=64, ge=1, le=4096)
    """Width of the networks."""

    def build(self) -> BgflowVectorFlow:
        bgflow, size = import_bgflow(), self.size()
        if size < 2:
            raise InputError("A flow of kind bgflow couples two halves; the molecule has one coordinate.")
        halves, layers = [size // 2, size - size // 2], []
        for one, other in self.blocks * [halves, halves[::-1]]:
            networks = [
                bgflow.DenseNet([one, self.hidden, self.hidden, other], activation=nn.SiLU())
                for _ in range(2)
            ]
            layers += [bgflow.CouplingFlow(bgflow.AffineTransformer(*networks)), bgflow.SwapFlow()]
        flow = bgflow.SequentialFlow([bgflow.SplitFlow(halves[0]), *layers, bgflow.MergeFlow(halves[0])])
        made = BgflowVectorFlow(flow, size)
        require_one_to_one(made, "flow.kind bgflow")
        return made


class BgflowVectorFlow(VectorFlow):
    """A `bgflow.Flow` from standard normal latents (B, D) to vectors (B, D) as a flow of one molecule.

    Unlike `BgflowFlow` it learns the whitened coordinates, in double precision.
    """

    flow: Any

    def __init__(self, flow: nn.Module, dimension: int) -> None:
        super().__init__(dimension)
        self.flow = flow.to(torch.float64)

    def to_latent(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = self.flow(vectors, inverse=True)
        return values, log_det.reshape(-1)

    def from_latent(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = self.flow(latents)
        return values, log_det.reshape(-1)


def _padded(atoms: np.ndarray) -> np.ndarray:
    """(rows, up to 4) atoms as (rows, 4), with -1."""
    return np.pad(atoms, ((0, 0), (0, 4 - atoms.shape[1])), constant_values=-1)


def import_bgflow() -> Any:
    """The module; MissingExtraError when it is not installed."""
    if not hasattr(np, "infty"):
        # bgflow's last release is older than numpy 2, which dropped this name; its modules use it on import.
        np.infty = np.inf  # type: ignore[attr-defined]
    try:
        import bgflow
    except ImportError as error:
        raise MissingExtraError(
            f"bgflow cannot be imported ({error}): pip install einops git+https://github.com/noegroup/bgflow."
        ) from error
    return bgflow


@cache
def _classes() -> SimpleNamespace:
    """Our subclasses of bgflow's classes, made once bgflow is there."""
    bgflow = import_bgflow()

    class TargetEnergy(bgflow.Energy):  # type: ignore[misc, name-defined]
        def __init__(self, target: Target, temperature: float) -> None:
            super().__init__(dim=target.reference[0].numel())
            self.target, self.kelvin, self.potential = target, temperature, target.potential

        def _energy(self, x: Tensor) -> Tensor:
            batch = x.shape[:-1]
            positions = x.reshape(-1, *self.target.reference.shape[1:])
            return self.target.reduced_energy(positions, self.kelvin).reshape(*batch, 1)

    class GeneratorFlow(bgflow.Flow):  # type: ignore[misc, name-defined]
        flow: InvertibleFlow

        def __init__(self, generator: BoltzmannGenerator, temperature: float) -> None:
            super().__init__()
            self.generator, self.kelvin, self.flow = generator, temperature, generator.latent_flow

        def _forward(self, z: Tensor, temperature: float = 1.0, **_: Any) -> tuple[Tensor, Tensor]:
            positions, log_det = self.generator.decode(z, self.kelvin * temperature)
            return positions.flatten(1), log_det[:, None]

        def _inverse(self, x: Tensor, temperature: float = 1.0, **_: Any) -> tuple[Tensor, Tensor]:
            positions = x.reshape(-1, *self.generator.target.reference.shape[1:])
            z, log_det = self.generator.encode(positions, self.kelvin * temperature)
            return z, log_det[:, None]

    class LatentDistribution(bgflow.Energy, bgflow.Sampler):  # type: ignore[misc, name-defined]
        flow: InvertibleFlow

        def __init__(self, generator: BoltzmannGenerator, temperature: float) -> None:
            super().__init__(dim=generator.target.coordinates.dimension)
            self.generator, self.kelvin, self.flow = generator, temperature, generator.latent_flow

        def energy(self, z: Tensor, temperature: float = 1.0) -> Tensor:
            # The latent density is the same at every temperature: our flows are told it instead.
            embedding = self.generator.embed(self.kelvin * temperature, len(z))
            return -self.flow.latent_log_prob(z, embedding)[:, None]

        def _sample(self, n_samples: int) -> Tensor:
            return self._sample_with_temperature(n_samples, 1.0)

        def _sample_with_temperature(self, n_samples: int, temperature: float) -> Tensor:
            embedding = self.generator.embed(self.kelvin * temperature, n_samples)
            seed = int(torch.randint(2**62, (1,)))
            return self.flow.draw_latents(embedding, generator=stream(seed))[0]

    return SimpleNamespace(
        TargetEnergy=TargetEnergy, GeneratorFlow=GeneratorFlow, LatentDistribution=LatentDistribution
    )
