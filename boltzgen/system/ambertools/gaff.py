"""A molecule under GAFF or GAFF2: charges, parameters, the System, and the record of where they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.charges import METHODS, Charges, computed_charges
from boltzgen.system.ambertools.given_charges import given_charges
from boltzgen.system.ambertools.parameters import gaff_parameters
from boltzgen.system.ambertools.programs import AmberTools, find_ambertools
from boltzgen.system.ambertools.types import atom_types
from boltzgen.system.parametrise.born_radii import BEST
from boltzgen.system.parametrise.makers import system_of_prmtop
from boltzgen.system.small_molecule.gaff_mol2 import ELEMENTS
from boltzgen.system.small_molecule.molecule import atom_names

if TYPE_CHECKING:
    import openmm
    from rdkit import Chem

    from boltzgen.system.options import PrepareOptions

#: The charges that GAFF was made with.
DEFAULT_CHARGES = "bcc"


def charges_of(
    molecule: Chem.Mol,
    field: str,
    wanted: str,
    source: Path | None,
    where: str,
    *,
    stop: StopRequest,
    before: Callable[[int], None],
) -> Charges:
    """The charges of `molecule` (with hydrogens, one conformer): computed, or those given.

    wanted: a method of `METHODS`, ``file`` or a path. source: the file of the molecule. Errors as of
    `computed_charges` and `given_charges`.
    """
    if wanted not in METHODS:
        return given_charges(molecule, atom_names(molecule), wanted, source, where)
    tools = find_ambertools(f"`charges={wanted!r}`")
    _check_method(wanted, tools)
    return computed_charges(molecule, wanted, tools, where, stop=stop, before=before)


def _check_method(method: str, tools: AmberTools) -> None:
    if method == "abcg2" and not tools.has_abcg2:
        raise InputError(
            f'`charges="abcg2"` needs AmberTools 23 or later; that in {tools.home} (version '
            f"{tools.version}) has no table of it. "
            'Install a later one, or give `charges="bcc"`.'
        )


def gaff_system(
    molecule: Chem.Mol,
    field: str,
    asked: PrepareOptions,
    source: Path | None,
    where: str,
    *,
    stop: StopRequest,
    before: Callable[[int], None],
) -> tuple[openmm.System, dict[str, Any], list[str]]:
    """The System of `molecule` (with hydrogens, one conformer), where its parameters come from, and notes.

    field: ``gaff`` or ``gaff2``. stop, before: as of `boltzgen.system.prepare.prepare`.

    Raises
    ------
    MissingExtraError: AmberTools is missing. InputError, BoltzgenError: a program refuses the molecule.
    """
    tools = find_ambertools(f'`forcefield="{field}"`')
    net = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
    atom_types(molecule, field, net, tools, where, stop)  # refused now, not after minutes of charges
    wanted = asked.charges or DEFAULT_CHARGES
    charges = charges_of(molecule, field, wanted, source, where, stop=stop, before=before)
    radii = asked.radii or BEST.get(asked.implicit)
    names = atom_names(molecule)
    made = gaff_parameters(molecule, names, charges.values, field, tools, where, stop=stop)
    system, notes = system_of_prmtop(made.prmtop, asked.implicit, asked.surface, radii, where)
    record = {
        "forcefield": field,
        "types": list(made.kinds),
        "charges": charges.record,
        **({} if radii is None else {"radii": radii}),
        "programs": {"ambertools": tools.version},
    }
    return system, record, [*charges.notes, *made.notes, *_other_types(molecule, made.kinds), *notes]


def _other_types(molecule: Chem.Mol, kinds: Sequence[str]) -> list[str]:
    """A note where the GAFF types of the molecule's own mol2 are not the `kinds` that were taken."""
    key = "_TriposAtomType"
    own = [atom.GetProp(key) if atom.HasProp(key) else "" for atom in molecule.GetAtoms()]
    names = atom_names(molecule)
    differing = [
        f"{name} {before} -> {kind}"
        for name, before, kind in zip(names, own, kinds, strict=True)
        if before in ELEMENTS and before != kind
    ]
    if not differing:
        return []
    more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
    return [f"antechamber gives other atom types than the file has: {', '.join(differing[:4])}{more}."]
