"""A potential from a TorchScript file: the backend ``torchscript``.

The file's module has the method::

    forward(atomic_numbers, positions) -> energies
    # LongTensor (n,), Tensor (batch, n, 3) in nm -> Tensor (batch,) in kJ/mol

It must be differentiable with respect to the positions, treat every row by itself, and give energies that
count from a constant near them (the sum of self energies left out), since float32 has seven digits. It is put
into evaluation mode; what tracing in training mode has frozen, `check_forces` finds out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.learned.options import refuse_unknown

PRECISIONS = {"double": torch.float64, "single": torch.float32}

OPTIONS = ("file", "precision")


def torchscript(atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str]) -> TorchScript:
    """Options: ``file`` (the module) and ``precision`` (double, the default, or single).

    Raises
    ------
    InputError: no file, a truncated one, or one of another kind. UnsupportedError: a charge, which the
    module cannot be told.
    """
    refuse_unknown("torchscript", options, OPTIONS)
    if "file" not in options:
        raise InputError('`ml="torchscript"` needs its file: `ml_options={"file": "model.pt"}`.')
    if charge:
        raise UnsupportedError(
            f"`ml='torchscript'` cannot tell its model the charge of the region ({charge:+d}); if the model "
            "is meant for it, add `ml_options={'charge': '0'}`."
        )
    precision = options.get("precision", "double")
    if precision not in PRECISIONS:
        raise InputError(
            f"`ml_options={ {'precision': precision} }` is unknown; use {' or '.join(PRECISIONS)}."
        )
    return TorchScript(options["file"], atomic_numbers, PRECISIONS[precision])


class TorchScript(Potential):
    """The module in `path` for atoms of `atomic_numbers`, run in the floating type `precision`."""

    def __init__(self, path: str, atomic_numbers: np.ndarray, precision: torch.dtype) -> None:
        super().__init__()
        self.path, self.precision = path, precision
        self.single_precision = precision == torch.float32
        self.module = _evaluating(_load(path), path).to(precision)
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)
        self.register_buffer("atomic_numbers", torch.as_tensor(np.array(atomic_numbers, dtype=np.int64)))

    def energy(self, positions: Tensor) -> Tensor:
        """Energies (batch,) kJ/mol of `positions` (batch, n, 3) nm; InputError when the module fails."""
        self.to(positions.device)
        try:
            energy = self.module(self.atomic_numbers, positions.to(self.precision))
        except RuntimeError as error:  # what any fault in a TorchScript module becomes
            if "out of memory" in str(error):
                raise
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(
                f"The TorchScript module {self.path} failed ({reason}); it must have forward(atomic_numbers "
                "(n,), positions (batch, n, 3) in nm) -> (batch,) in kJ/mol. If it knows float32 only, add "
                "`ml_options={'precision': 'single'}`."
            ) from error
        if not isinstance(energy, Tensor) or energy.shape != (len(positions),):
            found = tuple(energy.shape) if isinstance(energy, Tensor) else type(energy).__name__
            raise InputError(
                f"The TorchScript module {self.path} gave {found} for {len(positions)} conformations; it "
                "must give one energy in kJ/mol for each, as a tensor (batch,)."
            )
        self._check_kind(energy, positions)
        return energy.to(positions.dtype)

    def _check_kind(self, energy: Tensor, positions: Tensor) -> None:
        """Refuse energies with fewer digits than were asked for, and those that know no positions."""
        if not energy.is_floating_point() or torch.finfo(energy.dtype).eps > torch.finfo(self.precision).eps:
            single = energy.dtype == torch.float32
            remedy = "add `ml_options={'precision': 'single'}`, or " * single
            raise InputError(
                f"The TorchScript module {self.path} gave energies of {energy.dtype} for positions of "
                f"{self.precision}; {remedy}write a module that keeps the type of its positions."
            )
        if torch.is_grad_enabled() and positions.requires_grad and not energy.requires_grad:
            raise InputError(
                f"The TorchScript module {self.path} gave energies without a gradient with respect to the "
                "positions (detach, no_grad or whole numbers inside); write it so that autograd can follow."
            )


#: Modules that do something else in training than in evaluation.
_DIFFERENT_IN_TRAINING = ("Dropout", "BatchNorm", "InstanceNorm")


def _evaluating(module: torch.jit.ScriptModule, path: str) -> torch.jit.ScriptModule:
    """`module` in evaluation mode; with a warning where it was written in training mode and that matters."""
    changed = sorted(
        str(part.original_name)
        for part in module.modules()
        if part.training and any(word in str(part.original_name) for word in _DIFFERENT_IN_TRAINING)
    )
    if changed:
        warnings.warn(
            f"The TorchScript module {path} was written in training mode; it is used in evaluation mode, "
            f"in which {', '.join(dict.fromkeys(changed))} does something else. Write it from module.eval().",
            UserWarning,
        )
    return module.eval()


def _load(path: str) -> torch.jit.ScriptModule:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its own format old; it stays readable
            return torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0].split(". ")[0][:150]
        raise InputError(
            f"{path} does not read as a TorchScript file ({reason}); it may be truncated or of another kind "
            "(torch.save writes weights or pickles). Write it again with torch.jit.script(module).save(path)."
        ) from error
