"""From the flow to the target by moves: annealed importance sampling, sequential Monte Carlo."""
