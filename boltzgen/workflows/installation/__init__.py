"""``doctor``, ``models``, ``demo``: what is installed, what is shipped, and that it works."""
