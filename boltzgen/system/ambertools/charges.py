"""Partial charges by antechamber: AM1-BCC or ABCG2 of one stated conformer, computed once and kept.

Jakalian, Jack, Bayly, J. Comput. Chem. 23, 1623 (2002); ABCG2: He, Man, Yang, Lee, Wang, J. Chem. Theory
Comput. 21, 3032 (2025). Two traps of the programs are closed here. Without the net charge they take the
molecule for a neutral one and say nothing. And AM1 without a solvent moves a proton from one end of a
zwitterion to the other while it optimises: the charges would be those of another molecule.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import BoltzgenError
from boltzgen.files import write_json
from boltzgen.guards import user_cache
from boltzgen.interrupts import StopRequest
from boltzgen.loaders.records import Record, read_record
from boltzgen.system.ambertools.extended import Extended, extended
from boltzgen.system.ambertools.failures import charges_failed
from boltzgen.system.ambertools.mol2 import typed_atoms
from boltzgen.system.ambertools.programs import AmberTools, ProgramError, scratch
from boltzgen.system.ambertools.types import READING, atom_types

if TYPE_CHECKING:
    from rdkit import Chem

#: Methods and their names for people.
METHODS = {"bcc": "AM1-BCC", "abcg2": "AM1 with the corrections ABCG2"}

#: e; charges that add up to another number than the formal charge by more than this are wrong.
TOLERANCE = 0.01

#: sqm's settings as antechamber writes them, and without the optimisation.
_SETTINGS = "qm_theory='AM1', grms_tol=0.0005, scfconv=1.d-10, ndiis_attempts=700,"
_UNOPTIMISED = f"{_SETTINGS} maxcyc=0,"

#: Of the sum of two covalent radii: the longest bond, and the shortest distance of atoms that have none.
_LONGEST_BOND, _SHORTEST_CONTACT = 1.4, 1.15

#: Wall seconds of AM1-BCC on one core: `_SECONDS` at `_ATOMS` atoms, and its power of their number.
_SECONDS, _ATOMS, _POWER = 5.0, 21, 3.7

_SCHEMA = "boltzgen-charges-1"


class _Kept(Record):
    """Charges in the user's cache, in the order of the SMILES. held: the conformer was not optimised."""

    molecule: str
    method: str
    programs: str
    charges: list[float]
    held: bool


@dataclass(frozen=True)
class Charges:
    """values: e, in the order of the molecule. record: where they come from. notes: for people."""

    values: tuple[float, ...]
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def expected_seconds(atoms: int) -> float:
    """About how long AM1-BCC of so many atoms takes on one core: 5 s for 21, 3 minutes for 55."""
    return _SECONDS * max(atoms / _ATOMS, 0.4) ** _POWER


def computed_charges(
    molecule: Chem.Mol,
    method: str,
    tools: AmberTools,
    where: str,
    *,
    stop: StopRequest,
    before: Callable[[int], None],
) -> Charges:
    """The charges of `molecule` (with hydrogens, one conformer) by `method` of `METHODS`.

    before: told the number of atoms before a computation, not where charges were kept; may raise.

    Raises
    ------
    BoltzgenError: a program failed; says how. StoppedError: `stop` asked to end.
    """
    form = extended(molecule)
    charge = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
    content = [_SCHEMA, method, form.smiles, np.round(form.positions, 4).tolist(), tools.digest]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    kept = _kept(key, len(form.order), charge)
    if kept is None:
        before(len(form.order))
        values, held = _computed(form, method, charge, tools, where, stop)
        _keep(
            key,
            {
                "schema": _SCHEMA,
                "molecule": form.smiles,
                "method": method,
                "programs": tools.version,
                "charges": values,
                "held": held,
            },
        )
    else:
        values, held = kept
    ordered = np.empty(len(values))
    ordered[list(form.order)] = values
    record = {
        "method": method,
        "net_charge": charge,
        "conformer": form.conformer + (", not optimised" if held else ", optimised by sqm under AM1"),
        "molecule": form.smiles,
    }
    notes = []
    if held:
        notes.append(
            f"AM1 alone gives {where} other bonds (in a zwitterion a proton changes its place); its charges "
            "are those of the conformer as RDKit built it, not optimised."
        )
    return Charges(tuple(float(value) for value in ordered), record, tuple(notes))


