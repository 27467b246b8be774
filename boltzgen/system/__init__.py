"""The first room: a molecule is read, parametrised and checked, and leaves as a `MolecularSystem`."""
