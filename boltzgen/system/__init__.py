"""A molecule is read, checked and parametrised: `MolecularSystem`."""
