"""Force fields by name, implicit solvents by name, and what to say when a residue does not fit.

Implicit solvent comes in two forms. ``obc1``, ``obc2``, ``gbn``, ``gbn2`` and ``hct`` add a CustomGBForce
whose radii follow from the elements, so they go with any force field. A file such as ``amber99_obc.xml``
adds OpenMM's native GBSAOBCForce (fifty times faster on one core) and goes with the amber99 family only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.formats.bounds import check_xml, read_text
from boltzgen.system.formats.parsing import reason_of
from boltzgen.system.parametrise.missing_atoms import lacking, missing_heavy_atoms
from boltzgen.system.parametrise.solvent_files import explain_solvent_file
from boltzgen.system.parametrise.surface import DEFAULT_SURFACE, SURFACES, add_lcpo
from boltzgen.system.terms.charges import partial_charges

if TYPE_CHECKING:
    import openmm
    from openmm import app

#: Used when the user names none: ff14SB for proteins, OL15/OL3 for nucleic acids, lipid17.
DEFAULT_FORCEFIELD = ("amber14-all.xml",)

#: Name -> class in openmm.app.internal.customgbforces; every Generalized Born model of OpenMM.
IMPLICIT_MODELS = {
    "hct": "GBSAHCTForce",
    "obc1": "GBSAOBC1Force",
    "obc2": "GBSAOBC2Force",
    "gbn": "GBSAGBnForce",
    "gbn2": "GBSAGBn2Force",
}

#: Residues that force fields keep under the names of their protonation states.
_FORMS = {
    "HIS": ("HIE", "HID", "HIP", "HSE", "HSD", "HSP"),
    "CYS": ("CYS", "CYX", "CYM"),
    "LYS": ("LYS", "LYN", "LSN"),
    "ASP": ("ASP", "ASH"),
    "GLU": ("GLU", "GLH"),
}


def load_forcefield(names: Sequence[str], implicit: str = "none") -> app.ForceField:
    """The OpenMM ForceField of `names`, with the solvent file when `implicit` is one.

    Raises
    ------
    InputError: a file is missing or no force field.
    UnsupportedError: a file of the user's own holds a script, which would run.
    """
    files = [*names, *([implicit] if implicit.endswith(".xml") else [])]
    for name in files:
        _check_file(name, set())
    try:
        return _of_own_files(*files) if not any(map(_is_a_file, files)) else _loaded(*files)
    except Exception as error:  # OpenMM raises bare Exception for unreadable files
        raise InputError(
            f"The force field {' + '.join(files)} does not load ({reason_of(error)}); "
            "check that the files belong together."
        ) from error


def _loaded(*files: str) -> app.ForceField:
    from openmm import app

    return app.ForceField(*files)


#: OpenMM's own files never change while we run, and CHARMM36 takes eight seconds to read.
_of_own_files = lru_cache(maxsize=2)(_loaded)


def _is_a_file(name: str) -> bool:
    return Path(name).is_file()


def _check_file(name: str, seen: set[str]) -> None:
    """Raise unless `name` is one of OpenMM's own files, or a readable file without scripts, includes too."""
    from openmm.app import forcefield

    path = Path(name)
    if not path.is_file():
        folders = [Path(folder) for folder in forcefield._getDataDirectories()]
        if any((folder / name).is_file() for folder in folders):
            return
        known = sorted({entry.name for folder in folders for entry in folder.glob("amber*.xml")})
        raise InputError(
            f"`forcefield={name!r}`: no such file, and OpenMM brings none of that name; among those it "
            f"brings are {', '.join(known[:12])}."
        )
    if str(path.resolve()) in seen:
        return
    seen.add(str(path.resolve()))
    check_xml(read_text(path), f"`forcefield={name!r}`")
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"`forcefield={name!r}` is not complete XML ({error}); it may be truncated."
        ) from error
    if root.tag != "ForceField":
        raise InputError(
            f"`forcefield={name!r}` holds <{root.tag}>, not <ForceField>; a System XML goes in as `source`, "
            "with `coordinates`."
        )
    for tag in ("Script", "InitializationScript"):
        if root.find(tag) is not None:
            raise UnsupportedError(
                f"`forcefield={name!r}` holds a <{tag}>, which would run as Python code, so it was not "
                "loaded; remove that element (for implicit solvent use `implicit`)."
            )
    for included in root.findall("Include"):
        inner = path.parent / included.get("file", "")
        _check_file(str(inner) if inner.is_file() else included.get("file", ""), seen)


