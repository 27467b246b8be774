"""What each file format states: files in, raw molecules out; PDB text; System XML without code."""
