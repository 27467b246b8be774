"""The region of a hybrid: its atoms, its link hydrogens, and its energy taken out of the force field."""