def check_implicit(implicit: str) -> None:
    """Raise InputError unless `implicit` is ``none``, a model of `IMPLICIT_MODELS`, or an XML file."""
    if implicit != "none" and implicit not in IMPLICIT_MODELS and not implicit.endswith(".xml"):
        raise InputError(
            f"`implicit={implicit!r}` is not known; expected none, {', '.join(IMPLICIT_MODELS)}, or a "
            "force-field file such as amber99_obc.xml."
        )


def add_implicit(
    system: openmm.System,
    topology: app.Topology,
    model: str,
    surface: str = DEFAULT_SURFACE,
    label: str = "the molecule",
) -> None:
    """Add the Generalized Born force `model` to `system`, in place; no cutoff, a surface term of `SURFACES`.

    With ``ace`` the same force as OpenMM's ``implicit/<model>.xml``, for systems that do not come from a
    ForceField. `label` names the input in messages.
    """
    import openmm
    from openmm.app.internal import customgbforces

    charges = partial_charges(system)
    nonbonded = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if charges is None or len(nonbonded) > 1:
        raise UnsupportedError(
            f"`implicit={model!r}` needs one NonbondedForce, or a CustomNonbondedForce with a parameter "
            f"called charge, to take charges from; this system has {len(nonbonded)} NonbondedForces."
        )
    for found in nonbonded:
        found.setReactionFieldDielectric(1.0)
    kind = getattr(customgbforces, IMPLICIT_MODELS[model])
    force = kind(SA=None if surface == "lcpo" else SURFACES[surface])
    for charge, parameters in zip(charges, kind.getStandardParameters(topology), strict=True):
        force.addParticle([float(charge), *parameters])
    force.finalize()
    force.setNonbondedMethod(openmm.CustomGBForce.NoCutoff)
    system.addForce(force)
    if surface == "lcpo":
        add_lcpo(system, topology, label)


def create_system(
    forcefield: app.ForceField,
    topology: app.Topology,
    implicit: str,
    label: str,
    *,
    surface: str = DEFAULT_SURFACE,
    added: bool = False,
) -> openmm.System:
    """Parametrise `topology`: no cutoff, no constraints.

    `label` names the input in messages; `added`: hydrogens have been added to it.
    """
    from openmm import app

    shaped = _caps_in_their_neighbours(topology) if ends_are_patches(forcefield) else topology
    options = {
        "nonbondedMethod": app.NoCutoff,
        "constraints": None,
        "rigidWater": False,
        "removeCMMotion": False,
    }
    try:
        try:
            with _only_patches_of(forcefield, shaped):
                system = _created(forcefield, shaped, options)
        except ValueError:
            if not ends_are_patches(forcefield) or _all_have_templates(forcefield, shaped):
                raise
            system = forcefield.createSystem(shaped, **options)  # a residue goes by a name of its own
    except Exception as error:  # ValueError, KeyError and bare Exception
        explain_solvent_file(error, implicit, label)
        if ends_are_patches(forcefield):
            explain_missing(forcefield, topology.residues(), label)
            _explain_patched(shaped, str(error), label, added=added)
        else:
            explain_unmatched(forcefield, shaped, label, added=added)
        raise InputError(
            f"The force field does not fit {label}: {reason_of(error)}. Choose force-field "
            "and solvent files that belong together."
        ) from error
    if implicit in IMPLICIT_MODELS:
        add_implicit(system, topology, implicit, surface, label)
    return system


def ends_are_patches(forcefield: app.ForceField) -> bool:
    """Whether the ends of a chain are patches of its first and last residue, as in CHARMM force fields."""
    return any(name.startswith(("NTER", "CTER", "ACE")) for name in forcefield._patches)


