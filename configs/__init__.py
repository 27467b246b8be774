"""Configurations shipped with boltzgen (data only)."""
