"""A coupling flow whose weights are written by the molecule.

Each layer splits the coordinates into two halves. One half, read through weights that the molecule's
tokens generate, drives a small network; its output, through weights that the other half's tokens generate,
gives a shift, a scale and a rational-quadratic spline for each coordinate of that other half (circular for
torsions). Generating weights costs once a molecule and step, not once a sample, so a conditioned flow runs
at the price of one written for a single molecule, in one pass each way.

Sources: Dinh et al., Real NVP (arXiv 1605.08803); Durkan et al. (arXiv 1906.04032); Ha et al.,
HyperNetworks (arXiv 1609.09106).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.flows.base import InvertibleFlow
from boltzgen.flows.splines import n_parameters, spline_by_parameter
from boltzgen.flows.standardise import Standardiser
from boltzgen.flows.token_encoder import TokenEncoder

#: Splines of whitened coordinates act on [-BOUND, BOUND] standard deviations; the identity outside.
BOUND = 7.0

#: Temperature at which the network's temperature input is zero.
REFERENCE_TEMPERATURE = 300.0

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class _Half:
    """Columns that one layer transforms and columns that drive it, among linear and circular ones."""

    linear: Tensor
    linear_driver: Tensor
    circular: Tensor
    circular_driver: Tensor


@dataclass(frozen=True)
class _LayerWeights:
    """Weights that one molecule generated for one layer."""

    half: _Half
    enter: Tensor
    offset: Tensor
    leave: Tensor
    leave_offset: Tensor


@dataclass(frozen=True)
class _Rows:
    """The rows of one molecule in a batch, and all that is needed to treat them."""

    rows: Tensor
    standardiser: Standardiser
    temperature_input: Tensor
    weights: tuple[_LayerWeights, ...]


@dataclass(frozen=True)
class CouplingEmbedding:
    """What `CouplingFlow.embed` returns: the groups of rows and the shape of the batch."""

    groups: tuple[_Rows, ...]
    n_rows: int
    dimension: int
    device: torch.device


class CouplingFlow(InvertibleFlow):
    """Coupling layers of rational-quadratic splines with generated weights.

    Parameters
    ----------
    n_features: length of a token's feature vector.
    layers, hidden, depth, bins: coupling layers, width and depth of each layer's network, spline bins.
    embedding, encoder_blocks: width of the token embeddings and attention blocks that make them.
    mask_seed: seed of the fixed halves; part of the model, not of the run.
    """

    def __init__(
        self, n_features: int, *, layers: int = 8, hidden: int = 128, depth: int = 2, bins: int = 8,
        embedding: int = 64, encoder_blocks: int = 2, mask_seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.bins, self.mask_seed = bins, mask_seed
        self.encoder = TokenEncoder(n_features, embedding, encoder_blocks)
        self.layers = nn.ModuleList([_CouplingLayer(embedding, hidden, depth, bins) for _ in range(layers)])

    @property
    def _stack(self) -> tuple[_CouplingLayer, ...]:
        return tuple(cast("_CouplingLayer", layer) for layer in self.layers)

    def embed(self, context: Context) -> CouplingEmbedding:
        groups = []
        for index, molecule in enumerate(context.molecules):
            rows = torch.nonzero(context.molecule == index)[:, 0]
            if len(rows):
                groups.append(self._embed_rows(molecule, rows, context.temperature[rows]))
        return CouplingEmbedding(tuple(groups), context.rows, context.dimension, context.molecule.device)

    def _embed_rows(self, molecule: MoleculeFeatures, rows: Tensor, temperature: Tensor) -> _Rows:
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        standardiser = Standardiser(molecule, temperature)
        linear, circular = tokens[standardiser.linear], tokens[standardiser.circular]
        weights = tuple(
            layer.generate(linear, circular, halves(len(linear), len(circular), number, self.mask_seed))
            for number, layer in enumerate(self._stack)
        )
        logarithm = torch.log(temperature / REFERENCE_TEMPERATURE)
        inputs = torch.stack([logarithm, logarithm**2], dim=1).to(tokens.dtype)
        return _Rows(rows, standardiser, inputs, weights)

    def encode(self, coordinates: Tensor, embedding: CouplingEmbedding) -> tuple[Tensor, Tensor]:
        coordinates = coordinates.to(torch.float64)
        latents, log_dets = [], []
        for group in embedding.groups:
            size = group.standardiser.dimension
            linear, circular, log_det = group.standardiser.encode(coordinates[group.rows, :size])
            linear, circular = linear.T.contiguous(), circular.T.contiguous()
            for layer, weights in zip(self._stack, group.weights, strict=True):
                linear, circular, change = layer.encode(linear, circular, group.temperature_input, weights)
                log_det = log_det + change
            latents.append(group.standardiser.join(linear.T, circular.T))
            log_dets.append(log_det)
        return _gather(embedding, latents), _gather(embedding, log_dets)

    def decode(self, latents: Tensor, embedding: CouplingEmbedding) -> tuple[Tensor, Tensor]:
        latents = latents.to(torch.float64)
        coordinates, log_dets = [], []
        for group in embedding.groups:
            standardiser = group.standardiser
            own = latents[group.rows, : standardiser.dimension].T.contiguous()
            linear, circular = own[standardiser.linear], own[standardiser.circular]
            log_det = torch.zeros(len(group.rows), dtype=own.dtype, device=own.device)
            for layer, weights in zip(reversed(self._stack), reversed(group.weights), strict=True):
                linear, circular, change = layer.decode(linear, circular, group.temperature_input, weights)
                log_det = log_det + change
            values, change = standardiser.decode(linear.T, circular.T)
            coordinates.append(values)
            log_dets.append(log_det + change)
        return _gather(embedding, coordinates), _gather(embedding, log_dets)

    def draw_latents(
        self, embedding: CouplingEmbedding, *, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        shape = (embedding.n_rows, embedding.dimension)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
        normal, uniform = normal.to(embedding.device), ((2 * uniform - 1) * math.pi).to(embedding.device)
        latents = torch.zeros(shape, dtype=torch.float64, device=embedding.device)
        for group in embedding.groups:
            for columns, source in (
                (group.standardiser.linear, normal),
                (group.standardiser.circular, uniform),
            ):
                index = (group.rows[:, None], columns[None, :])
                latents[index] = source[index]
        return latents, self.latent_log_prob(latents, embedding)

    def latent_log_prob(self, latents: Tensor, embedding: CouplingEmbedding) -> Tensor:
        values = []
        for group in embedding.groups:
            linear = latents[group.rows[:, None], group.standardiser.linear[None, :]].to(torch.float64)
            n_linear, n_circular = linear.shape[1], len(group.standardiser.circular)
            values.append(-0.5 * (linear**2).sum(dim=1) - (0.5 * n_linear + n_circular) * LOG_TWO_PI)
        return _gather(embedding, values)


class _Generator(nn.Module):
    """A linear map from token embeddings to weights, scaled so that an Adam step moves a weight by its rate.

    Embeddings have unit variance in each of their dimensions, so the sum is divided by their number
    (the scaling of Yang et al., arXiv 2203.03466); `std` is the spread of the weights at the start.
    """

    def __init__(self, embedding: int, outputs: int, *, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, embedding) * std * math.sqrt(embedding))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, embeddings: Tensor) -> Tensor:
        return functional.linear(embeddings / embeddings.shape[-1], self.weight, self.bias)


class _CouplingLayer(nn.Module):
    """One coupling layer: generators of the outer weights, and the shared inner network.

    Rows are the last dimension here: columns, hidden units and spline parameters come first.
    """

    #: Multiples of an angle whose cosine and sine are inputs; three for the rotation of a methyl group.
    HARMONICS = (1, 2, 3)
    CIRCULAR_INPUTS = 2 * len(HARMONICS)

    def __init__(self, embedding: int, hidden: int, depth: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.per_linear = 2 + n_parameters(bins, circular=False)
        self.per_circular = 1 + n_parameters(bins, circular=True)
        self.enter_linear = _Generator(embedding, hidden, std=1.0)
        self.enter_circular = _Generator(embedding, self.CIRCULAR_INPUTS * hidden, std=1.0)
        self.enter_molecule = _Generator(embedding, hidden, std=0.1)
        self.temperature = nn.Linear(2, hidden)
        self.inner = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth - 1)])
        self.leave_linear = _Generator(embedding, (hidden + 1) * self.per_linear, std=1e-3)
        self.leave_circular = _Generator(embedding, (hidden + 1) * self.per_circular, std=1e-3)

    def generate(self, linear: Tensor, circular: Tensor, half: _Half) -> _LayerWeights:
        """Weights of this layer from the token embeddings (L, E) and (C, E) of a molecule."""
        hidden = self.temperature.out_features
        drivers = max(1, len(half.linear_driver) + self.CIRCULAR_INPUTS * len(half.circular_driver))
        enter = torch.cat(
            [
                self.enter_linear(linear[half.linear_driver]),
                self.enter_circular(circular[half.circular_driver]).reshape(-1, hidden),
            ]
        ).T / math.sqrt(drivers)
        offset = self.enter_molecule(torch.cat([linear, circular]).mean(dim=0))
        leave_linear = self.leave_linear(linear[half.linear]).view(-1, hidden + 1, self.per_linear)
        leave_circular = self.leave_circular(circular[half.circular]).view(-1, hidden + 1, self.per_circular)
        leave = torch.cat([_flatten(leave_linear[:, :-1]), _flatten(leave_circular[:, :-1])])
        leave_offset = torch.cat([leave_linear[:, -1].T.reshape(-1), leave_circular[:, -1].T.reshape(-1)])
        return _LayerWeights(half, enter, offset, leave, leave_offset)

    def encode(
        self, linear: Tensor, circular: Tensor, temperature_input: Tensor, weights: _LayerWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self._transform(linear, circular, temperature_input, weights, inverse=False)

    def decode(
        self, linear: Tensor, circular: Tensor, temperature_input: Tensor, weights: _LayerWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self._transform(linear, circular, temperature_input, weights, inverse=True)

    def _transform(
        self,
        linear: Tensor,
        circular: Tensor,
        temperature_input: Tensor,
        weights: _LayerWeights,
        *,
        inverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        half = weights.half
        for_linear, for_circular = self._spline_parameters(linear, circular, temperature_input, weights)
        log_det = torch.zeros(linear.shape[1], dtype=linear.dtype, device=linear.device)
        if len(half.linear):
            values, change = _affine_spline(linear.index_select(0, half.linear), for_linear, inverse=inverse)
            linear = linear.index_copy(0, half.linear, values)
            log_det = log_det + change.sum(dim=0)
        if len(half.circular):
            angles = circular.index_select(0, half.circular)
            values, change = _circular_spline(angles, for_circular, inverse=inverse)
            circular = circular.index_copy(0, half.circular, values)
            log_det = log_det + change.sum(dim=0)
        return linear, circular, log_det

    def _spline_parameters(
        self, linear: Tensor, circular: Tensor, temperature_input: Tensor, weights: _LayerWeights
    ) -> tuple[Tensor, Tensor]:
        """Spline parameters (per column, columns, B) of the linear and circular columns, network's dtype."""
        half, dtype, rows = weights.half, weights.enter.dtype, linear.shape[1]
        angles = circular.index_select(0, half.circular_driver)
        waves = torch.stack(
            [wave(n * angles) for n in self.HARMONICS for wave in (torch.cos, torch.sin)], dim=1
        )
        inputs = torch.cat([linear.index_select(0, half.linear_driver), waves.reshape(-1, rows)]).to(dtype)
        warmth = self.temperature.weight @ temperature_input.T
        offset = (weights.offset + self.temperature.bias)[:, None]
        hidden = functional.silu(torch.addmm(warmth + offset, weights.enter, inputs))
        for module in self.inner:
            inner = cast("nn.Linear", module)
            hidden = hidden + functional.silu(torch.addmm(inner.bias[:, None], inner.weight, hidden))
        outputs = torch.addmm(weights.leave_offset[:, None], weights.leave, hidden)
        n_linear, n_circular = len(half.linear), len(half.circular)
        for_linear, for_circular = outputs.split([n_linear * self.per_linear, n_circular * self.per_circular])
        return (
            for_linear.view(self.per_linear, n_linear, rows),
            for_circular.view(self.per_circular, n_circular, rows),
        )


