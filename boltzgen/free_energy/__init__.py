"""Estimators: from ensembles to free energies with standard errors."""

from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import expectation, smoothed_log_weights
from boltzgen.free_energy.observables import expectations
from boltzgen.free_energy.partition import log_partition
from boltzgen.free_energy.populations import Population, populations, state_free_energies
from boltzgen.free_energy.states import State, StateSet, parse_states, read_states
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.surface import Surface, free_energy_surface
from boltzgen.free_energy.thermodynamics import thermodynamics

__all__ = [
    "Estimate",
    "Population",
    "State",
    "StateSet",
    "Statistics",
    "Surface",
    "expectation",
    "expectations",
    "free_energy_surface",
    "log_partition",
    "parse_states",
    "populations",
    "read_states",
    "smoothed_log_weights",
    "state_free_energies",
    "thermodynamics",
]
