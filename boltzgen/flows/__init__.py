"""Conditioned densities over internal coordinates."""
