"""``train`` and ``adapt``: a run folder with a model in it."""
