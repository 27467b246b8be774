"""``prepare``: a molecule becomes a SYS folder."""
