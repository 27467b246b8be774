"""Samples of walkers, which depend on one another: who made which, what they are worth, and the verdict."""
