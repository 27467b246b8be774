"""``boltzgen free-energy``: one file for each of its verbs."""
