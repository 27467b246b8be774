"""Charged groups without a solvent: a molecule that is right for its energy and wrong for most purposes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boltzgen.system.region.prepare import SOLVENT_OPTION
from boltzgen.system.region.region import is_zwitterion, total_charge
from boltzgen.system.terms.charges import has_implicit_solvent, partial_charges

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem

#: e; a residue whose charges add up to more than this is charged.
_CHARGED = 0.5

#: Residues that a note names.
_NAMED = 6

_REMEDY = {
    "xml": "Build the System with a solvent (a GBSAOBCForce or CustomGBForce)",
    "ml": 'Name the solvent of the potential (of gfn2 and gfn1 `ml_options={"solvent": "water"}`)',
}


def vacuum_notes(system: MolecularSystem) -> list[str]:
    """A note where charged groups stand in vacuum: of a net charge, of charged residues, of a zwitterion.

    A region of all atoms that is a zwitterion has its own note (`boltzgen.system.region.prepare`).
    """
    region = system.energy_model.region
    whole = region is not None and len(region.atoms) == system.n_atoms
    own_solvent = region is not None and region.options.get(SOLVENT_OPTION, "none") != "none"
    if own_solvent or has_implicit_solvent(system.openmm_system()):
        return []
    groups = _charged_residues(system)
    total = total_charge(system)
    if len(groups) > 1 or (groups and len(set(_residues(system))) > 1):
        shown = ", ".join(groups[:_NAMED]) + (f" and {len(groups) - _NAMED} more" if groups[_NAMED:] else "")
        what = f"Charged groups ({shown})"
    elif total:
        what = f"A charge of {total:+d} e"
    elif not whole and is_zwitterion(system, range(system.n_atoms)):
        what = "The charges of a zwitterion"
    else:
        return []
    kind = "ml" if whole else system.provenance.get("input", {}).get("kind")
    remedy = _REMEDY.get(kind, 'Give a solvent, `implicit="obc2"` for example')
    return [
        f"{what} in vacuum, which nothing screens: the conformations are not those in water. {remedy}, "
        "unless vacuum is meant."
    ]


def _residues(system: MolecularSystem) -> list[tuple[str, str, str, str]]:
    """Chain, number, insertion and name of each atom's residue."""
    names = system.atom_names
    return [(name.chain, name.residue_number, name.insertion, name.residue) for name in names]


def _charged_residues(system: MolecularSystem) -> list[str]:
    """Name and charge of each residue that the force field charges, ends of the chain included."""
    charges = partial_charges(system.openmm_system())
    if charges is None:
        return []
    sums: dict[tuple[str, str, str, str], float] = {}
    for residue, charge in zip(_residues(system), charges, strict=True):
        sums[residue] = sums.get(residue, 0.0) + float(charge)
    return [
        f"{name}{number}{insertion} {round(charge):+d}"
        for (_, number, insertion, name), charge in sums.items()
        if abs(charge) > _CHARGED
    ]
