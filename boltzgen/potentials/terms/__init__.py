"""One module for each physical term: the definitions of record."""
