"""The System of an Amber prmtop or a GROMACS topology, in vacuum or in a Generalized Born solvent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.system.formats.parsing import reason_of
from boltzgen.system.formats.prmtop_flags import has_born_radii
from boltzgen.system.formats.readers import KINDS, RawMolecule
from boltzgen.system.parametrise.born_radii import BEST, radii_note, with_radii
from boltzgen.system.parametrise.forcefield import add_implicit
from boltzgen.system.parametrise.surface import keyword_of, without_parameters_refused

if TYPE_CHECKING:
    import openmm
    from openmm import app

_OTHER_RADII = (
    "{0}: `implicit={1!r}` needs radii of the set {2}, and those of this prmtop are another set (mbondi, "
    'say), for which the model has no parameters. Set them with `radii="{2}"`, or choose another `implicit`.'
)

#: OpenMM's word on radii, in whose place `radii_note` stands.
_OF_RADII = "Non-optimal GB parameters"


def system_of_maker(
    raw: RawMolecule, implicit: str, surface: str, radii: str | None
) -> tuple[openmm.System, list[str]]:
    """The System of an Amber or GROMACS topology, and notes; Amber's own Born radii where it has them.

    radii: a set to use instead of the prmtop's own; None: its own.
    """
    if raw.kind == "amber" and implicit != "none" and has_born_radii(raw.maker):
        return system_of_prmtop(raw.maker, implicit, surface, radii, str(raw.path))
    if radii not in (None, BEST.get(implicit)):
        raise InputError(
            f"`radii={radii!r}`: {raw.path} ({KINDS[raw.kind]}) has no radii of its own, and OpenMM assigns "
            f"{BEST[implicit]}, with which {implicit} was made. Leave it out."
        )
    system, notes = _created(raw.maker, str(raw.path), {}, None)
    if implicit == "none":
        return system, notes
    add_implicit(system, raw.topology, implicit, surface, str(raw.path))
    return system, [
        *notes,
        f"{raw.path.name} states no Born radii; those that OpenMM assigns for {implicit} are used.",
    ]


def system_of_prmtop(
    prmtop: app.AmberPrmtopFile, implicit: str, surface: str, radii: str | None, label: str
) -> tuple[openmm.System, list[str]]:
    """The System of `prmtop`, which OpenMM makes, and notes.

    implicit: ``none`` or a model. radii: a set to use instead of the prmtop's own. label: the molecule or its
    file in messages.
    """
    from openmm import app

    if implicit == "none":
        return _created(prmtop, label, {}, None)
    models = {"hct": app.HCT, "obc1": app.OBC1, "obc2": app.OBC2, "gbn": app.GBn, "gbn2": app.GBn2}
    options = {"implicitSolvent": models[implicit], **keyword_of(prmtop.createSystem, surface)}
    if radii is not None:
        with_radii(prmtop, radii)

    def other_radii(error: Exception) -> None:
        if "Radii must be" in str(error):
            best = "mbondi3" if implicit == "gbn2" else "bondi"
            raise InputError(_OTHER_RADII.format(label, implicit, best)) from error

    system, notes = _created(prmtop, label, options, other_radii)
    return system, [*notes, *(radii_note(prmtop, implicit, label) if radii is None else ())]


def _created(
    maker: Any, label: str, options: dict[str, Any], explain: Callable[[Exception], None] | None
) -> tuple[openmm.System, list[str]]:
    """What `maker` creates, without cutoff and constraints, and its warnings; `explain` may raise."""
    from openmm import app

    options = {"nonbondedMethod": app.NoCutoff, "constraints": None, "rigidWater": False, **options}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            system = without_parameters_refused(
                lambda: maker.createSystem(removeCMMotion=False, **options), label
            )
    except InputError:
        raise
    except Exception as error:  # the readers raise exceptions of any class
        if explain is not None:
            explain(error)
        raise InputError(
            f"{label}: OpenMM cannot build the energy ({reason_of(error)}); the file may be truncated."
        ) from error
    said = [" ".join(str(warning.message).split()) for warning in caught if warning.category is UserWarning]
    return system, [text for text in said if not text.startswith(_OF_RADII)]
