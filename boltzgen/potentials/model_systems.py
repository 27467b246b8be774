"""Model systems with exactly known partition functions: energies in kT, positions (batch, dimension)."""

from __future__ import annotations

import difflib
import math
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.base import Potential


class ModelSystem(Potential):
    """A potential on plain coordinates: (batch, dimension) -> (batch,) kT, measure ``lebesgue(d)``."""

    energy_unit = "kT"
    dimension: int

    def energy(self, positions: Tensor) -> Tensor:
        """Energy (batch,) in kT of `positions` (batch, dimension)."""
        if positions.ndim != 2 or positions.shape[1] != self.dimension:
            raise InputError(
                f"Positions have the shape {tuple(positions.shape)}; {type(self).__name__} needs "
                f"(batch, {self.dimension})."
            )
        return self._energy(positions)

    @property
    @abstractmethod
    def reference(self) -> np.ndarray:
        """A point of low energy, (dimension,)."""

    @abstractmethod
    def log_partition(self) -> float:
        """``ln Z = ln integral exp(-u)``, exact or by quadrature to better than 1e-9."""

    @abstractmethod
    def _energy(self, positions: Tensor) -> Tensor: ...


class HarmonicWell(ModelSystem):
    """``K/2 |x|^2`` in `dimension` coordinates; ``ln Z = d/2 ln(2 pi/K)``."""

    def __init__(self, stiffness: float = 1.0, dimension: int = 1) -> None:
        super().__init__()
        if not stiffness > 0 or not math.isfinite(stiffness):
            raise InputError(f"A harmonic well's stiffness is {stiffness}; it must be positive and finite.")
        self.stiffness, self.dimension = float(stiffness), _positive(dimension, "harmonic well")

    @property
    def reference(self) -> np.ndarray:
        return np.zeros(self.dimension)

    def log_partition(self) -> float:
        return 0.5 * self.dimension * math.log(2 * math.pi / self.stiffness)

    def _energy(self, positions: Tensor) -> Tensor:
        return 0.5 * self.stiffness * (positions**2).sum(-1)


