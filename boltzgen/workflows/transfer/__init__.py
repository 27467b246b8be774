"""``benchmark transfer``: how well a model knows molecules that it never saw."""
