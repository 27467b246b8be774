"""Potentials of regions: machine-learned, semi-empirical, or anybody's by a backend."""
