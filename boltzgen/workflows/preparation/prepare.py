"""The verb ``prepare``: a molecule is read, parametrised, checked, described and written as SYS."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from boltzgen.contents import check_output
from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.charges import expected_seconds
from boltzgen.system.graph.bond_orders import isomer_labels
from boltzgen.system.graph.held_rotations import bond_name, kind_of, side_of
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.shape import SHAPE, ring_conformation, shape_of
from boltzgen.system.graph.torsions import ROTATABLE
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.options import PrepareOptions
from boltzgen.system.prepare import prepare as prepare_system
from boltzgen.system.system_record import read_system_record
from boltzgen.system.terms.charges import partial_charges
from boltzgen.trust.rings import unmoved_rings
from boltzgen.workflows.options import takes
from boltzgen.workflows.preparation.hybrid import HybridSummary, check_hybrid, hybrid_summary
from boltzgen.workflows.preparation.options import PrepareKeywords
from boltzgen.workflows.timing.expectation import Expect, Expectation
from boltzgen.workflows.timing.pace import pace

if TYPE_CHECKING:
    from boltzgen.potentials.base import Potential

#: e; a total charge further than this from a whole number deserves a warning.
CHARGE_TOLERANCE = 0.01

#: Agreement with Reference that a bridge's other platforms must reach; they calculate in single precision.
SINGLE_PRECISION_TOLERANCE = 1e-4

#: kJ/mol/nm; graphics cards hold forces in fixed point, which overflows when atoms lie on top of each other.
LARGEST_FORCE_OF_A_CARD = 1e8


@dataclass(frozen=True, repr=False)
class Preparation:
    """What `prepare` understood of a molecule.

    Attributes
    ----------
    system: the molecule; its provenance holds ``translation_check`` and ``warnings``.
    folder: where it was written; None with `check`.
    heavy_atoms, bonds: counts (the number of atoms is ``system.n_atoms``).
    formal_charge: total charge in e, rounded; None when no force holds charges.
    stereocentres: names of atoms with four different neighbours.
    rings: sizes of the smallest rings, rising; puckers: the conformation of each in the reference positions
        (`boltzgen.system.graph.puckers`), "" unless it has five or six atoms, and what is axial on a chair.
    torsions: atom names of the ends of the axes that turn: `ROTATABLE` of `boltzgen.system.graph.torsions`.
    isomer_bonds: atom names of the bonds whose E/Z or cis/trans isomer is kept (amides, C=C, O-H of acids).
    isomer_kinds: what each of them is: amide, acid, ester, ... (`boltzgen.system.graph.held_rotations`).
    stereo_labels: R or S of each stereocentre, then E or Z (of amides trans or cis) of each isomer bond; ""
        where there is none.
    opened: atom names of the bonds that `free_rotations` opened; they are among the torsions.
    unmoved_rings: rings that bend and that no move of a simulation turns over, each with the reason.
    force_terms: for each force its class and number of terms.
    energy: of the reference positions, kJ/mol.
    translation: what evaluates the energy, and its relative difference from OpenMM Reference.
    hybrid: the machine-learned region and its checks, None without one. `translation` is then about what is
        left of the force field, and `energy` is the hybrid's.
    """

    system: MolecularSystem
    folder: Path | None
    heavy_atoms: int
    bonds: int
    formal_charge: int | None
    stereocentres: tuple[str, ...]
    rings: tuple[int, ...]
    puckers: tuple[str, ...]
    torsions: tuple[str, ...]
    isomer_bonds: tuple[str, ...]
    isomer_kinds: tuple[str, ...]
    stereo_labels: tuple[str, ...]
    opened: tuple[str, ...]
    unmoved_rings: tuple[str, ...]
    force_terms: tuple[tuple[str, int], ...]
    energy: float
    translation: str
    hybrid: HybridSummary | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.system.provenance["warnings"])

    def to_json(self) -> dict[str, Any]:
        """The content of ``SYS/system.json``."""
        return self.system.to_json()

    def __repr__(self) -> str:
        charge = "" if self.formal_charge is None else f", charge {self.formal_charge:+d} e"
        place = "not written" if self.folder is None else f"in {self.folder}"
        return (
            f"<Preparation of {self.system.name}: {self.system.n_atoms} atoms{charge}, {len(self.torsions)} "
            f"rotatable bonds, {self.energy:.4g} kJ/mol; {place}>"
        )


@takes(PrepareOptions)
def prepare(
    source: str | Path | None = None,
    output: str | PathLike[str] | None = None,
    *,
    check: bool = False,
    overwrite: bool = False,
    stop: StopRequest | None = None,
    expect: Expect | None = None,
    **options: Unpack[PrepareKeywords],
) -> Preparation:
    """Read, parametrise and check one molecule, and write the SYS folder `output`.

    Parameters
    ----------
    source: PDB, mmCIF, Amber prmtop, GROMACS top, OpenMM System XML, SDF or mol2; None with ``sequence`` or
        ``smiles``.
    check: only look, and write nothing.
    overwrite: replace another molecule or energy that `output` holds; data and models may belong to it.
    stop: polled while other programs compute charges. expect: told how long that will take, before it
        begins, where it is not kept from before; may raise.
    options: the fields of `boltzgen.system.options.PrepareOptions`: sequence, smiles, capped, coordinates,
        include, forcefield, charges, implicit, surface, radii, constraints, add_hydrogens, ph, minimize,
        name, free_rotations, bridge, platform, workers, ml, ml_region, ml_options.

    Returns
    -------
    Preparation: the molecule and what was understood of it; the energy of its reference positions in kJ/mol.

    Raises
    ------
    InputError: something given cannot be used. UnsupportedError: the input is sound, but names what boltzgen
    cannot treat (constraints, virtual sites, a periodic box). BoltzgenError: the energy fails a check, or a
    program that was called. StoppedError: `stop` asked to end; nothing was written.

    Example
    -------
    >>> import boltzgen as bg
    >>> ethanol = bg.prepare(smiles="CCO", output="SYS")
    >>> ethanol.system.n_atoms, ethanol.formal_charge, ethanol.torsions
    (9, 0, ('UNL1 C1-C2', 'UNL1 C2-O1'))
    """
    if output is None and not check:
        raise InputError("No output folder: add `output=SYS`, or `check=True` to look without writing.")
    if output is not None and Path(output).exists() and not Path(output).is_dir():
        raise InputError(f"{output} is a file; `output` needs the name of a folder.")
    if output is not None:
        check_output(output, "system")
    system = prepare_system(source, stop=stop, before=partial(_tell, expect), **options)
    _check_shape(system)
    if output is not None and not overwrite:
        _refuse_another(Path(output), system)
    charge, notes = _formal_charge(system)
    system, translation, record, more = _checked(system)
    if "refused" in record:
        notes.append(f"`simulate()` takes this system, train and sample do not: {record['refused']}")
    provenance = {
        **system.provenance,
        **more,
        "warnings": [*system.provenance["warnings"], *more.get("warnings", ()), *notes],
        "translation_check": record,
        SHAPE: shape_of(system),
    }
    system = replace(system, provenance=provenance)
    folder = None if check or output is None else system.save(output)
    return _summary(system, folder, charge, translation)


def _tell(expect: Expect | None, atoms: int) -> None:
    """Before charges of so many atoms are computed: how long that takes."""
    if expect is not None:
        seconds = pace() * expected_seconds(atoms)
        expect(Expectation("prepare", seconds, f"AM1 charges of {atoms} atoms", "one core, by the size"))


def _check_shape(system: MolecularSystem) -> None:
    """Raise InputError for a molecule that has no internal coordinates to be sampled in."""
    from boltzgen.coordinates.internal import InternalCoordinates

    graph = MolecularGraph.from_system(system)
    if system.n_atoms < 2:
        raise UnsupportedError(f"{system.name} is a single atom, which has no conformations to sample.")
    bends = [(a, c, p) for c, around in enumerate(graph.neighbours) for a, p in combinations(around, 2)]
    if bends and all(graph.is_linear(*bend) for bend in bends):
        raise UnsupportedError(
            f"{system.name} is linear: its {system.n_atoms} atoms lie on one line, on which angles and "
            "torsions are not defined. Two atoms, or the same group in a molecule that bends elsewhere "
            "(propyne, acetonitrile), can be sampled."
        )
    InternalCoordinates(system)


def _refuse_another(folder: Path, system: MolecularSystem) -> None:
    """Raise InputError when `folder` holds another system than `system`."""
    if not (folder / "system.json").is_file():
        return
    remedy = "name another folder, or add `overwrite=True`."
    record = read_system_record(folder, remedy)
    if record["fingerprint"] != system.fingerprint:
        raise InputError(f"{folder} already holds another system ({record['name']}); {remedy}")
    if record.get("free_rotations", []) != [list(pair) for pair in system.free_rotations]:
        raise InputError(
            f"{folder} already holds {record['name']} with other `free_rotations`, that is with another "
            f"domain; {remedy}"
        )


def _summary(
    system: MolecularSystem, folder: Path | None, charge: int | None, translation: str
) -> Preparation:
    graph = MolecularGraph.from_system(system)
    names = system.atom_names
    energy = system.provenance.get("hybrid_check", system.provenance)
    rings = sorted((len(ring), ring_conformation(graph, ring, names)) for ring in graph.rings)
    held = {(min(bond.c, bond.p), max(bond.c, bond.p)): bond for bond in graph.isomer_bonds}
    fixed = sorted(held)
    centres = sorted(graph.stereocentres)
    labels = _labels(system, charge, [*((centre,) for centre in centres), *fixed])
    told = zip(fixed, labels[len(centres) :], strict=True)
    sides = [label or side_of(graph, held[pair]) for pair, label in told]
    return Preparation(
        system=system,
        folder=folder,
        heavy_atoms=int(np.sum(system.atomic_numbers != 1)),
        bonds=len(system.bonds),
        formal_charge=charge,
        stereocentres=tuple(str(names[index]) for index in centres),
        rings=tuple(size for size, _ in rings),
        puckers=tuple(name for _, name in rings),
        torsions=tuple(bond_name(names[t.axis[0]], names[t.axis[-1]]) for t in graph.torsions(ROTATABLE)),
        isomer_bonds=tuple(bond_name(names[first], names[second]) for first, second in fixed),
        isomer_kinds=tuple(kind_of(graph, held[pair]) for pair in fixed),
        stereo_labels=(*labels[: len(centres)], *sides),
        opened=tuple(bond_name(names[first], names[second]) for first, second in system.free_rotations),
        unmoved_rings=tuple(f"{ring}: {why}" for _, ring, why in unmoved_rings(system)),
        force_terms=tuple(force_terms(system)),
        energy=float(energy["reference_energy_kj_mol"]),
        translation=translation,
        hybrid=hybrid_summary(system),
    )


def _labels(system: MolecularSystem, charge: int | None, elements: list[tuple[int, ...]]) -> tuple[str, ...]:
    found = isomer_labels(system, charge) if elements and charge is not None else {}
    return tuple(found.get(element, "") for element in elements)


def force_terms(system: MolecularSystem) -> list[tuple[str, int]]:
    """Class and number of terms of each force, in the System's order; forces of one class are added up."""
    counts: Counter[str] = Counter()
    for force in system.openmm_system().getForces():
        getters = ("getNumBonds", "getNumAngles", "getNumTorsions", "getNumMaps", "getNumParticles")
        found = [getattr(force, getter)() for getter in getters if hasattr(force, getter)]
        counts[type(force).__name__] += found[0] if found else 0
    return list(counts.items())


