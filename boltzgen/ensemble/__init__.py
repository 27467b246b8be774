"""Samples with their densities, energies and weights, and the diagnostics of a verdict."""
