"""Frozen, typed records of what an energy is made of: parameters, custom forces, solvents, tables."""
