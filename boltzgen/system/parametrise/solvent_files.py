"""Solvent files that do not belong to a force field: what OpenMM's complaint means."""

from __future__ import annotations

from boltzgen.errors import InputError


def explain_solvent_file(error: Exception, implicit: str, label: str) -> None:
    """Raise an InputError when `error` says that the file `implicit` lacks the force field's atom types."""
    if implicit.endswith(".xml") and "GBSAOBCForce: No parameters defined" in str(error):
        raise InputError(
            f"`implicit={implicit!r}` has no parameters for the atom types of {label} "
            f"({str(error).split('atom type ')[-1].strip().rstrip('.')}, for one): such a file goes with the "
            'force field of its name alone. A solvent by name, `implicit="obc2"`, goes with every one.'
        ) from error
