"""GFN2-xTB and GFN1-xTB by tblite, in worker processes: the backends ``gfn2`` and ``gfn1``.

Energies count from the sum of the neutral, isolated atoms in the same method, so that they keep their digits
in float32 and read as (minus) the energy of atomisation. The constant does not depend on the conformation.

Methods: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019); Grimme, Bannwarth and
Shushkov, J. Chem. Theory Comput. 13, 1989 (2017). Solvent: ALPB, Ehlert, Stahn, Spicher and Grimme, J. Chem.
Theory Comput. 17, 4250 (2021).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError, MissingExtraError
from boltzgen.potentials.learned.options import (
    positive_number,
    refuse_elements,
    refuse_unknown,
    whole_number,
)
from boltzgen.system.graph.elements import symbol_of
from boltzgen.units import BOHR, HARTREE

if TYPE_CHECKING:
    from boltzgen.potentials.workers.external import ExternalPotential

METHODS = {"gfn2": "GFN2-xTB", "gfn1": "GFN1-xTB"}

OPTIONS = ("solvent", "uhf", "accuracy")

#: Unpaired electrons of the free atoms, by column of the periodic table (main groups).
_UNPAIRED = {
    1: 1,
    2: 0,
    3: 1,
    4: 0,
    5: 1,
    6: 2,
    7: 3,
    8: 2,
    9: 1,
    10: 0,
    11: 1,
    12: 0,
    13: 1,
    14: 2,
    15: 3,
    16: 2,
    17: 1,
    18: 0,
    19: 1,
    20: 0,
    31: 1,
    32: 2,
    33: 3,
    34: 2,
    35: 1,
    36: 0,
    51: 3,
    52: 2,
    53: 1,
}


def gfn2(
    atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str], workers: int = 1
) -> ExternalPotential:
    """GFN2-xTB. Options: ``solvent`` (ALPB, such as water), ``uhf`` (unpaired electrons), ``accuracy``."""
    return _potential("gfn2", atomic_numbers, charge, options, workers)


def gfn1(
    atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str], workers: int = 1
) -> ExternalPotential:
    """GFN1-xTB, with the options of `gfn2`."""
    return _potential("gfn1", atomic_numbers, charge, options, workers)


def _potential(
    name: str, atomic_numbers: np.ndarray, charge: int, options: Mapping[str, str], workers: int
) -> ExternalPotential:
    from boltzgen.potentials.workers.external import ExternalPotential
    from boltzgen.potentials.workers.pool import WorkerPool

    if importlib.util.find_spec("tblite") is None:
        raise MissingExtraError(
            f"`ml={name!r}` needs tblite, which is not installed; run: pip install 'boltzgen-sampler[qm]'."
        )
    refuse_unknown(name, options, OPTIONS)
    refuse_elements(name, atomic_numbers, sorted(_UNPAIRED))
    numbers = [int(number) for number in atomic_numbers]
    electrons = sum(numbers) - charge
    if electrons % 2 and "uhf" not in options:
        raise InputError(
            f"`ml={name!r}`: the charge {charge:+d} leaves {electrons} electrons, an odd number, so one at "
            "least is unpaired. Correct `ml_options={'charge': ...}`, or say that a radical is meant: "
            "`ml_options={'uhf': '1'}`."
        )
    uhf = whole_number(name, options, "uhf", 0)
    if uhf < 0 or uhf > electrons or (electrons - uhf) % 2:
        raise InputError(
            f"`ml={name!r}`: {electrons} electrons (charge {charge:+d}) cannot have {uhf} unpaired ones; "
            "check charge and uhf in `ml_options`."
        )
    spec = {
        "kind": "tblite",
        "method": METHODS[name],
        "numbers": numbers,
        "charge": charge,
        "uhf": uhf,
        "solvent": options.get("solvent", "none"),
        "accuracy": positive_number(name, options, "accuracy", 1.0),
    }
    return ExternalPotential(WorkerPool(spec, len(numbers), workers))


def make_evaluator(spec: dict[str, Any]) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """From positions (n, 3) in nm to energy in kJ/mol and gradient (n, 3) in kJ/mol/nm; a worker's.

    Every conformation starts from the same guess of the wave function, so that its energy does not depend
    on what was evaluated before.

    Raises
    ------
    InputError: the solvent is not known. The evaluator itself raises when the charges do not converge.
    """
    numbers = np.array(spec["numbers"])
    constant = sum(_free_atom(spec["method"], int(number)) for number in numbers)
    far = np.arange(3 * len(numbers), dtype=float).reshape(-1, 3)  # a place for each atom, until the first
    calculator = _calculator(spec["method"], numbers, far, spec["charge"], spec["uhf"])
    calculator.set("accuracy", spec["accuracy"])
    if spec["solvent"] != "none":
        _add_solvent(calculator, spec["solvent"])

    def evaluate(positions: np.ndarray) -> tuple[float, np.ndarray]:
        calculator.update(positions / BOHR)
        result = calculator.singlepoint()
        energy = (float(result.get("energy")) - constant) * HARTREE
        return energy, np.asarray(result.get("gradient")) * (HARTREE / BOHR)

    return evaluate


def _calculator(method: str, numbers: np.ndarray, bohr: np.ndarray, charge: int, uhf: int) -> Any:
    from tblite.interface import Calculator

    calculator = Calculator(method, numbers, bohr, charge=float(charge), uhf=uhf)
    calculator.set("verbosity", 0)
    return calculator


def _add_solvent(calculator: Any, solvent: str) -> None:
    try:
        calculator.add("alpb-solvation", solvent)
    except Exception as error:  # tblite raises errors of its own classes
        raise InputError(
            f"`ml_options={ {'solvent': solvent} }` is not a solvent of tblite's ALPB model "
            f"({' '.join(str(error).split())[:100]}); try water, methanol or acetonitrile."
        ) from error


def _free_atom(method: str, number: int) -> float:
    """Energy of one neutral atom in Eh."""
    if number not in _UNPAIRED:
        raise InputError(f"xTB here has no reference energy of {symbol_of(number)}.")
    atom = _calculator(method, np.array([number]), np.zeros((1, 3)), 0, _UNPAIRED[number])
    return float(atom.singlepoint().get("energy"))