def _computed(
    form: Extended, method: str, charge: int, tools: AmberTools, where: str, stop: StopRequest
) -> tuple[list[float], bool]:
    """Charges (e) in the order of `form`, and whether the conformer was held as it is."""
    reading = atom_types(form.molecule, "gaff2", charge, tools, where, stop)[1]
    with scratch() as place:
        values = _antechamber(form, method, charge, tools, where, stop, place, reading, _SETTINGS)
        if keeps_its_bonds(form.molecule, _positions(place / "sqm.pdb")):
            return values, False
    with scratch() as place:
        return _antechamber(form, method, charge, tools, where, stop, place, reading, _UNOPTIMISED), True


def _antechamber(
    form: Extended,
    method: str,
    charge: int,
    tools: AmberTools,
    where: str,
    stop: StopRequest,
    place: Path,
    reading: str,
    settings: str,
) -> list[float]:
    from rdkit import Chem

    (place / "given.sdf").write_text(Chem.MolToMolBlock(form.molecule))
    words = [*READING, "-o", "charged.mol2", "-at", "gaff2", "-j", reading]
    words += ["-c", method, "-nc", str(charge), "-ek", settings]
    try:
        said = tools.call("antechamber", words, place, stop)
    except ProgramError as error:
        raise charges_failed(where, method, charge, error.said, place) from error
    made = place / "charged.mol2"
    if not made.is_file():
        raise charges_failed(where, method, charge, said, place)
    values = [atom.charge for atom in typed_atoms(made.read_text(), form.molecule)]
    if abs(sum(values) - charge) > TOLERANCE:
        raise BoltzgenError(
            f"{where}: the charges of antechamber add up to {sum(values):+.3f} e instead of {charge:+d} e; "
            'give charges of another source, `charges="FILE"`.'
        )
    return values


def _positions(path: Path) -> np.ndarray:
    """(N, 3) Angstrom, of a PDB file that sqm wrote."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("ATOM")]
    return np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in lines])


def keeps_its_bonds(molecule: Chem.Mol, positions: np.ndarray) -> bool:
    """Whether atoms at `positions` (N, 3), Angstrom, have the bonds of `molecule`, by covalent radii.

    Two heavy atoms may come close without a bond; a hydrogen that does has changed its place.
    """
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    radii = [table.GetRcovalent(atom.GetAtomicNum()) for atom in molecule.GetAtoms()]
    light = [atom.GetAtomicNum() == 1 for atom in molecule.GetAtoms()]
    for i, j in combinations(range(len(radii)), 2):
        far = float(np.linalg.norm(positions[i] - positions[j])) / (radii[i] + radii[j])
        if molecule.GetBondBetweenAtoms(i, j) is not None:
            if far > _LONGEST_BOND:
                return False
        elif light[i] != light[j] and far < _SHORTEST_CONTACT:
            return False
    return True


def _kept(key: str, atoms: int, charge: int) -> tuple[list[float], bool] | None:
    """What the cache has under `key`; None where it has nothing, or nothing sound."""
    with suppress(BoltzgenError, OSError, RuntimeError):
        path = user_cache("charges") / f"{key}.json"
        if not path.is_file():
            return None
        found = read_record(
            _Kept, path, schema=_SCHEMA, missing="no such file", remedy="remove it.", of="kept charges"
        )
        values = [float(value) for value in found["charges"]]
        if len(values) == atoms and abs(sum(values) - charge) <= TOLERANCE:
            return values, bool(found["held"])
    return None


def _keep(key: str, content: dict[str, Any]) -> None:
    with suppress(BoltzgenError, OSError, RuntimeError):  # there may be no home, or no room
        folder = user_cache("charges")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(folder / f"{key}.json", content)
