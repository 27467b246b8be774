"""Released Boltzmann generators, one folder each (data only)."""