def _formal_charge(system: MolecularSystem) -> tuple[int | None, list[str]]:
    """The total charge, rounded, and a warning when it is no whole number."""
    charges = partial_charges(system.openmm_system())
    if charges is None:
        return None, []
    total = float(charges.sum())
    if abs(total - round(total)) > CHARGE_TOLERANCE:
        return round(total), [
            f"The charges add up to {total:+.3f} e, not to a whole number; check the parameters."
        ]
    return round(total), []


def _checked(system: MolecularSystem) -> tuple[MolecularSystem, str, dict[str, Any], dict[str, Any]]:
    """As `_checked_energy`; for a hybrid of what is left of the force field, and what its own checks add."""
    from boltzgen.potentials.of_system import without_region

    region = system.energy_model.region
    if region is None:
        return *_checked_energy(system), {}
    rest, translation, record = _checked_energy(without_region(system))
    if "refused" in record:
        raise UnsupportedError(f"A hybrid needs the rest of its force field: {record['refused']}")
    system = replace(system, energy_model=replace(rest.energy_model, region=region))
    check, notes = check_hybrid(system)
    return system, translation, record, {"hybrid_check": check, "warnings": notes}


def _checked_energy(system: MolecularSystem) -> tuple[MolecularSystem, str, dict[str, Any]]:
    """The system with its bridge's platform settled, and how its energy compares with OpenMM Reference."""
    from boltzgen.potentials.of_system import potential_of, require_invariance

    try:
        potential = potential_of(system)
        require_invariance(potential, system.name)
    except UnsupportedError as error:
        if system.energy_model.engine == "bridge":
            raise
        return system, "refused", {"refused": str(error)}
    try:
        return _compared(system, potential)
    except BoltzgenError as error:
        if isinstance(error, InputError):  # a platform or a package is missing: the user can mend that
            raise
        return system, "disagrees with OpenMM Reference", {"refused": str(error), "agrees": False}
    finally:
        potential.close()


