"""The flow's own samples, kept with their energies and the densities they were drawn with.

Forward Kullback-Leibler divergence from the target by importance sampling: what the buffer hands out follows
the target as far as its weights allow, and the flow learns it by likelihood and log-dispersion (as Midgley et
al., arXiv 2208.01893, and Schopmans & Friederich, arXiv 2501.19077, do). An energy is paid for once and
learned from several times; the weights stay right, because each sample keeps the density of its own draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.training.losses.importance import training_weights
from boltzgen.training.pairs import Pairs

#: Fields of `Samples` that a buffer keeps of each row, where it does not say otherwise.
KEPT = ("coordinates", "log_det", "log_q", "energy")


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws of a flow at one temperature.

    Attributes
    ----------
    coordinates: (B, D) float64. log_det: (B,) of decoding. log_q: (B,) the density of the draw, flat in the
        coordinates. energy: (B,) ``u`` times the temperature in K; inf where the draw is no conformation.
    evaluations: energies that they cost.
    """

    coordinates: Tensor
    log_det: Tensor
    log_q: Tensor
    energy: Tensor
    evaluations: int

    def __len__(self) -> int:
        return len(self.energy)


@torch.no_grad()
def draw_samples(
    flow: Flow, target: Target, temperature: float, rows: int, generator: torch.Generator
) -> Samples:
    """`rows` draws of `flow` at `temperature` (K) with their energies; each costs one evaluation."""
    context = Context.of(target.features, temperature, rows)
    coordinates, log_q = flow.sample(flow.embed(context), generator=generator)
    positions, log_det = target.coordinates.decode(coordinates)
    energy = target.reduced_energy(positions, temperature) * temperature
    sound = torch.isfinite(energy) & torch.isfinite(log_q - log_det) & target.coordinates.inside(positions)
    return Samples(coordinates, log_det, log_q, torch.where(sound, energy, torch.inf), evaluations=rows)


class ReplayBuffer:
    """The last `capacity` samples of one molecule at one rung of the ladder of temperatures.

    names: fields of `Samples` that are kept; `draw` needs all of `KEPT`.
    """

    def __init__(self, capacity: int, names: tuple[str, ...] = KEPT) -> None:
        self.capacity, self.names = capacity, names
        self.kept: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.kept["energy"]) if self.kept else 0

    def add(self, samples: Samples) -> None:
        """Put in sound `samples`; the oldest beyond the capacity are dropped."""
        sound = torch.isfinite(samples.energy)
        new = {name: getattr(samples, name)[sound] for name in self.names}
        if self.kept:
            new = {name: torch.cat([self.kept[name], value]) for name, value in new.items()}
        self.kept = {name: value[-self.capacity :] for name, value in new.items()}

    def draw(
        self,
        target: Target,
        temperature: float,
        rows: int,
        *,
        largest_share: float,
        trust_region: float | None = None,
        entropy_drop: float | None = None,
        generator: torch.Generator,
    ) -> Pairs:
        """`rows` samples, drawn with replacement by their weights to the target at `temperature` (K)."""
        coordinates, log_det, log_q, energy = (self.kept[name] for name in KEPT)
        log_w = log_det - log_q - energy / temperature
        weights = training_weights(
            log_w, log_q - log_det, largest_share, trust_region=trust_region, entropy_drop=entropy_drop
        )
        chosen = torch.multinomial(weights.cpu(), rows, replacement=True, generator=generator)
        chosen = chosen.to(weights.device)
        return Pairs(
            coordinates[chosen],
            Context.of(target.features, temperature, rows),
            energy[chosen] / temperature - log_det[chosen],
        )

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps; `restore` takes it back."""
        return self.kept

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.kept = tensors
