"""``config``: configurations that are shipped, their keys, and what a file would do."""
