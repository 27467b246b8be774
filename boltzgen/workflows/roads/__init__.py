"""``run``: from a molecule and a question to an answer; one file ``road_*.py`` for each road."""
