"""``free-energy``: states, surfaces, averages, differences between systems, MBAR."""
