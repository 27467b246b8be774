"""Trajectories: stored, streamed, and checked when they come from elsewhere."""
