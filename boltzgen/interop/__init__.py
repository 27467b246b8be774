"""Our potentials and flows in the terms of other programs: ASE, OpenMM, bgflow."""
