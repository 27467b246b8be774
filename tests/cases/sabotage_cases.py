"""Sabotaged flows and ensembles, eight kinds at any strength; none may be judged ok."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.ensemble.ensemble import ROW_FIELDS, Ensemble
from boltzgen.flows.base import Embedding, Flow, InvertibleFlow
from boltzgen.generator import BoltzmannGenerator

#: rad; a torsion's mode is where it lies between two angles on the circle.
Mode = tuple[int, float, float]


class _Around(InvertibleFlow):
    """A flow around another: the same map, to be changed in one place."""

    def __init__(self, inner: InvertibleFlow) -> None:
        super().__init__()
        self.inner = inner

    def embed(self, context: Context) -> Embedding:
        return self.inner.embed(context)

    def encode(self, coordinates: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        return self.inner.encode(coordinates, embedding)

    def decode(self, latents: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        return self.inner.decode(latents, embedding)

    def draw_latents(self, embedding: Embedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.inner.draw_latents(embedding, generator=generator)

    def latent_log_prob(self, latents: Tensor, embedding: Embedding) -> Tensor:
        return self.inner.latent_log_prob(latents, embedding)


class Warmer(_Around):
    """The density that the flow has at `ratio` times the temperature: a little broader."""

    def __init__(self, inner: InvertibleFlow, ratio: float) -> None:
        super().__init__(inner)
        self.ratio = ratio

    def embed(self, context: Context) -> Embedding:
        return self.inner.embed(replace(context, temperature=self.ratio * context.temperature))


class NarrowColumns(_Around):
    """Columns drawn closer to their centres by the factor `scale`, with the density that belongs to it."""

    def __init__(self, inner: InvertibleFlow, columns: np.ndarray, centres: Tensor, scale: float) -> None:
        super().__init__(inner)
        self.columns, self.centres, self.scale = torch.as_tensor(columns), centres, scale

    def _scaled(self, coordinates: Tensor, factor: float) -> Tensor:
        changed = coordinates.clone()
        changed[:, self.columns] = self.centres + factor * (coordinates[:, self.columns] - self.centres)
        return changed

    def encode(self, coordinates: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        latents, log_det = self.inner.encode(self._scaled(coordinates, 1 / self.scale), embedding)
        return latents, log_det - len(self.columns) * np.log(self.scale)

    def decode(self, latents: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        coordinates, log_det = self.inner.decode(latents, embedding)
        return self._scaled(coordinates, self.scale), log_det + len(self.columns) * np.log(self.scale)


class WrongFlowDeterminant(_Around):
    """The log-determinant of the flow's own map, off by the share `error` of itself."""

    def __init__(self, inner: InvertibleFlow, error: float) -> None:
        super().__init__(inner)
        self.error = error

    def encode(self, coordinates: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        latents, log_det = self.inner.encode(coordinates, embedding)
        return latents, (1 + self.error) * log_det

    def decode(self, latents: Tensor, embedding: Embedding) -> tuple[Tensor, Tensor]:
        coordinates, log_det = self.inner.decode(latents, embedding)
        return coordinates, (1 + self.error) * log_det


class RareMode(Flow):
    """A flow that draws the mode with probability `share` (0: never), and knows that it does."""

    def __init__(self, inner: Flow, mode: Mode, share: float, own_share: float) -> None:
        super().__init__()
        self.inner, self.mode, self.share, self.own_share = inner, mode, share, own_share

    def _inside(self, coordinates: Tensor) -> Tensor:
        column, low, high = self.mode
        return torch.remainder(coordinates[:, column] - low, 2 * torch.pi) < (high - low) % (2 * np.pi)

    def _shift(self, inside: Tensor) -> Tensor:
        outside = np.log((1 - self.share) / (1 - self.own_share))
        within = np.log(self.share / self.own_share) if self.share > 0 else -np.inf
        return torch.where(inside, within, outside)

    def embed(self, context: Context) -> Embedding:
        return self.inner.embed(context)

    def log_prob(self, coordinates: Tensor, embedding: Embedding) -> Tensor:
        return self.inner.log_prob(coordinates, embedding) + self._shift(self._inside(coordinates))

    def sample(self, embedding: Embedding, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        values, density = self.inner.sample(embedding, generator=generator)
        wanted = torch.rand(len(values), generator=generator) < self.share
        for _ in range(1000):
            wrong = self._inside(values) != wanted
            if not bool(wrong.any()):
                break
            again, also = self.inner.sample(embedding, generator=generator)
            values = torch.where(wrong[:, None], again, values)
            density = torch.where(wrong, also, density)
        return values, density + self._shift(self._inside(values))


class WrongVolume:
    """Coordinates whose log-determinant is changed by `change` (log_det, values) -> log_det."""

    def __init__(self, inner, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._inner, self._change = inner, change

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = self._inner.encode(positions)
        return values, -self._change(-log_det, values)

    def decode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        positions, log_det = self._inner.decode(values)
        return positions, self._change(log_det, values)


@dataclass(frozen=True)
class Case:
    """What is examined: the generator that drew the samples, and the samples."""

    generator: BoltzmannGenerator
    ensemble: Ensemble


Bench = tuple[BoltzmannGenerator, int, int]


def _with_flow(generator: BoltzmannGenerator, flow: Flow) -> BoltzmannGenerator:
    return BoltzmannGenerator(flow, generator.target)


def _values(generator: BoltzmannGenerator, seed: int, temperature: float = 300.0) -> Tensor:
    ensemble = generator.sample(4000, temperature, seed=seed + 1000)
    return generator.target.coordinates.encode(torch.as_tensor(np.array(ensemble.positions)).double())[0]


def mode_at(generator: BoltzmannGenerator, number: int, seed: int, mode: Mode, share: float) -> Case:
    """A mode of a torsion that the flow draws with probability `share`; 0 drops it."""
    whole = RareMode(generator.flow, mode, 0.5, 0.5)
    own = float(whole._inside(_values(generator, seed)).double().mean())
    changed = _with_flow(generator, RareMode(generator.flow, mode, share, own))
    return Case(changed, changed.sample(number, 300.0, seed=seed))


def narrow_bonds(generator: BoltzmannGenerator, number: int, seed: int, scale: float) -> Case:
    """All bonds drawn too close to their centres."""
    columns = np.flatnonzero(np.array(generator.target.coordinates.table.kind) == "bond")
    centres = _values(generator, seed)[:, torch.as_tensor(columns)].mean(dim=0)
    changed = _with_flow(generator, NarrowColumns(generator.flow, columns, centres, scale))
    return Case(changed, changed.sample(number, 300.0, seed=seed))


def wrong_temperature(generator: BoltzmannGenerator, number: int, seed: int, ratio: float) -> Case:
    """Drawn and weighed at another temperature than the record says."""
    drawn = generator.sample(number, 300.0 * ratio, seed=seed)
    return Case(generator, replace(drawn, temperature=300.0))


def nan_energies(generator: BoltzmannGenerator, number: int, seed: int, share: float) -> Case:
    """A share of the energies is NaN, as from a worker that died."""
    drawn = generator.sample(number, 300.0, seed=seed)
    u = np.array(drawn.u)
    u[_some(number, share, seed)] = np.nan
    spoilt = Ensemble.from_densities(
        drawn.positions,
        drawn.log_q,
        u,
        temperature=300.0,
        measure=drawn.measure,
        system_fingerprint=drawn.system_fingerprint,
        domain=drawn.domain,
        topology_pdb=drawn.topology_pdb,
        reason=drawn.reason,
    )
    return Case(generator, spoilt)


def wrong_determinant(generator: BoltzmannGenerator, number: int, seed: int, what: str) -> Case:
    """A log-determinant that is wrong in the coordinates or in the flow; `what` says how."""
    columns = np.array(generator.target.coordinates.table.kind)
    bonds, angles = (torch.as_tensor(np.flatnonzero(columns == kind)) for kind in ("bond", "angle"))
    if what.startswith("flow"):
        changed = _with_flow(generator, WrongFlowDeterminant(generator.flow, float(what.split()[1])))
    else:
        change = {
            "one percent": lambda log_det, values: 1.01 * log_det,
            "last bond once": lambda log_det, values: log_det - values[:, bonds[-1]].log(),
            "no sines": lambda log_det, values: log_det - values[:, angles].sin().log().sum(dim=1),
        }[what]
        wrong = WrongVolume(generator.target.coordinates, change)
        changed = BoltzmannGenerator(generator.flow, replace(generator.target, coordinates=wrong))
    return Case(changed, changed.sample(number, 300.0, seed=seed))


def duplicated(generator: BoltzmannGenerator, number: int, seed: int, share: float) -> Case:
    """A share of the rows replaced by copies of others, whole rows."""
    drawn = generator.sample(number, 300.0, seed=seed)
    order = np.arange(number)
    rows = _some(number, share, seed)
    order[rows] = np.random.default_rng(seed).choice(np.setdiff1d(order, rows), len(rows))
    return Case(generator, drawn[order])


def swapped(generator: BoltzmannGenerator, number: int, seed: int, share: float) -> Case:
    """Conformations of a share of the rows moved to other rows; densities, energies and weights stay."""
    drawn = generator.sample(number, 300.0, seed=seed)
    rows = _some(number, share, seed)
    positions = np.array(drawn.positions)
    positions[rows] = positions[np.roll(rows, 1)]
    arrays = {name: getattr(drawn, name) for name in ROW_FIELDS}
    return Case(generator, replace(drawn, **{**arrays, "positions": positions}))


def healthy(generator: BoltzmannGenerator, number: int, seed: int, ratio: float) -> Case:
    """Nothing wrong; drawn at `ratio` times the temperature and weighed honestly."""
    warmer = _with_flow(generator, Warmer(generator.flow, ratio)) if ratio != 1 else generator
    return Case(warmer, warmer.sample(number, 300.0, seed=seed))


def _some(number: int, share: float, seed: int) -> np.ndarray:
    count = max(2, round(share * number))
    return np.sort(np.random.default_rng(seed + 77).choice(number, count, replace=False))
