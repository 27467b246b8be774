"""Samples with their densities, energies and weights, and the diagnostics of a verdict."""

from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.diagnostics import Diagnostics, diagnose
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.export_table import read_u_nk, u_nk
from boltzgen.ensemble.frames import Frames, equal_weight_frames, weighted_frames

__all__ = [
    "Diagnostics",
    "Ensemble",
    "Frames",
    "check_coverage",
    "diagnose",
    "equal_weight_frames",
    "read_u_nk",
    "u_nk",
    "weighted_frames",
]
