"""Finds the potentials that a region can have: ours, and those that other packages bring.

A package adds a backend by an entry point of the group ``boltzgen.ml_potentials``, whose name is what
`prepare` is given as `ml` and whose value is a factory::

    def factory(atomic_numbers, *, charge, options):   # (n,) int array; e; words of ml_options
        return potential                               # a boltzgen.potentials.base.Potential of these n atoms

The factory refuses what it cannot treat with an `InputError`. If it has a parameter ``workers``, it also gets
the number of processes that it may start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from boltzgen.errors import BoltzgenError
from boltzgen.extensions import Extensions
from boltzgen.potentials.base import Potential
from boltzgen.potentials.learned.options import whole_number

#: Options that are not the factory's: the charge is an argument, the hash is checked before.
COMMON_OPTIONS = ("charge", "file_sha256")

#: What `ml` can name.
BACKENDS = Extensions(
    group="boltzgen.ml_potentials",
    noun="potential",
    own={
        "xtb-ala2-small": "boltzgen.potentials.learned.ani_network:xtb_ala2_small",
        "gfn2": "boltzgen.potentials.learned.xtb:gfn2",
        "gfn1": "boltzgen.potentials.learned.xtb:gfn1",
        "ani2x": "boltzgen.potentials.learned.torchani_backend:ani2x",
        "ani1x": "boltzgen.potentials.learned.torchani_backend:ani1x",
        "ani1ccx": "boltzgen.potentials.learned.torchani_backend:ani1ccx",
        "torchscript": "boltzgen.potentials.learned.torchscript_backend:torchscript",
        "ase": "boltzgen.potentials.learned.ase_backend:ase",
    },
)

Factory = Callable[..., Potential]


def factory_of(name: str) -> Factory:
    """The factory called `name`; what `Extensions.load` raises when there is none."""
    factory: Factory = BACKENDS.load(name, f"`ml={name!r}`")
    return factory


def make_backend(
    name: str, atomic_numbers: np.ndarray, options: Mapping[str, str], *, workers: int = 1
) -> Potential:
    """The potential `name` of these atoms; `options` hold the charge beside the backend's own words.

    Raises
    ------
    InputError, UnsupportedError: the backend does not exist or cannot treat the atoms or options.
    BoltzgenError: it does not give what it should.
    """
    factory = factory_of(name)
    charge = whole_number(name, options, "charge", 0)
    own = {key: word for key, word in options.items() if key not in COMMON_OPTIONS}
    more: dict[str, Any] = {"workers": workers} if "workers" in inspect.signature(factory).parameters else {}
    potential = factory(np.array(atomic_numbers), charge=charge, options=own, **more)
    if not isinstance(potential, Potential):
        raise BoltzgenError(
            f"`ml={name!r}`: its factory returned {type(potential).__name__}, not a boltzgen Potential; "
            "report this to its authors."
        )
    if potential.energy_unit != "kJ/mol":
        raise BoltzgenError(f"`ml={name!r}` has energies in {potential.energy_unit}; a region needs kJ/mol.")
    return potential
