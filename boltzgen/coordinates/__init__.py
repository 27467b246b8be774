"""Internal coordinates chosen from the molecular graph, with analytic log-determinants."""
