"""``boltzgen doctor``: what is installed, what it can do, and what clashes."""

from __future__ import annotations

from boltzgen_cli.terminal import console


def doctor() -> None:
    """Report versions, platforms and threads, and check the installation.

    Example: boltzgen doctor

    Exits with 1 if the protein-design distribution called boltzgen is in the same environment.
    """
    from boltzgen.workflows.installation.doctor import doctor as work

    report = work()
    console.result(report)
    console.key_values("boltzgen doctor", report.facts)
    for warning in report.warnings:
        console.finding(f"warning: {warning}")
    report.raise_for_faults()
    console.message("no faults found.")
