"""Force fields by name, peptides from sequences, MMFF94 as an OpenMM System."""
