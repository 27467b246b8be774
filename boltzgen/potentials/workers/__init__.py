"""Energies that torch cannot compute, in processes of their own."""
