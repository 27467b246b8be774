"""Samples with their densities, energies and weights, and the diagnostics of a verdict."""

from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.diagnostics import Diagnostics, diagnose
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.export_table import read_u_nk, u_nk
from boltzgen.ensemble.export_trajectory import mdtraj_trajectory
from boltzgen.ensemble.frames import Frames, equal_weight_frames, weighted_frames
from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.store import load_ensemble, save_ensemble

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
