"""To and from bgflow, the library of Boltzmann generators: energies, priors and flows.

bgflow (https://github.com/noegroup/bgflow) is not on the package index; install it from its repository, with
einops. Its conventions are translated here alone:

* energies are in kT and have the shape (B, 1); `temperature` there is relative to the one given here;
* a molecule is one vector (B, 3N) in nm;
* its flows go from latent to physical, and return ``log|det d(out)/d(in)|`` (B, 1) last.

The densities of our flows over molecules are with respect to the shape measure (docs/concepts.md), those of
bgflow's own flows over Cartesian vectors are not: compare weights of the two, not raw densities.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from boltzgen.conditioning.context import Context
from boltzgen.errors import InputError, MissingExtraError, UnsupportedError
from boltzgen.flows.base import InvertibleFlow
from boltzgen.generator import BoltzmannGenerator, Target


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
        with torch.random.fork_rng():  # bgflow draws from the global generator alone
            torch.manual_seed(seed)
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


def import_bgflow() -> Any:
    """The module; MissingExtraError when it is not installed."""
    if not hasattr(numpy, "infty"):
        # bgflow's last release is older than numpy 2, which dropped this name; its modules use it on import.
        numpy.infty = numpy.inf  # type: ignore[attr-defined]
    try:
        import bgflow
    except ImportError as error:
        raise MissingExtraError(
            f"bgflow cannot be imported ({error}): pip install einops git+https://github.com/noegroup/bgflow."
        ) from error
    return bgflow


def _require_latents(generator: BoltzmannGenerator) -> InvertibleFlow:
    if isinstance(generator.flow, InvertibleFlow):
        return generator.flow
    raise UnsupportedError(
        f"A {type(generator.flow).__name__} has no latent space, which bgflow needs; use a coupling flow."
    )


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
            self.generator, self.kelvin, self.flow = generator, temperature, _require_latents(generator)

        def _forward(self, z: Tensor, temperature: float = 1.0, **_: Any) -> tuple[Tensor, Tensor]:
            embedding = _embed(self.generator, self.kelvin * temperature, len(z))
            values, inner = self.flow.decode(z, embedding)
            positions, outer = self.generator.target.coordinates.decode(values)
            return positions.flatten(1), (inner + outer)[:, None]

        def _inverse(self, x: Tensor, temperature: float = 1.0, **_: Any) -> tuple[Tensor, Tensor]:
            coordinates = self.generator.target.coordinates
            positions = x.reshape(-1, *self.generator.target.reference.shape[1:])
            values, outer = coordinates.encode(positions)
            z, inner = self.flow.encode(values, _embed(self.generator, self.kelvin * temperature, len(x)))
            log_det = (inner + outer).masked_fill(~coordinates.inside(positions), -torch.inf)
            return z, log_det[:, None]

    class LatentDistribution(bgflow.Energy, bgflow.Sampler):  # type: ignore[misc, name-defined]
        flow: InvertibleFlow

        def __init__(self, generator: BoltzmannGenerator, temperature: float) -> None:
            super().__init__(dim=generator.target.coordinates.dimension)
            self.generator, self.kelvin, self.flow = generator, temperature, _require_latents(generator)

        def energy(self, z: Tensor, temperature: float = 1.0) -> Tensor:
            # The latent density is the same at every temperature: our flows are told it instead.
            embedding = _embed(self.generator, self.kelvin * temperature, len(z))
            return -self.flow.latent_log_prob(z, embedding)[:, None]

        def _sample(self, n_samples: int) -> Tensor:
            return self._sample_with_temperature(n_samples, 1.0)

        def _sample_with_temperature(self, n_samples: int, temperature: float) -> Tensor:
            embedding = _embed(self.generator, self.kelvin * temperature, n_samples)
            seed = int(torch.randint(2**62, (1,)))
            return self.flow.draw_latents(embedding, generator=torch.Generator().manual_seed(seed))[0]

    return SimpleNamespace(
        TargetEnergy=TargetEnergy, GeneratorFlow=GeneratorFlow, LatentDistribution=LatentDistribution
    )


def _embed(generator: BoltzmannGenerator, temperature: float, rows: int) -> Any:
    return generator.flow.embed(Context.of(generator.target.features, temperature, rows))
