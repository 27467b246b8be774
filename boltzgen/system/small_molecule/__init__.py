"""Small molecules from SMILES, SDF and mol2, checked and parametrised."""
