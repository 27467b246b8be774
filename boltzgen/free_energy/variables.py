"""Collective variables: torsions, distances, puckers and components, by selection or ready name.

A variable is evaluated on positions in memory, all samples at once. Torsions are in degrees in
[-180, 180), distances in nm, puckers (theta of Cremer and Pople) in degrees from 0 to 180, components of
model systems in their own unit.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.ensemble.topology import read_topology as read_topology
from boltzgen.errors import InputError
from boltzgen.system import torsion_names
from boltzgen.system.graph.puckers import cremer_pople
from boltzgen.system.graph.ring_states import saturated_rings
from boltzgen.system.torsion_names import READY_NAMES, Residue

if TYPE_CHECKING:
    import mdtraj

#: Ready name of theta of the molecule's one ring of six that is saturated.
PUCKER = "pucker"

_ATOMS = {"torsion": 4, "distance": 2, PUCKER: 6}
_AT_ONCE = 100_000


@dataclass(frozen=True)
class Variable:
    """One number a conformation.

    kind: ``torsion`` (four atoms, degrees), ``distance`` (two atoms, nm), ``pucker`` (a ring of six in order,
    degrees) or ``component`` (index of a coordinate of a model system). atoms: zero-based indices.
    """

    name: str
    kind: str
    atoms: tuple[int, ...]

    @property
    def periodic(self) -> bool:
        return self.kind == "torsion"

    @property
    def unit(self) -> str:
        return {"torsion": "degrees", "distance": "nm", PUCKER: "degrees"}.get(self.kind, "")

    def evaluate(self, positions: np.ndarray) -> np.ndarray:
        """Values (n,) float64 on positions (n, N, 3) nm (components: (n, d)); NaN where positions are."""
        if self.kind == "component":
            return np.asarray(positions[:, self.atoms[0]], dtype=np.float64)
        blocks = [
            self._evaluate_block(positions[start : start + _AT_ONCE])
            for start in range(0, len(positions), _AT_ONCE)
        ]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def _evaluate_block(self, positions: np.ndarray) -> np.ndarray:
        import mdtraj

        if self.kind == PUCKER:
            return np.asarray(np.degrees(cremer_pople(positions[:, list(self.atoms)])[1]))
        # only the atoms that are needed, in the order that is needed
        picked = np.ascontiguousarray(positions[:, list(self.atoms)], dtype=np.float32)
        frames, indices = mdtraj.Trajectory(picked, None), [list(range(len(self.atoms)))]
        if self.kind == "distance":
            return mdtraj.compute_distances(frames, indices, periodic=False)[:, 0].astype(np.float64)
        radians = mdtraj.compute_dihedrals(frames, indices, periodic=False)[:, 0].astype(np.float64)
        return np.remainder(np.degrees(radians) + 180.0, 360.0) - 180.0


def ready_variable(name: str, topology: mdtraj.Topology | None, dimension: int = 0) -> Variable:
    """The variable that `name` stands for: ``phi``, ``psi:3``, ...; ``x0`` in a model system.

    `dimension` is that of the model system (topology None). Raises InputError for an unknown name,
    for a torsion that the molecule does not have, and for one that it has more than once.
    """
    if topology is None:
        return _component(name, dimension)
    if name == PUCKER:
        return Variable(name, PUCKER, _saturated_ring(topology))
    base, _, residue = name.partition(":")
    base = "chi1" if base == "chi" else base
    if base not in READY_NAMES:
        near = difflib.get_close_matches(base, (*READY_NAMES, PUCKER), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(
            f"unknown coordinate {name!r}{hint}; ready names are {', '.join(READY_NAMES)}, {PUCKER}; "
            "others are declared under 'coordinates'."
        )
    found = ready_torsions(base, topology)
    if residue:
        found = {number: atoms for number, atoms in found.items() if str(number) == residue}
    if not found:
        where = f" at residue {residue}" if residue else ""
        raise InputError(f"the molecule has no torsion {base}{where}; name four atoms under 'coordinates'.")
    if len(found) > 1:
        choices = ", ".join(f"{base}:{number}" for number in found)
        raise InputError(f"{base} is ambiguous here; choose one of {choices}.")
    return Variable(name, "torsion", next(iter(found.values())))


def ready_torsions(base: str, topology: mdtraj.Topology) -> dict[int, tuple[int, ...]]:
    """All torsions called `base`: PDB residue number -> four atom indices.

    phi, psi and chi belong to the residue of their C-alpha, omega to the residue before the bond.
    Caps take part (ACE's CH3 stands for a C-alpha in omega, as does the methyl carbon of NME).
    """
    chains = [
        [
            Residue(one.resSeq, one.name, {atom.name: atom.index for atom in one.atoms})
            for one in chain.residues
        ]
        for chain in topology.chains
    ]
    listed = torsion_names.ready_torsions(base, chains)
    found = dict(listed)
    if len(found) != len(listed):
        raise InputError(
            f"residue numbers repeat, so that {base} has no clear name; name its four atoms instead."
        )
    return found


def declared_variable(
    name: str, declaration: Any, topology: mdtraj.Topology | None, dimension: int
) -> Variable:
    """The variable of ``coordinates: {name: declaration}`` in a states file.

    `declaration` is ``{torsion: [four atoms]}``, ``{distance: [two atoms]}``, ``{pucker: [six atoms]}`` (an
    atom is a zero-based index or an MDTraj selection of exactly one) or ``{component: index}``.
    """
    kinds = (*_ATOMS, "component")
    if not isinstance(declaration, dict) or len(declaration) != 1 or next(iter(declaration)) not in kinds:
        raise InputError(
            f"coordinate {name}: expected one of `torsion: [four atoms]`, `distance: [two atoms]`, "
            f"`pucker: [six atoms]`, `component: index`; got {declaration!r}."
        )
    kind, atoms = next(iter(declaration.items()))
    if kind == "component":
        if topology is not None:
            raise InputError(
                f"coordinate {name}: 'component' is for model systems; use 'torsion' or 'distance'."
            )
        return Variable(name, kind, _component(f"x{atoms}", dimension).atoms)
    if topology is None:
        raise InputError(f"coordinate {name}: a model system has no atoms; use `component: index`.")
    if not isinstance(atoms, list) or len(atoms) != _ATOMS[kind]:
        raise InputError(f"coordinate {name}: a {kind} takes a list of {_ATOMS[kind]} atoms; got {atoms!r}.")
    indices = tuple(_one_atom(name, atom, topology) for atom in atoms)
    if len(set(indices)) != len(indices):
        raise InputError(f"coordinate {name}: an atom is named twice ({', '.join(map(str, indices))}).")
    if kind == PUCKER:
        _require_ring(name, indices, topology)
    return Variable(name, kind, indices)


def _require_ring(name: str, indices: tuple[int, ...], topology: mdtraj.Topology) -> None:
    bonds = {frozenset((bond[0].index, bond[1].index)) for bond in topology.bonds}
    for first, second in zip(indices, indices[1:] + indices[:1], strict=True):
        if frozenset((first, second)) not in bonds:
            raise InputError(
                f"coordinate {name}: a pucker takes the atoms of a ring in their order; "
                f"{topology.atom(first)} and {topology.atom(second)} are not bonded."
            )


def _saturated_ring(topology: mdtraj.Topology) -> tuple[int, ...]:
    """The one saturated ring of six, from its lowest atom on."""
    bonds = np.array([(bond[0].index, bond[1].index) for bond in topology.bonds]).reshape(-1, 2)
    found = saturated_rings(topology.n_atoms, bonds)
    if len(found) != 1:
        raise InputError(
            f"the molecule has {len(found)} saturated rings of six, and {PUCKER} needs one; declare the six "
            "atoms of a ring in their order under 'coordinates', as `ring: {pucker: [...]}`."
        )
    return found[0]


def _component(name: str, dimension: int) -> Variable:
    match = re.fullmatch(r"x(\d+)", name)
    if match is None or int(match[1]) >= dimension:
        raise InputError(
            f"unknown coordinate {name!r}; a model system of {dimension} has x0 to x{dimension - 1}."
        )
    return Variable(name, "component", (int(match[1]),))


def _one_atom(name: str, atom: Any, topology: mdtraj.Topology) -> int:
    if isinstance(atom, int) and not isinstance(atom, bool):
        if not 0 <= atom < topology.n_atoms:
            raise InputError(f"coordinate {name}: atom {atom} is outside 0 to {topology.n_atoms - 1}.")
        return atom
    if not isinstance(atom, str):
        raise InputError(f"coordinate {name}: {atom!r} is neither an atom index nor a selection.")
    try:
        selected = topology.select(atom)
    except Exception as error:  # whatever the text provokes in the parser of MDTraj
        raise InputError(f"coordinate {name}: {atom!r} is not an MDTraj selection.") from error
    if len(selected) != 1:
        raise InputError(
            f"coordinate {name}: the selection {atom!r} names {len(selected)} atoms; exactly one is needed."
        )
    return int(selected[0])
