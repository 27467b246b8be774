"""The transforms of nflows as a kind of flow: ``flow: {kind: nflows, transforms: [...]}``.

nflows (Durkan et al., https://github.com/bayesiains/nflows) is an extra. Its transforms map vectors, so the
flow is of one molecule (`boltzgen.flows.vector_flow`). They run in double precision: in single precision a
spline comes back with an error of 1.8e-4. They assert on rounding and raise on inputs outside an interval;
here such a row is lost, and no other.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from boltzgen.errors import InputError, MissingExtraError
from boltzgen.flows.transforms import BOUND
from boltzgen.flows.vector_flow import VectorFlow, VectorSettings, require_one_to_one

#: What makes the density of a row depend on other rows, or on chance.
NOT_ROW_BY_ROW = ("ActNorm", "BatchNorm", "BatchNorm1d", "Dropout")


#: Numbers that nflows may be given: sizes, and everything else.
Size = Annotated[int, Field(ge=-4096, le=4096)]
Factor = Annotated[float, Field(ge=-1e6, le=1e6)]


class NflowsSettings(VectorSettings):
    """Transforms of nflows, one after another."""

    kind: Literal["nflows"] = "nflows"
    """Which flow; see docs/extending.md."""
    transforms: list[str] = Field(
        default=["MaskedPiecewiseRationalQuadraticAutoregressiveTransform", "ReversePermutation"],
        min_length=1,
    )
    """Names of nflows' transforms, from the coordinates to the latent space."""
    repeats: int = Field(default=3, ge=1, le=256)
    """How often the list is gone through, each time with weights of its own."""
    hidden: int = Field(default=64, ge=1, le=4096)
    """Width of the networks."""
    bins: int = Field(default=8, ge=2, le=256)
    """Bins of each spline."""
    arguments: dict[str, bool | Size | Factor | str | None] = {}
    """Further arguments by nflows' names, for every transform that has one of the name."""

    def build(self) -> NflowsFlow:
        size = self.size()
        parts = [
            self._transform(name, number, size) for number, name in enumerate(self.transforms * self.repeats)
        ]
        unused = set(self.arguments) - {name for _, used in parts for name in used}
        if unused:
            raise InputError(f"flow.arguments: none of the transforms has an argument {min(unused)!r}.")
        flow = NflowsFlow(import_nflows().transforms.CompositeTransform([part for part, _ in parts]), size)
        if not any(parameter.requires_grad for parameter in flow.parameters()):
            raise InputError(f"flow.transforms: {', '.join(self.transforms)} have nothing to learn.")
        require_one_to_one(flow, f"flow.transforms: {', '.join(self.transforms)}")
        return flow

    def _transform(self, name: str, number: int, size: int) -> tuple[nn.Module, set[str]]:
        """Transform number `number`, for vectors of `size`, and the names of its arguments."""
        transforms = import_nflows().transforms
        made = getattr(transforms, name, None)
        if not (isinstance(made, type) and issubclass(made, transforms.Transform)):
            raise InputError(f"flow.transforms: nflows has no transform {name!r}; see nflows.transforms.")
        known: dict[str, Any] = {
            "features": size,
            "shape": [size],
            "mask": (torch.arange(size) + number) % 2,
            "hidden_features": self.hidden,
            "transform_net_create_fn": self._network,
            "num_bins": self.bins,
            "tails": "linear",
            "tail_bound": BOUND,
            **self.arguments,
        }
        wanted = {
            key: parameter
            for key, parameter in inspect.signature(made).parameters.items()
            if parameter.kind is not parameter.VAR_POSITIONAL
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        missing = [key for key, one in wanted.items() if one.default is one.empty and key not in known]
        if missing:
            raise InputError(
                f"flow.transforms: {name} needs {', '.join(missing)}; give plain values in flow.arguments, "
                "anything else in a kind of your own (docs/extending.md)."
            )
        try:
            return made(**{key: value for key, value in known.items() if key in wanted}), set(wanted)
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"flow.transforms: nflows cannot make {name} for {size} coordinates ({reason})."
            ) from error

    def _network(self, inputs: int, outputs: int) -> nn.Module:
        """What computes the parameters of a coupling transform from the other half."""
        from nflows.nn.nets import ResidualNet

        return ResidualNet(inputs, outputs, hidden_features=self.hidden)


class NflowsFlow(VectorFlow):
    """Any `nflows.transforms.Transform` of vectors (b, `dimension`), from coordinates to latents, as a flow.

    Raises
    ------
    InputError: the transform treats rows together, or differently each time. MissingExtraError: no nflows.
    """

    transform: Any

    def __init__(self, transform: Any, dimension: int) -> None:
        super().__init__(dimension)
        for module in transform.modules():
            name = type(module).__name__
            if name in NOT_ROW_BY_ROW and getattr(module, "p", 1.0) > 0:
                raise InputError(
                    f"A flow with {name} is not one density: a row depends on the others or on chance; "
                    "leave it out."
                )
        self.transform = transform.to(torch.float64)
        self.bad_rows = (*VectorFlow.bad_rows, import_nflows().transforms.base.InputOutsideDomain)

    def to_latent(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform(vectors)  # type: ignore[no-any-return]

    def from_latent(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(latents)  # type: ignore[no-any-return]


def import_nflows() -> Any:
    """The package with its transforms; MissingExtraError when it is not installed."""
    try:
        import nflows
        import nflows.transforms
    except ImportError as error:
        raise MissingExtraError(
            f"A flow of kind nflows needs nflows, which cannot be imported ({error}); run: "
            "pip install 'boltzgen-sampler[nflows]'."
        ) from error
    return nflows
