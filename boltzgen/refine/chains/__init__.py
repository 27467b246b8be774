"""Chains made of a flow: Metropolis within Gibbs in its latent space, groups of walkers, tempered ladders."""
