"""What a flow is made of; stored beside its weights. Each kind of flow has a class of its own.

``kind`` chooses the class. A package adds a kind by an entry point of the group ``boltzgen.flows``, whose
name is the kind and whose value is its settings class (docs/extending.md).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.extensions import Extensions
from boltzgen.flows.base import Flow
from boltzgen.settings import Settings

KINDS = Extensions(
    group="boltzgen.flows",
    noun="kind of flow",
    own={
        "autoregressive": "boltzgen.flows.autoregressive:AutoregressiveSettings",
        "coupling": "boltzgen.flows.coupling:CouplingSettings",
        "nflows": "boltzgen.interop.nflows:NflowsSettings",
        "bgflow": "boltzgen.interop.bgflow:BgflowSettings",
    },
)

DEFAULT_KIND = "autoregressive"

#: Kinds whose keys were those of one class once: their files hold the keys of both, with their defaults.
ONE_CLASS_ONCE = ("autoregressive", "coupling")


class FlowSettings(Settings):
    """The settings of any kind of flow; ``model_validate`` gives those of the kind that is named.

    A subclass has ``kind`` with its own name as type and default, and its sizes as further fields.
    """

    kind: str
    """Which flow; see docs/flows.md."""

    @abstractmethod
    def build(self) -> Flow:
        """A flow with fresh weights, from torch's global random numbers."""

    def for_molecules(self, molecules: Sequence[MoleculeFeatures]) -> Self:
        """These settings with what they leave to the molecules to be learned filled in.

        A kind that serves any molecule, as ours do, has nothing to fill in. What it returns is stored with
        the model, and builds the flow when the model is loaded.
        """
        return self

    def goes_on_from(self, former: FlowSettings) -> bool:
        """Whether a trained flow of settings `former` can become one of these, its density unchanged.

        Parts that it has not yet begin as nothing, and learn from there.
        """
        return self == former

    @classmethod
    def reader(cls, key: str, value: Any) -> type[Settings]:
        if cls is not FlowSettings or not isinstance(value, Mapping):
            return cls
        return settings_of(str(value.get("kind", DEFAULT_KIND)))

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> FlowSettings:
        if cls is not FlowSettings or not isinstance(value, Mapping):
            return handler(value)
        own = settings_of(str(value.get("kind", DEFAULT_KIND)))
        return own.model_validate(_without_defaults_of_other_kinds(own, value))


class NetworkSettings(FlowSettings):
    """Sizes that our own kinds share. The defaults suit one molecule of 20 to 40 atoms."""

    hidden: int = Field(default=64, ge=1, le=4096)
    """Width of the networks."""
    depth: int = Field(default=2, ge=1, le=64)
    """Hidden layers of the networks."""
    bins: int = Field(default=8, ge=2, le=256)
    """Bins of each rational-quadratic spline."""
    embedding: int = Field(default=32, ge=4, le=4096, multiple_of=4)
    """Width of the embedding of each coordinate."""
    encoder_blocks: int = Field(default=2, ge=0, le=64)
    """Attention blocks that make the embeddings from the physics of the molecule."""


def settings_of(kind: str) -> type[FlowSettings]:
    """The settings class of flows of `kind`; InputError when no package brings it."""
    found: type[FlowSettings] = KINDS.load_subclass(kind, f"'flow.kind' is {kind!r}", FlowSettings)
    return found


def _without_defaults_of_other_kinds(own: type[FlowSettings], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` for the class `own`; a key that belongs to another kind is refused, unless it says nothing."""
    kept, faults = {}, []
    for key, value in values.items():
        owners = {} if key in own.model_fields else _defaults_by_kind(key)
        if not owners:
            kept[key] = value
        elif value not in [default for kind, default in owners.items() if kind in ONE_CLASS_ONCE]:
            told = f"only flows of kind {' or '.join(owners)} have this key; leave it"
            told += f" at {next(iter(owners.values()))}" if {*owners} <= {*ONE_CLASS_ONCE} else " out"
            error = PydanticCustomError("other_kind", "{told}", {"told": told})
            faults.append(InitErrorDetails(type=error, loc=(key,), input=value))
    if faults:
        raise ValidationError.from_exception_data("FlowSettings", faults)
    return kept


def _defaults_by_kind(key: str) -> dict[str, Any]:
    """Each kind of ours that has `key` -> its default there."""
    fields = {kind: settings_of(kind).model_fields for kind in KINDS.own}
    return {
        kind: known[key].get_default(call_default_factory=True)
        for kind, known in fields.items()
        if key in known
    }
