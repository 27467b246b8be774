"""Any calculator of the Atomic Simulation Environment, in worker processes: the backend ``ase``.

``ml_options={"calculator": "module:Class"}`` names it, every other one goes to its constructor as a JSON word
(``cutoff=6.0``, ``labels=["a"]``; what is no JSON stays a string). Energies are the calculator's, in kJ/mol.

Reading a SYS folder must not start programs that it names, so only subclasses of ASE's calculator class are
called, and none of those that run a program on files. Still, a calculator is code: take such a SYS only from
people whom you trust.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError, MissingExtraError, UnsupportedError
from boltzgen.units import ELECTRONVOLT, NM_PER_ANGSTROM

if TYPE_CHECKING:
    from boltzgen.potentials.workers.external import ExternalPotential

#: Keywords by which calculators are told what to run.
_COMMANDS = frozenset({"command", "profile", "binary", "executable"})


def ase(
    atomic_numbers: np.ndarray, *, charge: int, options: Mapping[str, str], workers: int = 1
) -> ExternalPotential:
    """Options: ``calculator`` (``module:Class``) and the keywords of that class.

    The charge is put into ``atoms.info["charge"]``, where some calculators look; others have a keyword.

    Raises
    ------
    InputError, UnsupportedError: no such calculator, one that is refused, or keywords that it does not take.
    """
    from boltzgen.potentials.workers.external import ExternalPotential
    from boltzgen.potentials.workers.pool import WorkerPool

    if importlib.util.find_spec("ase") is None:
        raise MissingExtraError(
            "`ml=\"ase\"` needs ASE, which is not installed; run: pip install 'boltzgen-sampler[qm]'."
        )
    if "calculator" not in options:
        raise InputError(
            '`ml="ase"` needs `ml_options={"calculator": "module:Class"}`, such as ase.calculators.emt:EMT.'
        )
    numbers = [int(number) for number in atomic_numbers]
    keywords = {key: _json(word) for key, word in options.items() if key != "calculator"}
    spec = {
        "kind": "ase",
        "calculator": options["calculator"],
        "keywords": keywords,
        "numbers": numbers,
        "charge": charge,
    }
    make_evaluator(spec)  # says here, not in a worker, what is wrong
    return ExternalPotential(WorkerPool(spec, len(numbers), workers))


def make_evaluator(spec: dict[str, Any]) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """From positions (n, 3) in nm to energy in kJ/mol and gradient (n, 3) in kJ/mol/nm; a worker's."""
    from ase import Atoms

    calculator = _class(spec["calculator"], spec["keywords"])
    try:
        made = calculator(**spec["keywords"])
    except Exception as error:  # constructors raise exceptions of any class
        raise InputError(
            f"{spec['calculator']} cannot be made with {spec['keywords']} "
            f"({' '.join(str(error).split())[:150]}); give its keywords in `ml_options`."
        ) from error
    missing = {"energy", "forces"} - set(made.implemented_properties)
    if missing:
        raise UnsupportedError(
            f"{spec['calculator']} gives no {' and no '.join(sorted(missing))} (it implements "
            f"{', '.join(made.implemented_properties) or 'nothing'}); training and dynamics need energies "
            "and forces, so use a calculator that implements both."
        )
    atoms = Atoms(numbers=spec["numbers"], positions=np.zeros((len(spec["numbers"]), 3)))
    atoms.info["charge"] = spec["charge"]
    atoms.calc = made

    def evaluate(positions: np.ndarray) -> tuple[float, np.ndarray]:
        atoms.set_positions(positions / NM_PER_ANGSTROM)
        energy = float(atoms.get_potential_energy()) * ELECTRONVOLT
        return energy, -np.asarray(atoms.get_forces()) * (ELECTRONVOLT / NM_PER_ANGSTROM)

    return evaluate


def _class(word: str, keywords: Iterable[str]) -> Any:
    """The calculator class that ``module:Class`` names, unless it or one of `keywords` starts a program."""
    from ase.calculators.calculator import BaseCalculator, FileIOCalculator
    from ase.calculators.genericfileio import GenericFileIOCalculator

    module, _, name = word.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"`ml_options={ {'calculator': word} }` cannot be found ({error}); write module:Class of an "
            "installed package, such as ase.calculators.emt:EMT."
        ) from error
    if not (isinstance(found, type) and issubclass(found, BaseCalculator)):
        raise InputError(f"`ml_options={ {'calculator': word} }` is not a class of ASE calculators.")
    if issubclass(found, FileIOCalculator | GenericFileIOCalculator) or _COMMANDS & set(keywords):
        raise UnsupportedError(
            f"`ml_options={ {'calculator': word} }` starts a program for each conformation, which a file "
            "in SYS must not be able to do; use a calculator that computes in Python or a library."
        )
    return found


def _json(word: str) -> Any:
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"`ml_options`: {word[:60]}... is nested too deeply or too large a number; give a smaller one."
        ) from error
