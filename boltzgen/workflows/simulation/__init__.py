"""``simulate``: reference data from a prepared molecule."""
