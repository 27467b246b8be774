"""What a flow learns from: likelihood, reverse KL, weighted samples of its own, log-dispersion."""
