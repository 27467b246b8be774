"""Maximum likelihood on conformations that follow the target."""

from __future__ import annotations

from torch import Tensor


def negative_log_likelihood(density: Tensor) -> Tensor:
    """``-E[log q]`` of the log densities (B,) at draws from the target: forward KL up to a constant.

    Draws at another temperature or potential are resampled by their importance weights before they come here.
    """
    return -density.mean()
