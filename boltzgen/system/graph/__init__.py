"""The molecular graph: rings, centres, isomers, canonical order, hash, bond orders."""
