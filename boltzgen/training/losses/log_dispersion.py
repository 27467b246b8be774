"""Log-dispersion: how far ``log q + u`` is from being one constant, on conformations from anywhere.

Where the flow is the target, ``log q(x) + u(x) = -ln Z`` for every x. The energy of a conformation is thus a
label without noise, and the gradient vanishes row by row at the optimum, where that of the likelihood keeps
the noise of the batch. Conformations need not follow any distribution.

Sources: log-variance divergence, Nuesken & Richter (arXiv 2005.05409); Richter et al., VarGrad
(arXiv 2010.10436); as a regulariser on stored data, arXiv 2602.03729. The square gives way to Huber's loss
(Ann. Math. Statist. 35, 73, 1964), so that a conformation of hundreds of kT does not decide a step.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from boltzgen.training.losses.frames import FrameLossSettings, FrameObjective
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Given, Shown
from boltzgen.training.training_data import draw_pairs

#: Fixed-point steps to the centre; each at least halves what is left for the weights met here.
CENTRE_STEPS = 30


class LogDispersionSettings(FrameLossSettings):
    """Log-dispersion of frames alone, in a pass of the flow of its own.

    `likelihood.dispersion` adds it to the likelihood of the same frames, in the same pass.
    """

    knee: float = Field(default=3.0, gt=0, le=1e12)
    """Deviation (nats) from which it grows linearly."""

    def objective(self, name: str, given: Given) -> LogDispersion:
        return LogDispersion(name, self, given)

    def shown(self, name: str) -> Shown:
        return Shown(name.replace("log_dispersion", "log-dispersion").replace("_", " "), "nats")

    @property
    def needs_energies_of_frames(self) -> bool:
        return True


class LogDispersion(FrameObjective):
    """`log_dispersion` of frames drawn from the data."""

    def __init__(self, name: str, settings: LogDispersionSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        self.knee = settings.knee

    def loss(self, place: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        flow, frames = self.given.flow, self.given.frames[place]
        pairs = draw_pairs(self.given.targets[place], frames, rows, generator)
        log_ratio = flow.log_prob(pairs.coordinates, flow.embed(pairs.context)) + pairs.reduced
        sound = torch.isfinite(log_ratio)
        kept = log_ratio[sound]
        if not len(kept):
            return Loss(None, 0, rows)
        value = log_dispersion(kept, pairs.groups[sound], self.knee)
        return Loss(value, len(kept), rows - len(kept), parts={self.name: float(value.detach())})


def log_dispersion(log_ratio: Tensor, groups: Tensor, knee: float) -> Tensor:
    """Mean Huber loss of `log_ratio` (B,) about the centre of its group, in nats a row.

    Parameters
    ----------
    log_ratio: ``log q + u``; for `knee` to infinity the result is half its variance within the groups.
    groups: (B,) long; each has a constant of its own (its ln Z).
    knee: distance from the centre where the square becomes a line.

    Notes
    -----
    The centre is the one that makes the loss smallest, so its own derivative does not enter the gradient.
    """
    deviation = log_ratio - _centres(log_ratio.detach(), groups, knee)[groups]
    size = deviation.abs()
    return torch.where(size < knee, 0.5 * deviation**2, knee * (size - 0.5 * knee)).mean()


def _centres(values: Tensor, groups: Tensor, knee: float) -> Tensor:
    """Huber's location (G,) of `values` in each group, by iteratively reweighted means from the median."""
    count = int(groups.max()) + 1
    centres = torch.stack([values[groups == g].median() for g in range(count)])
    for _ in range(CENTRE_STEPS):
        weight = (knee / (values - centres[groups]).abs().clamp_min(knee)).to(values.dtype)
        total = torch.zeros_like(centres).index_add(0, groups, weight)
        centres = torch.zeros_like(centres).index_add(0, groups, weight * values) / total
    return centres
