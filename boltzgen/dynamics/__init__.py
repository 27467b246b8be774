"""Molecular dynamics: Langevin runs and replica exchange, the makers of reference data."""
