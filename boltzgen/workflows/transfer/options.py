"""What can be asked of `benchmark_transfer`, with the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """Options of `benchmark_transfer`.

    Attributes
    ----------
    split: ``test``, ``validation`` or ``train``. molecules: names; all of the split by default.
    samples: drawn of each molecule. temperature: K; the model's own when not given.
    adapt: energy evaluations to adapt the model to each molecule with; None measures it zero-shot alone.
    seed: of the draws. dtype: arithmetic of the flow.
    torus_samples: samples, at most 10 000, for the distance on the torus: its time grows faster than their
        square.
    device: ``cpu`` or ``cuda``.
    """

    split: str = "test"
    samples: int = 10_000
    temperature: float | None = None
    adapt: float | None = None
    molecules: Sequence[str] = ()
    seed: int = 0
    dtype: str = "float64"
    torus_samples: int = 2000
    device: str = "cpu"


class TransferKeywords(TypedDict, total=False):
    """The fields of `TransferOptions` as keyword arguments."""

    split: str
    samples: int
    temperature: float | None
    adapt: float | None
    molecules: Sequence[str]
    seed: int
    dtype: str
    torus_samples: int
    device: str
