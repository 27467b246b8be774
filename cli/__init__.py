"""The command line of boltzgen: parses words, prints tables, turns exceptions into exit codes."""
