"""Fitting the networks of ``xtb-ala2-small`` to energies and forces, for ``train_xtb_ala2_small.py``.

The symmetry functions of every conformation, and their slopes along a few random directions, are computed
once; a step of training then meets nothing but small matrices. A gradient is learned through its components
along those directions: over random directions ``v`` of unit variance, ``E[(g . v)^2] = |g|^2``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from xtb_ala2_data import Pool, molecule
from xtb_ala2_model import CELU_ALPHA, HIDDEN, SETTINGS, random_weights, trained_on

from boltzgen.files import atomic_path
from boltzgen.potentials.learned.ani_network import SHIPPED, AniNetwork, NetworkModel
from boltzgen.training.optimizer.soap import Soap

#: Directions along which a conformation's gradient is learned, and the step (nm) of their differences.
DIRECTIONS, STEP = 6, 1e-5

#: kJ/mol above the lowest label: scale beyond which labels count less; beyond which only energies that are
#: too low are wrong; and at which labels are cut.
SOFT, ONE_SIDED, CEILING = 200.0, 1000.0, 3000.0

#: kJ/mol/nm: an error of this size in a component of the gradient weighs as much as 1 kJ/mol in the energy.
GRADIENT_SCALE = 60.0


@dataclass
class Features:
    """Element -> (n, 1 + DIRECTIONS, atoms, length): symmetry functions and their slopes; and the targets."""

    functions: dict[str, Tensor]
    energy: Tensor
    slope: Tensor
    above: Tensor


def element_atoms() -> dict[str, np.ndarray]:
    symbol = {1: "H", 6: "C", 7: "N", 8: "O"}
    symbols = np.array([symbol[int(number)] for number in molecule().atomic_numbers])
    return {element: np.flatnonzero(symbols == element) for element in SETTINGS.elements}


def blank_network() -> AniNetwork:
    """A network without meaning, for its symmetry functions and its repulsion."""
    zero = dict.fromkeys(SETTINGS.elements, 0.0)
    model = NetworkModel(SHIPPED, SETTINGS, CELU_ALPHA, zero, random_weights(0), trained_on())
    return AniNetwork(model, np.asarray(molecule().atomic_numbers))


def featurise(pool: Pool, cache: Path, name: str) -> dict[str, np.ndarray]:
    """``functions`` (n, 1 + D, N, length) float32, ``energy`` (n,), ``slope`` (n, D): labels less repulsion.

    Kept in `cache` under `name` for the next time.
    """
    key = hashlib.sha256(repr(SETTINGS).encode() + pool.positions.tobytes()).hexdigest()[:16]
    path = cache / f"{name}-{key}.npz"
    if path.is_file():
        with np.load(path) as file:
            return {field: file[field] for field in file.files}
    rng = np.random.default_rng(int(key[:8], 16))
    directions = rng.normal(size=(DIRECTIONS, *pool.positions.shape))
    network, positions = blank_network(), torch.as_tensor(pool.positions)
    functions, energy = _both(network, positions)
    slopes, wall = [], []
    for direction in torch.as_tensor(directions):
        ahead, behind = (_both(network, positions + sign * STEP * direction) for sign in (1, -1))
        slopes.append(((ahead[0] - behind[0]) / (2 * STEP)).float())
        wall.append((ahead[1] - behind[1]) / (2 * STEP))
    along = np.einsum("nax,dnax->nd", pool.gradients, directions)
    out = {
        "functions": torch.stack([functions.float(), *slopes], dim=1).numpy(),
        "energy": pool.energies - energy.numpy(),
        "slope": along - torch.stack(wall, dim=1).numpy(),
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, **out)
    return out


@torch.no_grad()
def _both(network: AniNetwork, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetry functions (n, N, length) and repulsion (n,) in kJ/mol."""
    blocks = [block.permute(1, 2, 0).contiguous() for block in positions.split(128)]
    functions = torch.cat([network.functions.values(x).permute(2, 0, 1) for x in blocks])
    return functions, torch.cat([network.repulsion.energy(x) for x in blocks])


