"""Estimators: from ensembles to free energies with standard errors."""

from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.populations import Population, populations, state_free_energies
from boltzgen.free_energy.states import State, StateSet, parse_states, read_states

__all__ = [
    "Estimate",
    "Population",
    "State",
    "StateSet",
    "parse_states",
    "populations",
    "read_states",
    "state_free_energies",
]
