"""What a flow is made of; stored beside its weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from boltzgen.settings import Settings


class FlowSettings(Settings):
    """Size and kind of a flow. The defaults suit one molecule of 20 to 40 atoms."""

    kind: Literal["coupling"] = "coupling"
    """Which flow; see docs/concepts.md."""
    layers: int = Field(default=8, ge=1)
    """Coupling layers."""
    hidden: int = Field(default=64, ge=1)
    """Width of each layer's network."""
    depth: int = Field(default=2, ge=1)
    """Hidden layers of each layer's network."""
    bins: int = Field(default=8, ge=2)
    """Bins of each rational-quadratic spline."""
    embedding: int = Field(default=32, ge=4, multiple_of=4)
    """Width of the embedding of each coordinate."""
    encoder_blocks: int = Field(default=2, ge=0)
    """Attention blocks that make the embeddings from the physics of the molecule."""
    mask_seed: int = Field(default=0, ge=0, lt=2**32)
    """Which coordinates each layer transforms; part of the model, not of the run."""
