"""From names and numbers in a file to objects: flows, targets, models. The only place that does it."""

from __future__ import annotations

import math

import torch

from boltzgen.errors import InputError
from boltzgen.flows.base import Flow
from boltzgen.flows.settings import FlowSettings, NetworkSettings

#: Numbers that a flow may have: a thousand times those of the largest released one, 4 GB in single precision.
MOST_NUMBERS = 10**9


def build_flow(settings: FlowSettings, *, seed: int) -> Flow:
    """A flow with fresh weights; `seed` decides them.

    InputError, before anything is allocated, for one of our kinds that has more than `MOST_NUMBERS`.
    """
    tensor_shapes(settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs' streams as well
        return settings.build()


def tensor_shapes(settings: FlowSettings) -> dict[str, tuple[int, ...]] | None:
    """Name -> shape of the tensors of a flow with these `settings`, without memory for them.

    None for kinds that other packages bring: only ours can be laid out without numbers. InputError where
    there are more than `MOST_NUMBERS`.
    """
    if not isinstance(settings, NetworkSettings):
        return None
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in settings.build().state_dict().items()}
    total = sum(math.prod(shape) for shape in shapes.values())
    if total > MOST_NUMBERS:
        sizes = [name for name in ("hidden", "layers", "embedding", "bins") if hasattr(settings, name)]
        told = ", ".join(f"flow.{name}={getattr(settings, name)}" for name in sizes)
        raise InputError(
            f"A flow with {told} has {total:.2g} numbers, more than {MOST_NUMBERS:.0e}; lower one of them."
        )
    return shapes
