"""What `benchmark transfer` keeps of the samples of one molecule, and of its reference frames.

Positions are thrown away batch by batch: of a sample remain its weight, its energy, why it was rejected, and
its phi and psi, so that 1e5 samples of any molecule take a few MB.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.data.record import Trajectory, joined
from boltzgen.data.statistics import slowest_inefficiencies
from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError, StoppedError
from boltzgen.free_energy.ramachandran import backbone_torsions
from boltzgen.free_energy.variables import Variable
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.symmetry import rotor_groups, turn_rotors
from boltzgen.units import thermal_energy

#: Seed of the turns of methyl-like groups.
ROTOR_SEED = 5


@dataclass(frozen=True)
class Backbone:
    """Names of the torsions, phi first, and what is needed to measure them on positions."""

    topology_pdb: str

    def names(self) -> tuple[str, ...]:
        return tuple(variable.name for variable in self._variables())

    def angles(self, positions: np.ndarray) -> np.ndarray:
        """(n, K) rad of positions (n, N, 3) nm; NaN where positions are not finite."""
        found = [np.radians(variable.evaluate(positions)) for variable in self._variables()]
        return np.stack(found, axis=1) if found else np.empty((len(positions), 0))

    def _variables(self) -> list[Variable]:
        phi, psi = backbone_torsions(self.topology_pdb)
        return [*phi.values(), *psi.values()]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples of a flow, one row each: log_w (N,) with -inf for rejected ones, u (N,) in kT, reason (N,),
    angles (N, K) rad; and the seconds that drawing and weighing them took."""

    log_w: np.ndarray
    u: np.ndarray
    reason: np.ndarray
    angles: np.ndarray
    seconds: float

    def rejected(self) -> dict[str, int]:
        """How many samples were rejected, by reason."""
        return _counted(self.reason)


@dataclass(frozen=True, eq=False)
class Exchange:
    """A replica exchange: K temperatures (K), T times, a column for the frames of one time.

    u: (K, T) in kT, each at its own temperature. angles: (K, T, torsions) rad. inside: (K, T), whether a
    frame lies in the flow's domain.
    """

    temperatures: np.ndarray
    u: np.ndarray
    angles: np.ndarray
    inside: np.ndarray


@dataclass(frozen=True, eq=False)
class Reference:
    """Frames of the target at one temperature that lie in the flow's domain, in their order.

    Attributes
    ----------
    source: where they come from. digest: of all frames at that temperature. outside: how many frames were
        left out, by reason.
    positions: (n, N, 3) nm. u: (n,) in kT. angles: (n, K) rad. inefficiency: frames per independent frame.
    exchange: the frames of all temperatures, where a replica exchange made them.
    """

    source: str
    digest: str
    outside: dict[str, int]
    positions: np.ndarray
    u: np.ndarray
    angles: np.ndarray
    inefficiency: float
    exchange: Exchange | None = None

    def halves(self) -> tuple[slice, slice]:
        """The rows of the first and of the second half."""
        half = len(self.u) // 2
        return slice(0, half), slice(len(self.u) - half, len(self.u))


def draw(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    *,
    seed: int,
    stop: StopRequest,
    progress: Progress,
) -> Drawn:
    """`number` samples at `temperature` (K); StoppedError when `stop` asks before all are drawn."""
    backbone = Backbone(generator.target.topology_pdb)
    list(generator.draw(1, temperature, seed=seed))  # libraries load, buffers grow, and the GPU wakes up
    parts, done, seconds = [], 0, 0.0
    draws = generator.draw(number, temperature, seed=seed)
    while done < number:
        if stop.requested:
            raise StoppedError(f"{stop.reason} while drawing {generator.target.name}; what is done is saved.")
        began = time.perf_counter()
        part = next(draws)
        seconds += time.perf_counter() - began
        parts.append((part.log_w, part.u, part.reason, backbone.angles(part.positions)))
        done += len(part)
        progress(done, number, {"molecule": generator.target.name})
    log_w, u, reason, angles = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Drawn(log_w, u, reason, angles, seconds)


