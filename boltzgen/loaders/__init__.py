"""One validated loader for each format of files that boltzgen reads: what a file says is checked first."""
