"""What AmberTools' programs say when they fail, as one sentence with their own reason and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from boltzgen.errors import BoltzgenError, InputError

#: Lines that tell a reason, the surest first: of sqm.out, then of what a program printed.
_REASONS = (
    re.compile(r"no AM1 parameters for this element.*", re.IGNORECASE),
    re.compile(r"odd number of electrons.*", re.IGNORECASE),
    re.compile(
        r".*(?:unable to achieve self consistency|no convergence in SCF|not converge).*", re.IGNORECASE
    ),
    re.compile(r".*cannot (?:successfully|properly) .*", re.IGNORECASE),
    re.compile(r".*(?:fatal|error|bomb)\b.*", re.IGNORECASE),
)

_BY_FILE = 'give charges of another source, `charges="FILE"`'


def reason_in(*texts: str) -> str:
    """The line of `texts` that says most of why a program failed; its last line where none does."""
    lines = [" ".join(line.split()) for text in texts for line in text.splitlines() if line.strip()]
    for pattern in _REASONS:
        for line in lines:
            found = pattern.search(line)
            if found is not None:
                return found[0].strip(" .!:")[:200]
    return lines[-1].strip(" .")[:200] if lines else "it printed nothing"


def charges_failed(where: str, method: str, charge: int, said: str, place: Path) -> BoltzgenError:
    """Why antechamber made no charges of the molecule `where` of the net charge `charge` (e)."""
    output = place / "sqm.out"
    reason = reason_in(output.read_text(errors="replace") if output.is_file() else "", said)
    lowered = reason.lower()
    if "odd number" in lowered:
        return InputError(
            f"{where}: with the charge {charge:+d} it has an odd number of electrons, which sqm refuses; "
            "correct its hydrogens or formal charges."
        )
    if "self consistency" in lowered or "convergence" in lowered or "converge" in lowered:
        return BoltzgenError(
            f"{where}: sqm's AM1 calculation did not converge ({reason}), so that there are no charges of "
            f"the method {method}; {_BY_FILE}."
        )
    return BoltzgenError(
        f"{where}: antechamber made no charges of the method {method} ({reason}); check the structure, or "
        f"{_BY_FILE}."
    )


def types_failed(where: str, forcefield: str, said: str) -> InputError:
    """Why antechamber gave no atom types."""
    return InputError(
        f"{where}: antechamber finds no {forcefield.upper()} atom types for it ({reason_in(said)}); check "
        "its bonds and charges, or bring the molecule with parameters, as prmtop, GROMACS top or System XML."
    )


def parameters_failed(where: str, forcefield: str, reason: str) -> InputError:
    """Which parameters parmchk2 or tleap lack."""
    return InputError(
        f"{where}: {forcefield.upper()} lacks parameters for it ({reason}); use another `forcefield`, or "
        "bring the molecule with parameters, as prmtop, GROMACS top or System XML."
    )
