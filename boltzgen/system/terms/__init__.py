"""What the terms of an OpenMM System say: equilibria, springs, barriers, charges."""
