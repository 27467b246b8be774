"""The surface term beside a Generalized Born solvent: ACE (OpenMM's default), LCPO (Amber's), or none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import openmm
    from openmm import app

#: Words of `surface` -> what OpenMM calls them.
SURFACES: dict[str, str | None] = {"ace": "ACE", "lcpo": "LCPO", "none": None}

DEFAULT_SURFACE = "ace"


def check_surface(surface: str, implicit: str, models: tuple[str, ...]) -> None:
    """Raise unless `surface` is known, goes with the solvent `implicit` (of `models`), and OpenMM has it."""
    if surface not in SURFACES:
        raise InputError(f"`surface={surface!r}` is not known; expected {', '.join(SURFACES)}.")
    if surface == DEFAULT_SURFACE:
        return
    if implicit not in models:
        raise InputError(
            f"`surface={surface!r}` goes with a solvent of the names {', '.join(models)}, such as "
            f'`implicit="obc2"`; `implicit={implicit!r}` was given.'
        )
    import openmm

    if surface == "lcpo" and not hasattr(openmm, "LCPOForce"):
        raise UnsupportedError(
            f"`surface='lcpo'` needs OpenMM 8.5 or later; this is {openmm.__version__}. Install a later one, "
            'or use `surface="none"`.'
        )


def add_lcpo(system: openmm.System, topology: app.Topology, label: str) -> None:
    """Add LCPO's surface term to `system`, in place: OpenMM's parameters and tension, types by the bonds."""
    from openmm.app.internal import lcpo

    rows = without_parameters_refused(lambda: lcpo.getLCPOParamsTopology(topology), label)
    lcpo.addLCPOForce(system, rows, False)


def without_parameters_refused(call: Callable[[], Any], label: str) -> Any:
    """What `call` returns; where LCPO has no parameters for an atom, an UnsupportedError about `label`."""
    try:
        return call()
    except ValueError as error:
        if "No LCPO parameters" not in str(error):
            raise
        raise UnsupportedError(
            f"{label}: LCPO has parameters for C, N, O, F, S, P, Cl and Mg in common bonding only "
            f'({str(error).rstrip(".")}). Use `surface="ace"` or `surface="none"`.'
        ) from error


def keyword_of(create: Callable[..., Any], surface: str) -> dict[str, str | None]:
    """The keyword by which OpenMM's `create` takes `surface`; none for the default, which it has itself."""
    if surface == DEFAULT_SURFACE:
        return {}
    name = "sasaMethod" if "sasaMethod" in inspect.signature(create).parameters else "gbsaModel"
    return {name: SURFACES[surface]}
