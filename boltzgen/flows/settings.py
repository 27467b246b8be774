"""What a flow is made of; stored beside its weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from boltzgen.settings import Settings


class FlowSettings(Settings):
    """Size and kind of a flow. The defaults suit one molecule of 20 to 40 atoms."""

    kind: Literal["coupling", "autoregressive"] = "autoregressive"
    """Which flow; see docs/flows.md."""
    layers: int = Field(default=8, ge=1)
    """Coupling layers; an autoregressive flow has none."""
    hidden: int = Field(default=64, ge=1)
    """Width of the networks."""
    depth: int = Field(default=2, ge=1)
    """Hidden layers of the networks."""
    bins: int = Field(default=8, ge=2)
    """Bins of each rational-quadratic spline."""
    embedding: int = Field(default=32, ge=4, multiple_of=4)
    """Width of the embedding of each coordinate."""
    encoder_blocks: int = Field(default=2, ge=0)
    """Attention blocks that make the embeddings from the physics of the molecule."""
    local: bool = False
    """Know nothing of the size of the molecule or the place of an atom in it: for molecules never seen."""
    degree: int = Field(default=1, ge=1, le=2)
    """Of the harmonics through which an atom sees in which direction the placed ones lie."""
    mask_seed: int = Field(default=0, ge=0, lt=2**32)
    """Which coordinates each coupling layer transforms; part of the model, not of the run."""

    @field_validator("layers", "mask_seed", "local", "degree")
    @classmethod
    def _belongs_to_the_kind(cls, value: bool | int, info: ValidationInfo) -> bool | int:
        name = str(info.field_name)
        owner = "coupling" if name in ("layers", "mask_seed") else "autoregressive"
        default: bool | int = cls.model_fields[name].default
        if info.data.get("kind", owner) != owner and value != default:
            raise ValueError(f"only flows of kind {owner} have this key; leave it at {default}")
        return value