@contextmanager
def _only_patches_of(forcefield: app.ForceField, topology: app.Topology) -> Iterator[None]:
    """Let `forcefield` patch only templates that bear the names of residues in `topology`.

    OpenMM builds every combination of patches of every template, lipids and sugars too, before it looks at
    the molecule; that takes a minute for CHARMM36.
    """
    names = {form for residue in topology.residues() for form in _FORMS.get(residue.name, (residue.name,))}
    everything = forcefield._templatePatches
    forcefield._templatePatches = {name: value for name, value in everything.items() if name in names}
    try:
        yield
    finally:
        forcefield._templatePatches = everything


def _created(forcefield: app.ForceField, topology: app.Topology, options: Mapping[str, Any]) -> openmm.System:
    """The System; where templates of several names fit one residue, those with the residue's own name count.

    CHARMM36 has model compounds too, and two of them are a whole alanine dipeptide.
    """
    try:
        return forcefield.createSystem(topology, **options)
    except Exception as error:  # OpenMM raises a bare one
        if "Multiple non-identical matching templates" not in str(error):
            raise
    names = {form for residue in topology.residues() for form in _FORMS.get(residue.name, (residue.name,))}
    everything = forcefield._templateSignatures
    forcefield._templateSignatures = {
        signature: [template for template in templates if template.name in names]
        for signature, templates in everything.items()
    }
    try:
        return forcefield.createSystem(topology, **options)
    finally:
        forcefield._templateSignatures = everything


def _all_have_templates(forcefield: app.ForceField, topology: app.Topology) -> bool:
    names = {residue.name for residue in topology.residues()}
    return all(any(form in forcefield._templates for form in _FORMS.get(name, (name,))) for name in names)


def _caps_in_their_neighbours(topology: app.Topology) -> app.Topology:
    """The same atoms and bonds, with those of ACE and NME counted to the amino acid they are bound to.

    CHARMM has no residues ACE and NME: there they are patches (ACE, CT3) of the amino acid.
    """
    from openmm import app

    shaped, copies = app.Topology(), {}
    for chain in topology.chains():
        copied, residues = shaped.addChain(chain.id), list(chain.residues())
        target = None
        for index, residue in enumerate(residues):
            after_cap = index > 0 and residues[index - 1].name == "ACE"
            if target is None or not (after_cap or residue.name == "NME"):
                leads = residue.name == "ACE" and index + 1 < len(residues)
                target = shaped.addResidue(residues[index + leads].name, copied, residue.id)
            for atom in residue.atoms():
                copies[atom] = shaped.addAtom(atom.name, atom.element, target)
    for first, second in topology.bonds():
        shaped.addBond(copies[first], copies[second])
    return shaped


def explain_unmatched(
    forcefield: app.ForceField,
    topology: app.Topology,
    label: str,
    *,
    before_hydrogens: bool = False,
    added: bool = False,
) -> None:
    """Raise an InputError about a residue without a template: what is wrong, and a remedy.

    One that lacks heavy atoms goes first, since the others may only lack hydrogens. Where hydrogens are yet
    to be added (`before_hydrogens`), a residue that lacks nothing else is none to complain of; where they
    have been (`added`), adding them is no remedy.
    """
    unmatched = forcefield.getUnmatchedResidues(topology)
    explain_missing(forcefield, unmatched, label)
    for residue in unmatched:
        explanation = _explanation(forcefield, residue, label, added=added)
        if not (before_hydrogens and " lacks hydrogens " in explanation):
            raise InputError(explanation)


def explain_missing(forcefield: app.ForceField, residues: Iterable[app.topology.Residue], label: str) -> None:
    """Raise an InputError about the first of `residues` that lacks heavy atoms.

    An open end goes last: where the next residue lacks its nitrogen, its neighbour lacks nothing.
    """
    found = []
    for residue in residues:
        heavy = missing_heavy_atoms(forcefield, residue, _FORMS.get(residue.name, (residue.name,)))
        if heavy:
            found.append((heavy == ["OXT"], residue, heavy))
    if found:
        _, residue, heavy = min(found, key=lambda one: one[0])
        raise InputError(lacking(residue, heavy, label))


