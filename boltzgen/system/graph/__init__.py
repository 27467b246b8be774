"""The molecular graph: neighbours, geometry, centres, isomers, torsions, canonical order, hash, bonds."""
