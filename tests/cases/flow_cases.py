"""One constructor for each kind of flow, flows far from their start, and one in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from helpers import randomised

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import N_FEATURES
from boltzgen.config.build import build_flow
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.flows.base import Flow, InvertibleFlow
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.model_systems import HarmonicWell
from boltzgen.refine.latent import LatentTarget

#: Spread of the random weights: far from the start, short of saturating the links.
SPREAD = {"alanine": 0.025, "butane": 0.065, "small": 0.03}
#: The one network of an autoregressive flow moves the density less than a stack of layers does.
FACTOR = {"autoregressive": 3.0}

FLOWS = {
    "coupling": CouplingSettings(layers=4, hidden=24, bins=6, embedding=16, encoder_blocks=1),
    "coupling-deep": CouplingSettings(layers=3, hidden=16, depth=3, bins=4, embedding=8, encoder_blocks=0),
    "autoregressive": AutoregressiveSettings(hidden=24, bins=6, embedding=16, encoder_blocks=1),
}


def random_flow(name: str, molecule: str = "alanine", dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """A flow whose weights are far from where training starts."""
    spread = SPREAD[molecule] * FACTOR.get(name, 1.0)
    flow = build_flow(FLOWS[name], seed=5).to(dtype)
    randomised(flow, spread)
    return flow


def small_molecule(kinds: tuple[str, str]) -> MoleculeFeatures:
    """Two coordinates of the kinds given, with correlated features and a tilted whitening."""
    supports = {"circle": (-math.pi, math.pi), "angle": (0.0, math.pi), "bond": (0.0, math.inf)}
    circular = torch.tensor([kind == "circle" for kind in kinds])
    size = int((~circular).sum())
    whitening = torch.tensor([[0.11, 0.0], [0.05, 0.09]], dtype=torch.float64)[:size, :size]
    centres = {"angle": 0.3, "bond": -1.1}
    return MoleculeFeatures(
        fingerprint="-".join(kinds),
        tokens=torch.randn(2, N_FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
        graph_distance=torch.tensor([[0, 1], [1, 0]]),
        circular=circular,
        lower=torch.tensor([supports[kind][0] for kind in kinds], dtype=torch.float64),
        upper=torch.tensor([supports[kind][1] for kind in kinds], dtype=torch.float64),
        centre=torch.tensor([centres[kind] for kind in kinds if kind != "circle"], dtype=torch.float64),
        whitening=whitening,
        thermal_energy_unit=8.314e-3,
    )


#: The flow N(0, WIDTH^2) in DIMENSION coordinates, the target exp(-STIFFNESS |x|^2 / 2).
WIDTH, STIFFNESS, DIMENSION = 1.3, 4.0, 3


class GaussianFlow(InvertibleFlow):
    """z -> WIDTH z, in closed form."""

    def embed(self, context):
        return context.rows, context.dimension

    def encode(self, coordinates, embedding):
        return coordinates / WIDTH, coordinates.new_full((len(coordinates),), -self._change(embedding))

    def decode(self, latents, embedding):
        return latents * WIDTH, latents.new_full((len(latents),), self._change(embedding))

    def draw_latents(self, embedding, *, generator):
        latents = torch.randn(embedding, generator=generator, dtype=torch.float64)
        return latents, self.latent_log_prob(latents, embedding)

    def latent_log_prob(self, latents, embedding):
        return -0.5 * (latents**2).sum(1) - 0.5 * embedding[1] * math.log(2 * math.pi)

    @staticmethod
    def _change(embedding):
        return embedding[1] * math.log(WIDTH)


class Walled(HarmonicWell):
    """No energy (NaN) where the first coordinate is below the wall, and an endless one above the other."""

    LOW, HIGH = -0.4, 0.9

    def _energy(self, positions):
        x = positions[:, 0]
        energy = torch.where(x < self.LOW, torch.nan, super()._energy(positions))
        return torch.where(x > self.HIGH, torch.inf, energy)


def gaussian(potential=None, rows=4000) -> LatentTarget:
    target = Target.from_model(f"harmonic-well-{STIFFNESS:g}-{DIMENSION}")
    if potential is not None:
        target = replace(target, potential=potential)
    return LatentTarget(BoltzmannGenerator(GaussianFlow(), target), 300.0, rows=rows)


class NoLatents(Flow):
    def embed(self, context):
        return None

    def log_prob(self, coordinates, embedding):
        return coordinates.sum(1)

    def sample(self, embedding, *, generator):
        raise NotImplementedError
