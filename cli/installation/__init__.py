"""Verbs about the installation: what is shipped, whether it works, whom to cite."""
