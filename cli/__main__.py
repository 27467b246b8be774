"""``python -m boltzgen_cli``: the same as the script ``boltzgen``."""

from boltzgen_cli.entry import run

run()