class ManyWell(ModelSystem):
    """Sum over pairs of coordinates of ``(x^4 - 6x^2 - x/2) + y^2/2``: ``2^(d/2)`` wells.

    Midgley et al., ICLR 2023 (FAB). Coordinates 0, 2, 4... are the x of the pairs.
    """

    def __init__(self, dimension: int = 32) -> None:
        super().__init__()
        if dimension % 2:
            raise InputError(f"A many-well has {dimension} coordinates; it needs an even number.")
        self.dimension = _positive(dimension, "many-well")

    @property
    def reference(self) -> np.ndarray:
        return np.tile([_lowest(_double_well, 1.0, 2.5), 0.0], self.dimension // 2)

    def log_partition(self) -> float:
        pair = _log_integral(_double_well) + 0.5 * math.log(2 * math.pi)
        return pair * (self.dimension // 2)

    def _energy(self, positions: Tensor) -> Tensor:
        x, y = positions[:, 0::2], positions[:, 1::2]
        return (_double_well(x) + 0.5 * y**2).sum(-1)


class DoubleWell(ManyWell):
    """``x^4 - 6x^2 - x/2 + y^2/2``: one pair of the many-well."""

    def __init__(self) -> None:
        super().__init__(dimension=2)


class TiltedDoubleWell(ModelSystem):
    """``x - 6x^2 + x^4`` in one coordinate; the left well is the deeper."""

    dimension = 1

    @property
    def reference(self) -> np.ndarray:
        return np.array([_lowest(_tilted, -2.5, -1.0)])

    def log_partition(self) -> float:
        return _log_integral(_tilted)

    def _energy(self, positions: Tensor) -> Tensor:
        return _tilted(positions).sum(-1)


class MuellerBrown(ModelSystem):
    """`scale` times the surface of Mueller and Brown, Theor. Chim. Acta 53, 75 (1979), without offset.

    State A lies above ``y = x + 0.8``, state B below.
    """

    dimension = 2
    _HEIGHT = (-200.0, -100.0, -170.0, 15.0)
    _XX = (-1.0, -1.0, -6.5, 0.7)
    _XY = (0.0, 0.0, 11.0, 0.6)
    _YY = (-10.0, -10.0, -6.5, 0.7)
    _X0 = (1.0, 0.0, -0.5, -1.0)
    _Y0 = (0.0, 0.5, 1.5, 1.0)

    def __init__(self, scale: float = 0.15) -> None:
        super().__init__()
        if not scale > 0 or not math.isfinite(scale):
            raise InputError(f"The Mueller-Brown scale is {scale}; it must be positive and finite.")
        self.scale = float(scale)

    @property
    def reference(self) -> np.ndarray:
        return np.array([-0.558223634633, 1.441725841804])

    def log_partition(self) -> float:
        x, y = np.linspace(-4, 4, 1001), np.linspace(-3, 5, 1001)
        grid = torch.as_tensor(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2))
        total = torch.logsumexp(-self._energy(grid), 0).item()
        return total + math.log((x[1] - x[0]) * (y[1] - y[0]))

    def _energy(self, positions: Tensor) -> Tensor:
        total = torch.zeros_like(positions[:, 0])
        rows = zip(self._HEIGHT, self._XX, self._XY, self._YY, self._X0, self._Y0, strict=True)
        for height, xx, xy, yy, x0, y0 in rows:
            x, y = positions[:, 0] - x0, positions[:, 1] - y0
            total = total + height * torch.exp(xx * x**2 + xy * x * y + yy * y**2)
        return self.scale * total


class LennardJonesDimer(ModelSystem):
    """Two Lennard-Jones particles in the trap ``1/2 sum_i |x_i - x_com|^2``, seen from one of them.

    ``eps ((1/r)^12 - 2 (1/r)^6) + r^2/4`` of the relative vector (batch, 3), r its length.
    """

    dimension = 3

    def __init__(self, depth: float = 1.0) -> None:
        super().__init__()
        if not depth > 0 or not math.isfinite(depth):
            raise InputError(
                f"The depth of a Lennard-Jones dimer is {depth}; it must be positive and finite."
            )
        self.depth = float(depth)

    @property
    def reference(self) -> np.ndarray:
        return np.array([_lowest(self._of_square_root, 0.8, 1.2), 0.0, 0.0])

    def log_partition(self) -> float:
        radial = _log_integral(lambda r: self._of_square_root(r) - 2 * r.log(), 0.05, 20.0)
        return radial + math.log(4 * math.pi)

    def _energy(self, positions: Tensor) -> Tensor:
        return self._of_square((positions**2).sum(-1))

    def _of_square_root(self, r: Tensor) -> Tensor:
        return self._of_square(r**2)

    def _of_square(self, square: Tensor) -> Tensor:
        sixth = square**-3
        return self.depth * (sixth**2 - 2 * sixth) + square / 4


class PairDoubleWell(ModelSystem):
    """``0.9 (r - 4)^4 - 4 (r - 4)^2`` of the relative vector (batch, 2) of two particles, r its length.

    One pair of the particles of the DW-4 system (Koehler, Klein, Noe, ICML 2020).
    """

    dimension = 2

    @property
    def reference(self) -> np.ndarray:
        return np.array([4.0 + math.sqrt(4.0 / 1.8), 0.0])

    def log_partition(self) -> float:
        return _log_integral(lambda r: _pair_well(r) - r.log(), 1e-9, 10.0) + math.log(2 * math.pi)

    def _energy(self, positions: Tensor) -> Tensor:
        return _pair_well((positions**2).sum(-1).sqrt())


def _double_well(x: Tensor) -> Tensor:
    return x**4 - 6 * x**2 - 0.5 * x


def _tilted(x: Tensor) -> Tensor:
    return x**4 - 6 * x**2 + x


def _pair_well(r: Tensor) -> Tensor:
    return 0.9 * (r - 4) ** 4 - 4 * (r - 4) ** 2


def _grid(low: float, high: float, points: int) -> Tensor:
    return torch.linspace(low, high, points, dtype=torch.float64)


def _log_integral(function: Callable[[Tensor], Tensor], low: float = -6.0, high: float = 6.0) -> float:
    """ln of the integral of exp(-function) over a line at whose ends it vanishes: trapezoid rule."""
    x = _grid(low, high, 4001)
    return torch.logsumexp(-function(x), 0).item() + math.log(float(x[1] - x[0]))


def _lowest(function: Callable[[Tensor], Tensor], low: float, high: float) -> float:
    x = _grid(low, high, 100_001)
    return float(x[function(x).argmin()])


def _positive(dimension: int, what: str) -> int:
    if dimension < 1:
        raise InputError(f"A {what} has {dimension} coordinates; it needs at least one.")
    return dimension


#: Name -> (class, how the words after the name are read). ``many-well-32`` is ``ManyWell(32)``.
NAMES: dict[str, tuple[type[ModelSystem], tuple[type, ...]]] = {
    "double-well": (DoubleWell, ()),
    "tilted-double-well": (TiltedDoubleWell, ()),
    "many-well": (ManyWell, (int,)),
    "mueller-brown": (MuellerBrown, (float,)),
    "harmonic-well": (HarmonicWell, (float, int)),
    "lennard-jones-dimer": (LennardJonesDimer, (float,)),
    "pair-double-well": (PairDoubleWell, ()),
}


def by_name(name: str) -> ModelSystem:
    """The model system called `name`.

    ``double-well``, ``tilted-double-well``, ``many-well-32`` (coordinates), ``mueller-brown-0.15``
    (scale), ``harmonic-well-4`` (stiffness) or ``harmonic-well-4-10`` (and coordinates),
    ``lennard-jones-dimer-5`` (depth), ``pair-double-well``.
    Raises InputError with the nearest known name.
    """
    for known, (kind, readers) in NAMES.items():
        if name != known and not name.startswith(known + "-"):
            continue
        words = name[len(known) + 1 :].split("-") if name != known else []
        if len(words) > len(readers):
            break
        try:
            return kind(*(read(word) for read, word in zip(readers, words)))
        except ValueError:
            break
    nearest = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
    raise InputError(
        f"There is no model system {name!r}; the nearest is {nearest!r}. Known are double-well, "
        "tilted-double-well, many-well-D, mueller-brown-SCALE, harmonic-well-K, lennard-jones-dimer-DEPTH "
        "and pair-double-well."
    )
