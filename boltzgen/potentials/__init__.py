"""Batched, differentiable potential energies."""