def _compared(system: MolecularSystem, potential: Potential) -> tuple[MolecularSystem, str, dict[str, Any]]:
    from boltzgen.potentials.from_openmm.reference import REFERENCE_TOLERANCE, check_against_reference
    from boltzgen.potentials.workers.external import ExternalPotential

    what, tolerance, largest, engine = "", REFERENCE_TOLERANCE, np.inf, {}
    if isinstance(potential, ExternalPotential):
        platform = potential.pool.start()["platform"]  # what runs later is what was checked here
        system = replace(system, energy_model=replace(system.energy_model, platform=platform))
        what, engine = f"OpenMM bridge ({platform}) ", {"bridge": system.energy_model.to_json()}
        tolerance = REFERENCE_TOLERANCE if platform == "Reference" else SINGLE_PRECISION_TOLERANCE
        largest = np.inf if platform in ("Reference", "CPU") else LARGEST_FORCE_OF_A_CARD
    check = check_against_reference(system, potential, tolerance=tolerance, largest_force=largest)
    record = {**check, **engine}
    worst = max(record["max_relative_energy_difference"], record["max_relative_force_difference"])
    if worst == 0.0 and system.energy_model.region is not None:  # rounding alone would leave a difference
        return system, "the force field has no energy left beside the region's potential", record
    how = f"to {worst:.0e} (relative)" if worst else "in every digit"
    return system, f"{what}agrees with OpenMM Reference {how}", record
