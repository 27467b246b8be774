"""Draws of a flow in blocks: each of a fixed number of rows, from a random stream of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context, MoleculeFeatures
from boltzgen.flows.base import Flow, InvertibleFlow
from boltzgen.streams import DRAWS, stream


def is_accelerator(device: torch.device) -> bool:
    """Whether a pass of few rows takes as long there as one of many."""
    return device.type != "cpu"


class BlockSampler:
    """Draws of `flow` of `molecule` at `temperature` (K), in blocks of `rows` rows.

    A pass of the flow never has fewer rows, so that they are rounded alike. On a CPU it treats one block. An
    accelerator takes as long for few rows as for many: whole blocks of up to `most` rows go through together
    there, if the flow has latents. `blocks` are those of a pass.
    """

    def __init__(
        self, flow: Flow, molecule: MoleculeFeatures, temperature: float, rows: int, *, most: int
    ) -> None:
        self.flow, self.blocks = flow, 1
        self._one = flow.embed(Context.of(molecule, temperature, rows))
        if isinstance(flow, InvertibleFlow) and is_accelerator(molecule.tokens.device):
            self.blocks = max(1, most // rows)
        if self.blocks > 1:
            self._all = flow.embed(Context.of(molecule, temperature, self.blocks * rows))

    def draw(self, seed: int, first: int) -> tuple[Tensor, Tensor]:
        """Coordinates (B, D) and log density (B,) of the pass that begins with block number `first`."""
        streams = [stream(seed, DRAWS, first + number) for number in range(self.blocks)]
        if self.blocks == 1:
            return self.flow.sample(self._one, generator=streams[0])
        assert isinstance(self.flow, InvertibleFlow)
        drawn = [self.flow.draw_latents(self._one, generator=generator) for generator in streams]
        latents, density = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        values, log_det = self.flow.decode(latents, self._all)
        return values, density - log_det
