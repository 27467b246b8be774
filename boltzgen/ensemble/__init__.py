"""Samples with their densities, energies and weights, and the diagnostics of a verdict.

Names are imported when they are first used: who reads a manifest needs no array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boltzgen.ensemble.coverage import check_coverage
    from boltzgen.ensemble.diagnostics import Diagnostics, diagnose
    from boltzgen.ensemble.ensemble import Ensemble
    from boltzgen.ensemble.export_table import read_u_nk, u_nk
    from boltzgen.ensemble.export_trajectory import mdtraj_trajectory
    from boltzgen.ensemble.frames import Frames, equal_weight_frames, weighted_frames
    from boltzgen.ensemble.join import concatenate
    from boltzgen.ensemble.store import load_ensemble, save_ensemble

#: Name -> the module here that it comes from; the imports above say the same to type checkers.
_PLACES = {
    "check_coverage": "coverage",
    "Diagnostics": "diagnostics",
    "diagnose": "diagnostics",
    "Ensemble": "ensemble",
    "read_u_nk": "export_table",
    "u_nk": "export_table",
    "mdtraj_trajectory": "export_trajectory",
    "Frames": "frames",
    "equal_weight_frames": "frames",
    "weighted_frames": "frames",
    "concatenate": "join",
    "load_ensemble": "store",
    "save_ensemble": "store",
}

__all__ = [
    "Diagnostics",
    "Ensemble",
    "Frames",
    "check_coverage",
    "concatenate",
    "diagnose",
    "equal_weight_frames",
    "load_ensemble",
    "mdtraj_trajectory",
    "read_u_nk",
    "save_ensemble",
    "u_nk",
    "weighted_frames",
]


if not TYPE_CHECKING:  # a checker that saw it would take any misspelt name

    def __getattr__(name: str) -> object:
        """A name of this room, imported when it is first used (PEP 562)."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        globals()[name] = found
        return found
