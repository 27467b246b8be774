"""Samples with their densities, energies and weights, and the diagnostics of a verdict."""

from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.diagnostics import Diagnostics, diagnose
from boltzgen.ensemble.ensemble import Ensemble

__all__ = ["Diagnostics", "Ensemble", "check_coverage", "diagnose"]
