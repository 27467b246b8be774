"""Published ANI potentials by TorchANI: the backends ``ani2x``, ``ani1x`` and ``ani1ccx``.

ANI-1x and ANI-1ccx: Smith et al., J. Chem. Phys. 148, 241733 (2018); Nat. Commun. 10, 2903 (2019). ANI-2x:
Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020). The self energies of the atoms, constants of a
thousand times the energies that matter, are left out: in float32 they would round at 0.1 kJ/mol.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import BoltzgenError, InputError, MissingExtraError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.learned.options import refuse_elements, refuse_unknown, whole_number
from boltzgen.units import HARTREE, NM_PER_ANGSTROM

#: Name of each model in torchani.models, and the elements that it was trained on.
MODELS = {
    "ani2x": ("ANI2x", (1, 6, 7, 8, 9, 16, 17)),
    "ani1x": ("ANI1x", (1, 6, 7, 8)),
    "ani1ccx": ("ANI1ccx", (1, 6, 7, 8)),
}

OPTIONS = ("member", "precision")

PRECISIONS = {"double": torch.float64, "single": torch.float32}


def ani2x(atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str]) -> TorchAni:
    """ANI-2x. Options: ``member`` (0 to 7; default the mean of all) and ``precision`` (double or single)."""
    return _potential("ani2x", atomic_numbers, charge, options)


def ani1x(atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str]) -> TorchAni:
    """ANI-1x, with the options of `ani2x`."""
    return _potential("ani1x", atomic_numbers, charge, options)


def ani1ccx(atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str]) -> TorchAni:
    """ANI-1ccx, with the options of `ani2x`."""
    return _potential("ani1ccx", atomic_numbers, charge, options)


def _potential(name: str, atomic_numbers: np.ndarray, charge: int, options: Mapping[str, str]) -> TorchAni:
    refuse_unknown(name, options, OPTIONS)
    if charge:
        raise UnsupportedError(
            f"{name} was trained on neutral molecules; the region has a charge of {charge:+d}. Use "
            '`ml="gfn2"`, or another region.'
        )
    refuse_elements(name, atomic_numbers, MODELS[name][1])
    precision = options.get("precision", "double")
    if precision not in PRECISIONS:
        raise InputError(
            f"`ml_options={ {'precision': precision} }` is unknown; use {' or '.join(PRECISIONS)}."
        )
    member = whole_number(name, options, "member", -1)
    if "member" in options and not 0 <= member < 8:
        raise InputError(f"`ml_options={ {'member': member} }` of {name}: the members are 0 to 7.")
    model = _load(MODELS[name][0], None if member < 0 else member, PRECISIONS[precision])
    return TorchAni(model, atomic_numbers)


def _load(model: str, member: int | None, precision: torch.dtype) -> Any:
    """The model with its published weights, which torchani fetches at the first use and keeps on disk."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about extensions for GPUs that were not built
            import torchani
    except ImportError as error:
        raise MissingExtraError(
            f"`ml={model.lower()!r}` needs torchani, which cannot be imported ({error}); run: "
            "pip install 'boltzgen-sampler[ml]'."
        ) from error
    try:
        return getattr(torchani.models, model)(model_index=member, dtype=precision)
    except Exception as error:  # hubs and downloads raise exceptions of any class
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise BoltzgenError(
            f"The weights of {model} cannot be fetched ({reason}). On a machine with a network run "
            f"`python -c 'import torchani; torchani.models.{model}()'`, then copy its "
            "~/.local/share/Torchani to this machine."
        ) from error


class TorchAni(Potential):
    """Any neutral TorchANI `model` (2.9 or later) for atoms of `atomic_numbers`, without self energies.

    Raises
    ------
    UnsupportedError: an element that the model does not know.
    """

    model: Any
    atomic_numbers: Tensor

    def __init__(self, model: Any, atomic_numbers: np.ndarray) -> None:
        super().__init__()
        refuse_elements("torchani", atomic_numbers, [int(number) for number in model.atomic_numbers])
        self.precision = next(p.dtype for p in model.parameters() if p.is_floating_point())
        self.single_precision = self.precision == torch.float32
        model.requires_grad_(False)
        model.set_enabled("energy_shifter", False)
        self.model = model
        self.register_buffer("atomic_numbers", torch.as_tensor(np.array(atomic_numbers, dtype=np.int64)))

    def energy(self, positions: Tensor) -> Tensor:
        """Energies (batch,) kJ/mol, above the free atoms' self energies, of `positions` (batch, n, 3) nm."""
        self.to(positions.device)
        species = self.atomic_numbers.expand(len(positions), -1)
        angstrom = positions.to(self.precision) / NM_PER_ANGSTROM
        return (self.model((species, angstrom)).energies * HARTREE).to(positions.dtype)
