"""What can turn in a molecule and which rings it has, as `prepare` keeps it in ``SYS/system.json``.

Who only wants to look at a molecule then needs neither OpenMM nor the force field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from boltzgen.system.graph.held_rotations import kind_of
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.puckers import pucker
from boltzgen.system.graph.ring_states import from_lowest, ring_states, saturated_rings
from boltzgen.system.graph.torsions import ROTATABLE

if TYPE_CHECKING:
    from boltzgen.system.formats.pdb_text import AtomName
    from boltzgen.system.molecular_system import MolecularSystem

#: The key of the provenance under which it is kept.
SHAPE = "shape"


def shape_of(system: MolecularSystem) -> dict[str, Any]:
    """Torsions and rings of `system`; JSON types only, atoms are indices.

    ``torsions``: those that turn and those that are held: ``atoms`` (four), ``kind``
    (`boltzgen.system.graph.torsions`) and ``held`` (amide, acid, ...; "" for what turns). ``rings``:
    ``atoms`` from the lowest on, ``conformation`` in the reference positions, and ``saturated``.
    """
    graph = MolecularGraph.from_system(system)
    held = {(min(bond.c, bond.p), max(bond.c, bond.p)): kind_of(graph, bond) for bond in graph.isomer_bonds}
    saturated = {frozenset(ring) for ring in saturated_rings(graph.n_atoms, graph.bonds)}
    torsions = []
    for one in graph.torsions():
        word = next((held[pair] for pair in one.bonds if pair in held), "")
        if one in ROTATABLE or (one.kind == "isomer" and word):
            torsions.append({"atoms": [int(atom) for atom in one.atoms], "kind": one.kind, "held": word})
    rings = [
        {
            "atoms": list(from_lowest(ring)),
            "conformation": ring_conformation(graph, ring, system.atom_names),
            "saturated": frozenset(ring) in saturated,
        }
        for ring in sorted(graph.rings, key=lambda ring: (min(ring), len(ring)))
    ]
    return {"torsions": torsions, "rings": rings}


def ring_conformation(graph: MolecularGraph, ring: tuple[int, ...], names: Sequence[AtomName]) -> str:
    """The conformation of a ring in the reference positions, and what is axial and equatorial on it."""
    atoms = [str(name.atom) for name in names]
    words = [
        states.substituents_of(int(states.classify(graph.reference_positions[None])[0]), atoms)
        for states in ring_states(graph)
        if set(states.atoms) == set(ring)
    ]
    return ", ".join(filter(None, [pucker(graph.reference_positions[list(ring)]), *words]))
