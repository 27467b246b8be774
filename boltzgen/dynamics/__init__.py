"""Molecular dynamics with OpenMM: Langevin and replica exchange."""