class Trainable(nn.Module):
    """The element networks with their tangents: (functions, slopes) -> (energy, slope of the energy)."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.parameters_by_name = nn.ParameterDict(
            {name.replace(".", "_"): nn.Parameter(torch.as_tensor(value)) for name, value in weights.items()}
        )
        for name, value in self.parameters_by_name.items():
            value.requires_grad_(not name.endswith(("mean", "scale")))

    def forward(self, functions: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """`functions`: element -> (batch, 2, atoms, length). Returns (batch,) and (batch,)."""
        total: Tensor = torch.zeros(())
        for element, pair in functions.items():
            get = self.parameters_by_name
            value = (pair[:, 0] - get[f"{element}_mean"]) / get[f"{element}_scale"]
            slope = pair[:, 1] / get[f"{element}_scale"]
            both = torch.stack([value, slope])
            for layer in range(len(HIDDEN) + 1):
                if layer:
                    bend = torch.exp(both[0].clamp_max(0) / CELU_ALPHA)
                    both = torch.stack([nn.functional.celu(both[0], alpha=CELU_ALPHA), bend * both[1]])
                both = both @ get[f"{element}_{layer}_weight"].T
                both = torch.stack([both[0] + get[f"{element}_{layer}_bias"], both[1]])
            total = total + both.sum((2, 3))
        return total[0], total[1]

    def weights(self) -> dict[str, np.ndarray]:
        return {
            name.replace("_", "."): value.detach().numpy().copy()
            for name, value in self.parameters_by_name.items()
        }


def loss(energy: Tensor, slope: Tensor, target: Tensor, target_slope: Tensor, above: Tensor) -> Tensor:
    """Squared errors of energies and slopes, milder where strained, one-sided where wrecked."""
    weight = 1 / (1 + (above / SOFT) ** 2)
    error = energy - target
    error = torch.where((above > ONE_SIDED) & (error > 0), 0.0, error)
    along = (slope - target_slope) ** 2 / (3 * molecule().n_atoms * GRADIENT_SCALE**2)
    along = torch.where(above > ONE_SIDED, 0.0, along)
    weighted = error * weight.sqrt()
    robust = nn.functional.huber_loss(weighted, torch.zeros_like(error), delta=20.0, reduction="none")
    return (2 * robust + weight * along).mean()


def gather(pools: dict[str, Pool], cache: Path, per_atom: float) -> Features:
    """All pools with sound labels as tensors; energies less `per_atom` kJ/mol for each atom."""
    lowest = min(float(np.nanmin(pool.energies)) for pool in pools.values())
    parts = []
    for name, pool in pools.items():
        made = featurise(pool, cache, name)
        keep = np.isfinite(pool.energies) & np.isfinite(made["slope"]).all(1)
        keep &= np.isfinite(made["functions"]).all((1, 2, 3))
        above = pool.energies[keep] - lowest
        cut = np.minimum(0.0, CEILING - above)
        parts.append((made["functions"][keep], made["energy"][keep] + cut, made["slope"][keep], above))
    n_atoms = molecule().n_atoms
    energy, slope, above = (torch.as_tensor(np.concatenate([p[i] for p in parts])) for i in (1, 2, 3))
    functions = {
        element: torch.as_tensor(np.concatenate([part[0][:, :, atoms] for part in parts]))
        for element, atoms in element_atoms().items()
    }
    return Features(functions, (energy - n_atoms * per_atom).float(), slope.float(), above.float())


def standardise(weights: dict[str, np.ndarray], features: Features) -> None:
    """Write mean and scale of the symmetry functions of unwrecked conformations into `weights`."""
    sound = features.above < ONE_SIDED
    for element, functions in features.functions.items():
        values = functions[sound, 0].flatten(0, 1).double()
        weights[f"{element}.mean"] = values.mean(0).numpy().astype(np.float32)
        weights[f"{element}.scale"] = (values.std(0) + 0.02).numpy().astype(np.float32)


def fit(
    features: Features,
    weights: dict[str, np.ndarray],
    *,
    rate: float,
    seed: int,
    batch: int = 256,
    seconds: float,
    report: Callable[[str], None] = print,
) -> dict[str, np.ndarray]:
    """SOAP for `seconds`, the rate falling as a cosine; returns the averaged weights."""
    generator = torch.Generator().manual_seed(seed)
    network = Trainable(weights)
    chosen = [p for p in network.parameters() if p.requires_grad]
    optimizer = Soap(chosen, rate)
    average = [p.detach().clone() for p in chosen]
    n, start, step = len(features.energy), time.monotonic(), 0
    progress, losses = 0.0, []
    while progress < 1:
        progress = (time.monotonic() - start) / seconds
        cosine = 0.5 + 0.5 * np.cos(np.pi * min(progress, 1.0))
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 100) * cosine + 1e-6
        rows = torch.randint(n, (batch,), generator=generator)
        way = torch.randint(DIRECTIONS, (batch,), generator=generator)
        picked = {e: torch.stack([f[rows, 0], f[rows, 1 + way]], 1) for e, f in features.functions.items()}
        energy, slope = network(picked)
        value = loss(energy, slope, features.energy[rows], features.slope[rows, way], features.above[rows])
        network.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(chosen, 100.0)
        optimizer.step()
        decay = min(0.999, (step + 1) / (step + 10))
        for mean, parameter in zip(average, chosen, strict=True):
            mean.lerp_(parameter.detach(), 1 - decay)
        losses.append(float(value.detach()))
        step += 1
        if step % 250 == 0:
            report(f"step {step}, {progress:.0%}, loss {np.mean(losses[-250:]):.3f}")
    with torch.no_grad():
        for mean, parameter in zip(average, chosen, strict=True):
            parameter.copy_(mean)
    return network.weights()