def halves(n_linear: int, n_circular: int, layer: int, seed: int) -> _Half:
    """The fixed halves of layer number `layer`: a random split, and its complement in the next layer."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + layer // 2)
    linear, circular = (torch.randperm(n, generator=generator) for n in (n_linear, n_circular))
    first_linear, second_linear = (
        linear[: (n_linear + 1) // 2].sort()[0],
        linear[(n_linear + 1) // 2 :].sort()[0],
    )
    cut = n_circular // 2
    first_circular, second_circular = circular[:cut].sort()[0], circular[cut:].sort()[0]
    if layer % 2:
        return _Half(second_linear, first_linear, second_circular, first_circular)
    return _Half(first_linear, second_linear, first_circular, second_circular)


def _flatten(weights: Tensor) -> Tensor:
    """(columns, hidden, per column) -> (per column * columns, hidden)."""
    return weights.permute(2, 0, 1).reshape(-1, weights.shape[1])


def _affine_spline(values: Tensor, parameters: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """Shift, scale and spline of whitened coordinates; parameters are (shift, log scale, spline...)."""
    affine, bins = parameters.split([2, len(parameters) - 2])
    shift, log_scale = affine.to(values.dtype).unbind()
    log_scale = torch.tanh(log_scale / 3) * 3
    if inverse:
        values, log_slope = spline_by_parameter(values, bins, bound=BOUND, circular=False, inverse=True)
        return values * torch.exp(log_scale) + shift, log_slope + log_scale
    values = (values - shift) * torch.exp(-log_scale)
    values, log_slope = spline_by_parameter(values, bins, bound=BOUND, circular=False, inverse=False)
    return values, log_slope - log_scale


def _circular_spline(values: Tensor, parameters: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """Rotation and circular spline of angles in [-pi, pi); parameters are (rotation, spline...)."""
    rotation, bins = parameters[0].to(values.dtype), parameters[1:]
    if inverse:
        values, log_slope = spline_by_parameter(values, bins, bound=math.pi, circular=True, inverse=True)
        return _wrap(values - rotation), log_slope
    return spline_by_parameter(_wrap(values + rotation), bins, bound=math.pi, circular=True, inverse=False)


def _wrap(angles: Tensor) -> Tensor:
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def _gather(embedding: CouplingEmbedding, parts: list[Tensor]) -> Tensor:
    """The results of all groups in the order of the batch, padded with zeros on the right."""
    first = parts[0]
    shape = (embedding.n_rows,) if first.dim() == 1 else (embedding.n_rows, embedding.dimension)
    result = torch.zeros(shape, dtype=first.dtype, device=first.device)
    for group, part in zip(embedding.groups, parts, strict=True):
        if first.dim() == 2:
            part = functional.pad(part, (0, embedding.dimension - part.shape[1]))
        result = result.index_copy(0, group.rows, part)
    return result
