"""From names and numbers in a file to objects: flows, targets. The only place that does it."""

from __future__ import annotations

import torch

from boltzgen.conditioning.features import N_FEATURES, ORDER
from boltzgen.flows.autoregressive import AutoregressiveFlow
from boltzgen.flows.base import Flow
from boltzgen.flows.coupling import CouplingFlow
from boltzgen.flows.settings import FlowSettings


def build_flow(settings: FlowSettings, *, seed: int) -> Flow:
    """A flow with fresh weights; `seed` decides them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        common = settings.model_dump(include={"bins", "embedding", "encoder_blocks"})
        width, depth = settings.hidden, settings.depth
        if settings.kind == "autoregressive":
            unread = ORDER if settings.local else ()
            return AutoregressiveFlow(
                N_FEATURES,
                hidden=width,
                depth=depth,
                local=settings.local,
                degree=settings.degree,
                unread=unread,
                **common,
            )
        layers = settings.model_dump(include={"layers", "mask_seed"})
        return CouplingFlow(N_FEATURES, hidden=width, depth=depth, **layers, **common)