def read_reference(
    generator: BoltzmannGenerator, molecule: MolecularSystem, data: Path | None, temperature: float
) -> Reference | str:
    """The frames of `data` at `temperature` (K), with energies of the target; or why there are none.

    Methyl-like groups are turned at random: the labels of their hydrogens mix slowly in a simulation at one
    temperature, and never mattered to the target.
    """
    if data is None:
        return "the data set holds no simulation of this molecule"
    whole = read_trajectory(data, molecule)
    try:
        frames = whole.at(temperature)
    except InputError as error:
        return str(error)
    target = generator.target
    positions = torch.as_tensor(np.array(frames.positions), dtype=torch.float64)
    positions = turn_rotors(positions, rotor_groups(target), torch.Generator().manual_seed(ROTOR_SEED))
    with torch.no_grad():
        u = [
            target.reduced_energy(part.to(target.reference.device), temperature).cpu().numpy()
            for part in positions.split(target.batch_rows())
        ]
    reason = _reasons(target, positions)
    kept = reason == ""
    if kept.sum() < 4:
        return f"{int(kept.sum())} of the {len(kept)} frames lie in the flow's domain"
    computed = np.concatenate(u) * thermal_energy(temperature)
    energies = np.where(np.isfinite(frames.energies), frames.energies, computed)
    slowest = frames.statistical_inefficiency or slowest_inefficiencies(
        replace(frames, energies=energies), molecule
    )
    inner = positions.numpy()[kept].astype(np.float32)
    return Reference(
        str(data),
        frames.digest(),
        _counted(reason),
        inner,
        np.concatenate(u)[kept],
        Backbone(target.topology_pdb).angles(inner),
        max([1.0, *slowest.values()]),
        _exchange(whole, generator),
    )


def _reasons(target: Target, positions: torch.Tensor) -> np.ndarray:
    """Why each of `positions` (n, N, 3) lies outside the domain; "" for those inside."""
    parts = positions.split(target.batch_rows())
    return np.concatenate([target.reasons(part.to(target.reference.device)) for part in parts])


def _exchange(whole: Trajectory, generator: BoltzmannGenerator) -> Exchange | None:
    """All frames of `whole` by temperature and time; None for one temperature or unequal numbers."""
    ladder, target = whole.temperature_ladder, generator.target
    parts = [whole.at(float(kelvin)) for kelvin in ladder]
    if len(ladder) < 2 or len({len(part) for part in parts}) > 1 or not np.isfinite(whole.energies).all():
        return None
    frames, shape = joined(parts), (len(ladder), len(parts[0]))
    inside = _reasons(target, torch.as_tensor(frames.positions, dtype=torch.float64)) == ""
    angles = Backbone(target.topology_pdb).angles(frames.positions)
    u = frames.energies.reshape(shape) / thermal_energy(ladder[:, None])
    return Exchange(ladder, u, angles.reshape(*shape, angles.shape[1]), inside.reshape(shape))


def _counted(reason: np.ndarray) -> dict[str, int]:
    """How often each reason but the empty one occurs."""
    names, counts = np.unique(reason[reason != ""], return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def reference_log_weights(
    generator: BoltzmannGenerator, reference: Reference, temperature: float
) -> np.ndarray:
    """``-u - log_q`` (n,) at the reference frames; +inf where the flow has no density."""
    positions = torch.as_tensor(np.array(reference.positions), dtype=torch.float64)
    return generator.target_log_weights(positions, torch.as_tensor(reference.u), temperature)


def latents_of(
    generator: BoltzmannGenerator, reference: Reference, temperature: float, rows: np.ndarray
) -> np.ndarray | None:
    """Latents (m, D) of reference frames number `rows`; None for a flow that has no latents.

    Linear coordinates have standard normal latents under the flow, circular ones uniform on [-pi, pi).
    """
    target = generator.target
    if not generator.has_latents:
        return None
    positions = torch.as_tensor(np.array(reference.positions[rows]), dtype=torch.float64)
    found = []
    with torch.no_grad():
        for part in positions.split(target.batch_rows()):
            latents, _ = generator.encode(part.to(target.reference.device), temperature)
            found.append(latents.cpu().numpy())
    return np.concatenate(found)


def figures_of_speed(drawn: Drawn, ess: float) -> dict[str, Any]:
    """Seconds, samples and effective samples per second, energies included."""
    number = len(drawn.log_w)
    return {
        "seconds": drawn.seconds,
        "samples_per_second": number / drawn.seconds,
        "effective_samples_per_second": ess * number / drawn.seconds,
    }
