"""The table of conformers that `run` leaves for a small molecule, where it costs no more than seconds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.files import read_json
from boltzgen.folders import alone_in
from boltzgen.free_energy.variables import read_topology, ready_torsions
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.bond_orders import lewis_structure
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.terms.charges import partial_charges
from boltzgen.workflows.conformers.source import Conformations, conformations
from boltzgen.workflows.conformers.table import NAME, expected, write_table
from boltzgen.workflows.roads.road import Scene

#: Seconds that it may take, at most, and as a share of the time; samples that are minimised, within bounds;
#: replicates of the bootstrap.
SECONDS, SHARE, FEWEST, MOST, REPLICATES = 5.0, 0.05, 200, 2000, 300

#: Atoms up to which a molecule is one whose conformers are told; wells that the answer names.
ATOMS, WELLS = 100, 10

#: The folder, and what says how to make it where it costs more.
FOLDER, LATER = "CONFORMERS", "tell its conformers by `conformers(OUT, output=WELLS)`"


def conformers_of_run(scene: Scene) -> dict[str, Any] | None:
    """The entry ``conformers`` of the answer: folder, verdict, reasons, wells; None for other molecules.

    ``folder`` is None where the table would take too long. Made of OUT, anew where that has grown.
    """
    walk = scene.walk
    if not has_conformers(scene.system):
        return None
    out, folder = walk.path("OUT"), walk.path(FOLDER)
    given = conformations(out, str(walk.system), None, _nothing)
    kept = walk.plan.decided("conformers") or {}
    rows = kept.get("rows")
    if rows is None:
        rows = _rows(given, SECONDS if walk.limit is None else min(SECONDS, SHARE * walk.limit))
    again = kept.get("of") != len(given)
    walk.plan.redecide("conformers", {"rows": rows, "of": len(given)})
    if rows < FEWEST:
        return {"folder": None, "verdict": None, "reasons": [], "wells": []}
    words: list[object] = ["boltzgen", "conformers", out, "-o", folder, "--system", walk.system]
    words += ["--rows", rows, "--bootstrap", REPLICATES, "--seed", walk.seed()]

    def work() -> None:
        with alone_in(folder) as place, walk.listen("conformers") as progress:
            write_table(
                given,
                place,
                rows=rows,
                n_bootstrap=REPLICATES,
                seed=walk.seed(),
                stop=walk.stop,
                progress=progress,
            )

    try:
        walk.step(FOLDER, words, work, whole=(folder / NAME).is_file, again=again)
    except StoppedError:
        raise
    except BoltzgenError as error:  # no sample has a minimum: the answer does not need one
        walk.say(f"        {error}")
    if not (folder / NAME).is_file():
        return None
    return _entry(read_json(folder / NAME))


def has_conformers(system: MolecularSystem) -> bool:
    """Whether `system` is a small molecule, with a Lewis structure, and no peptide."""
    if not 4 <= system.n_atoms <= ATOMS:
        return False
    topology = read_topology(system.topology_pdb, n_atoms=system.n_atoms)
    for base in ("phi", "psi"):
        try:
            if ready_torsions(base, topology):
                return False
        except InputError:  # it has none
            continue
    charges = partial_charges(system.openmm_system())
    return lewis_structure(system, 0 if charges is None else round(float(charges.sum()))) is not None


def _entry(content: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "labels", "degeneracy", "population", "standard_error", "interval95", "n", "n_effective")
    return {
        "folder": FOLDER,
        "verdict": content["verdict"],
        "reasons": list(content["reasons"]),
        "wells": [{key: one[key] for key in keys} for one in content["wells"][:WELLS]],
    }


def _rows(given: Conformations, seconds: float) -> int:
    """Samples that can be minimised in so many `seconds` here, at most `MOST`."""
    with closing(potential_of(given.system)) as potential:
        each = expected(given, potential, MOST).seconds / MOST
    return min(MOST, int(seconds / each))


def _nothing(path: object) -> MolecularSystem:
    raise InputError(f"{path}: a run has its system in SYS.")