def _explain_patched(topology: app.Topology, complaint: str, label: str, *, added: bool) -> None:
    """Raise an InputError about the residue of OpenMM's `complaint`, which has tried every patch."""
    found = re.match(r"No template found for residue (\d+) ", complaint)
    if found is None:
        return
    residue = list(topology.residues())[int(found[1])]
    hydrogens = "the names of its atoms" if added else "its hydrogens (`add_hydrogens=True`, `ph=7.0`)"
    raise InputError(
        f"{label}: residue {residue.name} {residue.id} ({len(list(residue.atoms()))} atoms, caps included) "
        f"fits no residue of the force field, with none of its patches. Check {hydrogens} and the ends of "
        "the chain, or choose a force field that has it."
    )


def _explanation(
    forcefield: app.ForceField, residue: app.topology.Residue, label: str, *, added: bool
) -> str:
    """How `residue` differs, by names and elements, from its most similar template, and what to do."""
    name = f"{label}: residue {residue.name} {residue.id}"
    forms = _FORMS.get(residue.name, (residue.name,))
    names = {prefix + form for form in forms for prefix in ("", "N", "C")}
    candidates = [template for key, template in forcefield._templates.items() if key in names]
    present = {atom.name for atom in residue.atoms()}
    if not candidates:
        return (
            f"{name} ({len(present)} atoms) is unknown to the force field. Add a force-field file that has "
            'it (`forcefield=["A.xml", "B.xml"]`), or bring the molecule as prmtop, GROMACS top or '
            "System XML; a small one as SDF or `smiles`."
        )
    best = min(candidates, key=lambda template: len({atom.name for atom in template.atoms} ^ present))
    if any(atom.element is None for atom in best.atoms):
        return (
            f"{name} has Drude particles or virtual sites in this force field. boltzgen samples atoms only: "
            "choose a force field without them."
        )
    counts = Counter(_symbol(atom) for atom in best.atoms)
    counts.subtract(_symbol(atom) for atom in residue.atoms())
    missing = [atom for atom in best.atoms if atom.name not in present and counts[_symbol(atom)] > 0]
    heavy = [atom.name for atom in missing if _symbol(atom) != "H"]
    if heavy:
        return lacking(residue, heavy, label)
    unknown = sorted(present - {atom.name for atom in best.atoms})
    misnamed = sorted({atom.name for atom in residue.atoms() if _symbol(atom) != "H"} & set(unknown))
    if counts["H"] > 0 and misnamed:
        return (
            f"{name} has {', '.join(misnamed[:6])}, which the force field does not know by that name, and "
            "hydrogens are added by the names of heavy atoms. Rename it as in the PDB of today, or bring the "
            "molecule as prmtop, GROMACS top or System XML."
        )
    if counts["H"] > 0 and added:
        return (
            f"{name} still lacks {counts['H']} hydrogen{'s'[: counts['H'] > 1]} after they were added. Name "
            "its protonation form (HID, HIE, HIP, ASH, GLH, LYN, CYX), or bring the molecule as prmtop, "
            "GROMACS top or System XML."
        )
    if counts["H"] > 0:
        listed = ", ".join(atom.name for atom in missing[:6])
        which = listed if len(missing) == counts["H"] else f"{counts['H']} of them"
        return f"{name} lacks hydrogens ({which}). Add them with `add_hydrogens=True`, `ph=7.0`."
    if unknown:
        return (
            f"{name} has the atom{'s'[: len(unknown) > 1]} {', '.join(unknown[:6])}, which its template in "
            "the force field does not have. Remove what is too much, or rename the residue to the form it is "
            "meant to be (HIP, ASH, CYX, ...)."
        )
    return (
        f"{name} has the atoms of its template but other bonds. State its bonds to neighbours in CONECT "
        "records, or check chain breaks and terminal residues."
    )


def _symbol(atom: app.topology.Atom) -> str:
    return "" if atom.element is None else str(atom.element.symbol)
