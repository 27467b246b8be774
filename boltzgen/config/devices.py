"""The device that a name stands for."""

from __future__ import annotations

import re

import torch

from boltzgen.errors import InputError


def check_device(name: str) -> torch.device:
    """`name` (``cpu``, ``cuda`` or ``cuda:1``) as a device that is there; InputError otherwise."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not re.fullmatch("[0-9]{1,4}", index)) or name.endswith(":"):
        raise InputError(f"`device={name!r}` is not known; use cpu, cuda or cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f'`device={name!r}`: this PyTorch sees no CUDA device; use `device="cpu"`.')
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"`device={name!r}`: there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on."
        )
    return torch.device(name)
