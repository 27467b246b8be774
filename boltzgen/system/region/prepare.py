"""The part of `prepare` that gives a molecule its machine-learned region."""

from __future__ import annotations

from dataclasses import replace

from boltzgen.errors import InputError
from boltzgen.system.energy_model import MachineLearnedRegion
from boltzgen.system.formats.numbers import is_whole
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.options import PrepareOptions
from boltzgen.system.region.division import without_internal_terms
from boltzgen.system.region.region import (
    is_zwitterion,
    link_atoms,
    link_warnings,
    region_charge,
    select_region,
)
from boltzgen.system.terms.charges import has_implicit_solvent

#: The option that every backend has: the region's charge, e.
CHARGE_OPTION = "charge"

#: Backends of quantum chemistry that know a solvent of their own, by the option ``solvent``.
SOLVENT_OPTION = "solvent"


def with_region(system: MolecularSystem, asked: PrepareOptions) -> MolecularSystem:
    """`system` as a hybrid with the region that `asked` names; unchanged when it names no potential.

    Charge, link hydrogens and the hash of a file are decided here, once, and recorded.

    Raises
    ------
    InputError, UnsupportedError: the region or an option cannot be used.
    """
    if asked.ml is None:
        if asked.ml_region != "all" or asked.ml_options:
            given = "ml_options" if asked.ml_options else "ml_region"
            raise InputError(f'`{given}` goes with `ml=NAME`, for example `ml="gfn2"`.')
        return system
    atoms = select_region(system, asked.ml_region)
    _refuse_unknown_elements(system, atoms)
    without_internal_terms(system.openmm_system(), atoms)  # refuses what cannot be divided
    links = link_atoms(system, atoms)
    options = dict(asked.ml_options)
    workers = _workers(options.pop("workers", str(asked.workers)))
    notes = _charge_warnings(system, atoms, options.get(CHARGE_OPTION))
    if CHARGE_OPTION not in options:
        options[CHARGE_OPTION] = str(region_charge(system, atoms))
    region = MachineLearnedRegion(asked.ml, atoms, options, links).with_file_hash()
    notes += [*link_warnings(system, links), *_solvent_warnings(system, region)]
    provenance = {**system.provenance, "warnings": [*system.provenance.get("warnings", []), *notes]}
    model = replace(system.energy_model, region=region, workers=workers)
    return replace(system, energy_model=model, provenance=provenance)


def _workers(word: str) -> int:
    """Number of processes, an option of every backend that changes no energy."""
    if not is_whole(word) or int(word) < 1:
        raise InputError(f"`ml_options={ {'workers': word} }`: give a number of processes above 0.")
    return int(word)


def _refuse_unknown_elements(system: MolecularSystem, atoms: tuple[int, ...]) -> None:
    for atom in atoms:
        if system.atomic_numbers[atom] <= 0:
            raise InputError(
                f"{system.atom_names[atom]} of the machine-learned region has no known element (a united "
                "atom or a bead); choose another `ml_region`."
            )


def _charge_warnings(system: MolecularSystem, atoms: tuple[int, ...], given: str | None) -> list[str]:
    """A doubt about a charge that was given and is another one than the force field's."""
    if given is None:
        return []
    try:
        own = region_charge(system, atoms)
    except InputError:
        return []  # that it cannot be told is why it is given
    if given.strip() in (str(own), f"{own:+d}"):
        return []
    told = {CHARGE_OPTION: given}
    return [f"`ml_options={told}` is not the charge of the region in the force field, {own:+d}."]


def _solvent_warnings(system: MolecularSystem, region: MachineLearnedRegion) -> list[str]:
    """Doubts about the region's surroundings; InputError when the solvent would count twice."""
    implicit = has_implicit_solvent(system.openmm_system())
    told = {SOLVENT_OPTION: region.options.get(SOLVENT_OPTION, "none")}
    own = told[SOLVENT_OPTION] != "none"
    if own and implicit:
        raise InputError(
            f"The solvent would count twice: once by `implicit` and once by `ml_options={told}`; leave out "
            "one of them."
        )
    if own and len(region.atoms) < system.n_atoms:
        return [
            f"`ml_options={told}` surrounds the region alone, as if the rest of the molecule were solvent; "
            "`implicit` solvates the whole molecule."
        ]
    if not own and is_zwitterion(system, region.atoms):
        return [
            "The region is a zwitterion: without a solvent of its own, a potential whose bonds can break "
            "moves a proton from the ammonium to the carboxylate group, also beside a force field's implicit "
            'solvent. Use `ml="gfn2"`, `ml_options={"solvent": "water"}` without `implicit`, or capped ends.'
        ]
    return []
