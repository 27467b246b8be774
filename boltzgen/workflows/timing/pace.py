"""The pace of this machine, for what is known from another one and takes too long to be tried."""

from __future__ import annotations

import torch

from boltzgen.guards import torch_threads
from boltzgen.workflows.timing.expectation import seconds_of

#: Rows of a product of matrices, and its seconds on the idle core where those in the code were measured.
_ROWS, _PRODUCT = 400, 3.0e-3


def pace() -> float:
    """How many times slower this machine is now than the one whose seconds stand in the code."""
    matrix = torch.ones(_ROWS, _ROWS, dtype=torch.float64)
    with torch_threads(1):
        return seconds_of(lambda: matrix @ matrix, within=0.1) / _PRODUCT
