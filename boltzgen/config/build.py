"""From names and numbers in a file to objects: flows, targets, models. The only place that does it."""

from __future__ import annotations

import torch

from boltzgen.flows.base import Flow
from boltzgen.flows.settings import FlowSettings


def build_flow(settings: FlowSettings, *, seed: int) -> Flow:
    """A flow with fresh weights; `seed` decides them."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs' streams as well
        return settings.build()
