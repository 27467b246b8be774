"""The tensors of a checkpoint that is small enough to be kept with the code, and how they become whole again.

What is kept: the averaged weights, from which the run goes on; the optimizer's bases, whose numbers are at
most 1, as int16; in these bases the mean and the mean square of each gradient in bfloat16, and the diagonal
of the symmetric moments, which have little besides there. (Rounded as they are, in the parameters' own
directions, moments of eight bits lose every direction whose gradients are a sixteenth of the largest.)
What belongs to molecules by their place is left out, samples of the losses above all: a run may go on with
more of them.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.training.optimizer.soap import turned

#: In the optimizer's state of one parameter: mean gradient, mean square (in the bases), steps taken, bases.
_MEAN = re.compile(r"(optimizer/\d+)/mean")
_SQUARE = re.compile(r"optimizer/\d+/square")
_STEP = re.compile(r"optimizer/\d+/step")
_BASIS = re.compile(r"(optimizer/\d+)/basis_(\d)")

#: The whole number that stands for 1 in a basis.
_ONE = 32767


def packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the `tensors` of a checkpoint what `unpacked` needs."""
    found = {}
    for name, value in tensors.items():
        if name.startswith("average/") or _STEP.fullmatch(name):
            found[name] = value
        elif match := _MEAN.fullmatch(name):
            found[name] = turned(value, _bases(tensors, match[1], value.ndim)).to(torch.bfloat16)
        elif _SQUARE.fullmatch(name):
            found[name] = value.to(torch.bfloat16)
        elif match := _BASIS.fullmatch(name):
            key, basis = f"{match[1]}/moment_{match[2]}", value.double()
            found[name] = (basis * _ONE).round().to(torch.int16)
            found[key] = ((tensors[key].double() @ basis) * basis).sum(dim=0).float()
    return found


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a whole checkpoint made of those of a packed one; without samples of losses.

    InputError where a basis is none.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.startswith("average/"):
            found[name] = value
            found["flow/" + name.removeprefix("average/")] = value.clone()
        elif match := _BASIS.fullmatch(name):
            diagonal = tensors.get(moment := f"{match[1]}/moment_{match[2]}")
            found[name] = basis = _basis(name, value)
            if diagonal is None or diagonal.shape != basis.shape[:1]:
                raise InputError(f"{moment} does not fit {name}; pack the run again or copy it anew.")
            found[moment] = ((basis.double() * diagonal) @ basis.double().T).float()
        elif "/moment_" not in name:
            found[name] = value.float() if value.dtype == torch.bfloat16 else value
    for name, value in found.items():
        if match := _MEAN.fullmatch(name):
            back = [None if one is None else one.T for one in _bases(found, match[1], value.ndim)]
            found[name] = turned(value, back).contiguous()
    return found


def _bases(tensors: dict[str, Tensor], state: str, dimensions: int) -> list[Tensor | None]:
    return [tensors.get(f"{state}/basis_{n}") for n in range(dimensions)]


def _basis(name: str, whole: Tensor) -> Tensor:
    """The orthogonal matrix (n, n) that was rounded to `whole`; InputError where there is none near it."""
    rounded = whole.double() / _ONE
    if rounded.ndim == 2 and rounded.shape[0] == rounded.shape[1]:
        basis, upper = torch.linalg.qr(rounded)
        basis = basis * torch.diag(upper).sign()
        if float((basis - rounded).abs().max()) < 1e-2:
            return basis.float().contiguous()
    raise InputError(f"{name} is no basis of a space; pack the run again or copy it anew.")
