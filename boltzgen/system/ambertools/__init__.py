"""GAFF and GAFF2 through the programs of AmberTools, which are called and never imported."""
