"""Rows on their way from a flow to an ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """B consecutive rows of a draw.

    positions: (B, N, 3) nm; model systems: (B, d). log_q: (B,) log density. outside: (B,) long, index into
    the reasons of the coordinates; 0 inside the domain. u: (B,) reduced energy; NaN before it is computed.
    """

    positions: Tensor
    log_q: Tensor
    outside: Tensor
    u: Tensor

    def __len__(self) -> int:
        return len(self.log_q)

    def __getitem__(self, rows: slice) -> DrawnRows:
        return DrawnRows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def split(self, rows: int) -> Iterator[DrawnRows]:
        """Parts of `rows` rows; the last may have fewer."""
        return (self[start : start + rows] for start in range(0, len(self), rows))

    @staticmethod
    def join(parts: Sequence[DrawnRows]) -> DrawnRows:
        """All rows of `parts`, in order."""
        return DrawnRows(
            *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(DrawnRows))
        )
