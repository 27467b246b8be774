"""A Gaussian flow, harmonic wells in closed form, walls without energies, and a flow without latents."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from boltzgen.flows.base import Flow, InvertibleFlow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.model_systems import HarmonicWell
from boltzgen.refine.latent import LatentTarget

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


#: Of an anisotropic Gaussian that torch moves, as the tests of dynamics share it.
STIFFNESSES = torch.tensor([0.7, 9.0, 60.0], dtype=torch.float64)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def oscillators(x):
    """Its energies and gradients."""
    return 0.5 * (STIFFNESSES * x**2).sum(1), STIFFNESSES * x
