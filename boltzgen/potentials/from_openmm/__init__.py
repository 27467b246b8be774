"""From OpenMM's System to a potential: readers by force class, the Reference check, the bridge."""
