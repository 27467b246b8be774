"""``selftest``: numbers that are known exactly, computed by the functions that users call."""
