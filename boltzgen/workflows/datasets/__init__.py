"""``dataset build``: many molecules, prepared and simulated."""
