"""``transfer``: the free energy of taking each of a list of molecules from one energy to another."""
