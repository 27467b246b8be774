"""Constant arrays of a potential, in the precision and on the device that it is asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Constants:
    """Named float64 and integer arrays, handed out as tensors of any dtype on any device.

    The master copy stays in float64, so a potential that was once used in float32 loses nothing.
    """

    def __init__(self, **arrays: np.ndarray) -> None:
        self._master = {name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}
        self._copies: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def like(self, positions: Tensor) -> dict[str, Tensor]:
        """The arrays on the device of `positions`, floating ones in its dtype."""
        key = (positions.dtype, positions.device)
        if key not in self._copies:
            with torch.inference_mode(False):  # a first call in inference mode must not mark them for ever
                self._copies[key] = {
                    name: value.to(key[1], key[0] if value.is_floating_point() else value.dtype)
                    for name, value in self._master.items()
                }
        return self._copies[key]
