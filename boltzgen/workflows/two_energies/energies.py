"""The two energies by their words: ``vacuum``, ``obc2``, ``gaff/vacuum``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from boltzgen.config.settings import nearest
from boltzgen.errors import InputError
from boltzgen.system.described import force_field_words
from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS
from boltzgen.system.parametrise.surface import DEFAULT_SURFACE
from boltzgen.workflows.two_energies.options import TransferListOptions

VACUUM = "vacuum"

#: The surface terms of solvents in words.
_SURFACES = {
    "ace": "with OpenMM's surface term",
    "lcpo": "with the LCPO surface term",
    "none": "without a surface term",
}


@dataclass(frozen=True)
class Energy:
    """What `prepare` is asked for one end."""

    forcefield: str | None
    solvent: str
    charges: str | None
    surface: str

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `prepare`."""
        found: dict[str, Any] = {} if self.forcefield is None else {"forcefield": (self.forcefield,)}
        if self.charges is not None and not str(self.forcefield or "mmff").startswith("mmff"):
            found["charges"] = self.charges
        if self.solvent != VACUUM:
            found["implicit"] = self.solvent
            if self.surface != DEFAULT_SURFACE:
                found["surface"] = self.surface
        return found

    @property
    def words(self) -> str:
        """``GAFF2, OBC2 with OpenMM's surface term``."""
        asked: dict[str, Any] = {"forcefield": (self.forcefield or "mmff94",), "implicit": "none"}
        if self.solvent != VACUUM:
            asked["implicit"] = self.solvent
        found = force_field_words(asked)
        return found if self.solvent == VACUUM else f"{found} {_SURFACES.get(self.surface, self.surface)}"


def energies(asked: TransferListOptions) -> tuple[Energy, Energy]:
    """Both ends; InputError for a solvent that is none."""
    first = _energy(asked.energy_from, "energy_from", asked)
    second = _energy(asked.energy_to, "energy_to", asked)
    if first == second:
        raise InputError(
            f"`energy_to={asked.energy_to!r}` is the same as `energy_from={asked.energy_from!r}`; a "
            "transfer needs two energies."
        )
    return first, second


def title(first: Energy, second: Energy, temperature: float) -> str:
    """What the numbers are, and what they are not."""
    what = "implicit-solvent transfer" if VACUUM in (first.solvent, second.solvent) else "transfer"
    return f"{what}, {first.words} -> {second.words}, at {temperature:g} K (not a hydration free energy)"


def _energy(text: str, argument: str, asked: TransferListOptions) -> Energy:
    field, slash, solvent = text.rpartition("/")
    solvent = VACUUM if solvent.lower() in (VACUUM, "none") else solvent.lower()
    known = (VACUUM, *IMPLICIT_MODELS)
    if solvent not in known or (slash and not field):
        raise InputError(
            f'`{argument}="{text}"` is no energy; give {", ".join(known)}, or one after a force field and '
            f"a slash, such as gaff2/obc2.{nearest(solvent, known)}"
        )
    return Energy(field or asked.forcefield, solvent, asked.charges, asked.surface)
