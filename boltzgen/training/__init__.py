"""Losses, optimisation, metrics and checkpoints."""
