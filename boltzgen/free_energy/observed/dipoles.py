"""Dipole moment of the partial charges, in debye.

``mu = sum_i q_i (r_i - c)`` with c the centre of mass. Of a neutral molecule it is the same about any
point; of a charged one it is not, and the centre of mass is what a rotating molecule turns about.
"""

from __future__ import annotations

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule

#: Debye in one e nm: 1e-9 m times 1.602176634e-19 C over 3.33564095e-30 C m (1e-21 / c, CODATA 2018).
DEBYE_PER_E_NM = 48.03204712570263

#: A total charge (e) beyond rounding of a force field's charges.
_CHARGED = 0.01


def dipole(asked: Asked, molecule: Molecule) -> Measure:
    """``dipole``, whose mean is ``<|mu|>``, or ``dipole-rms``, whose mean is ``sqrt(<mu^2>)``; debye."""
    asked.require_bare()
    if molecule.charges is None or molecule.masses is None:
        raise InputError(f"observable {asked.text!r} needs partial charges: {molecule.missing}")
    q, centre = molecule.charges, molecule.masses / molecule.masses.sum()
    total = float(q.sum())
    weights = q - total * centre

    def evaluate(positions: np.ndarray) -> np.ndarray:
        moments = np.einsum("a,nai->ni", weights, np.asarray(positions, dtype=np.float64))
        return DEBYE_PER_E_NM * np.linalg.norm(moments, axis=1)[:, None]

    note = (
        "dipole moments are those of the force field's fixed charges, which are not polarised by "
        "conformation or solvent"
    )
    if abs(total) > _CHARGED:
        note += (
            f"; the molecule carries {total:+.3g} e, so that they are about its centre of mass and would be "
            "others about another point"
        )
    further = {"origin": "centre of mass", "total_charge_e": total}
    return Measure((asked.base,), "D", evaluate, 2 if asked.base == "dipole-rms" else 1, (further,), note)
