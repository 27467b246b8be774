"""The work of taking target samples of one system to another, by the flows of both or by no map at all.

    x of A  ->  z = latent of flow A  ->  y decoded by flow B,     W = u_B(y) - u_A(x) - log|det dy/dx|

Targeted free energy perturbation (Jarzynski, Phys. Rev. E 65, 046122 (2002)) with the map that both flows
make through the latent space that they share; the other direction is the same with A and B exchanged, which
is the inverse map. Volumes are of the measure of the coordinates (shape measure, nm). Estimators
(`boltzgen.free_energy.work`) see the arrays alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import StoppedError
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest


@dataclass(frozen=True, eq=False)
class System:
    """One end of a difference: a flow that was asked about one target, and the temperature (K)."""

    name: str
    generator: BoltzmannGenerator
    temperature: float

    @property
    def batch_rows(self) -> int:
        return self.generator.target.batch_rows()

    def energy(self, positions: Tensor) -> Tensor:
        """Reduced energies (B,) at the temperature of this end."""
        return self.generator.target.reduced_energy(positions, self.temperature)


@dataclass(frozen=True)
class Work:
    """Work (n,) float64 in kT, ``+inf`` for rows that do not arrive, and how many rows do not, by reason."""

    work: np.ndarray
    lost: dict[str, int]
    energy_evaluations: int


def why_not_mapped(a: System, b: System) -> str | None:
    """Why the two flows make no map between `a` and `b`; None when they do."""
    if not all(end.generator.has_latents for end in (a, b)):
        return "a flow without a latent space makes no map"
    tables = [end.generator.target.coordinates.table for end in (a, b)]
    if not np.array_equal(tables[0].circular, tables[1].circular):
        return "the two molecules have coordinates of different kinds, so that their latent spaces differ"
    return None


@torch.no_grad()
def mapped_work(
    a: System, b: System, positions: np.ndarray, u: np.ndarray | None = None, stop: StopRequest | None = None
) -> Work:
    """Work of taking samples `positions` (n, ...) of the target `a` through both flows to `b`.

    `u` (n,) are their reduced energies in `a`, computed when not given. See `why_not_mapped` first.
    """

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        latents, first = a.generator.encode(x, a.temperature)
        y, second = b.generator.decode(latents, b.temperature)
        return y, first + second

    return _work(a, b, positions, u, step, stop)


@torch.no_grad()
def direct_work(
    a: System, b: System, positions: np.ndarray, u: np.ndarray | None = None, stop: StopRequest | None = None
) -> Work:
    """``u_B(x) - u_A(x)`` of samples `positions` (n, ...) of the target `a`: no map."""
    return _work(a, b, positions, u, lambda x: (x, x.new_zeros(len(x))), stop)


@torch.no_grad()
def density_work(
    end: System, positions: np.ndarray, u: np.ndarray | None = None, stop: StopRequest | None = None
) -> Work:
    """``log q - (-u) = u + log q`` of positions under the flow of `end`: work from the flow to its target.

    Of samples of the flow, BAR takes it as it is; of samples of the target with the other sign
    (`target_work`).
    """
    parts, evaluations = [], 0
    for batch, _, known in _batches(end, positions, u, stop=stop):
        density, _ = end.generator.log_prob(batch, end.temperature)
        energy = end.energy(batch) if known is None else known
        evaluations += len(batch) if known is None else 0
        parts.append((energy.to(density) + density).cpu().numpy())
    return Work(np.concatenate(parts), {}, evaluations)


def target_work(
    end: System, positions: np.ndarray, u: np.ndarray | None = None, stop: StopRequest | None = None
) -> Work:
    """``-u - log q`` at target samples: the work from the target to the flow, +inf where log q is -inf."""
    found = density_work(end, positions, u, stop)
    lost = int(np.isneginf(found.work).sum())
    return Work(-found.work, {"no density under the flow": lost} if lost else {}, found.energy_evaluations)


def _work(
    a: System,
    b: System,
    positions: np.ndarray,
    u: np.ndarray | None,
    step: Callable[[Tensor], tuple[Tensor, Tensor]],
    stop: StopRequest | None,
) -> Work:
    parts, lost, evaluations = [], Counter[str](), 0
    start, end = a.generator.target, b.generator.target
    for batch, _, known in _batches(a, positions, u, b.batch_rows, stop):
        y, log_det = step(batch)
        u_a = a.energy(batch) if known is None else known
        evaluations += len(batch) * (1 if known is not None else 2)
        work = (b.energy(y).to(log_det) - u_a.to(log_det) - log_det).cpu().numpy()
        unmapped = torch.isneginf(log_det).cpu().numpy()
        reasons = np.where(unmapped, start.reasons(batch), end.reasons(y)).astype("U64")
        reasons[(reasons == "") & ~np.isfinite(work)] = "energy not finite"
        lost.update(str(reason) for reason in reasons[reasons != ""])
        parts.append(np.where(reasons == "", work, np.inf))
    return Work(np.concatenate(parts), dict(lost), evaluations)


def _batches(
    end: System,
    positions: np.ndarray,
    u: np.ndarray | None,
    rows: int | None = None,
    stop: StopRequest | None = None,
) -> Iterator[tuple[Tensor, slice, Tensor | None]]:
    """Batches of positions (float64, on the device of `end`), their rows and their known energies.

    StoppedError, before a batch, once `stop` is requested: of a part of the rows no work is told.
    """
    size = min(end.batch_rows, rows or end.batch_rows)
    device = end.generator.target.reference.device
    for start in range(0, len(positions), size):
        if stop is not None and stop.requested:
            raise StoppedError(stop.reason)
        chosen = slice(start, start + size)
        batch = torch.as_tensor(np.array(positions[chosen]), dtype=torch.float64, device=device)
        known = None if u is None else torch.as_tensor(np.array(u[chosen]), device=device)
        yield batch, chosen, known
