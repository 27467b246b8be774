"""Trajectories: the record, its files, and the checks of those made elsewhere."""
