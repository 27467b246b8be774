"""``J3-HCCH``: couplings of the hydrogens of two bonded tetrahedral carbons.

By the generalised Karplus equation of Haasnoot, de Leeuw and Altona, Tetrahedron 36, 2783 (1980), Hz and
degrees::

    J = P1 cos^2(t) + P2 cos(t) + sum_i x_i [P4 + P5 cos^2(s_i t + P6 |x_i|)]
    x_i = dX(i) - P7 sum_{b on i} dX(b)

over the substituents i of the fragment H-C-C-H that are not hydrogen; dX is Huggins' electronegativity
(JACS 75, 4123 (1953)) less that of hydrogen, b the atoms that i bears. s_i = -1 where the substituent's own
torsion to the hydrogen across the bond is t + 120 degrees, +1 where it is t - 120: one that stands opposite
to a gauche hydrogen lowers its coupling most. Their sets C, D, E for 2, 3, 4 substituents, B otherwise. Or
by Karplus' own, for unsubstituted ethane: ``J = 4.22 - 0.5 cos(t) + 4.5 cos(2 t)`` (JACS 85, 2870 (1963)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule, label
from boltzgen.system.graph.geometry import dihedral_angles

HLA = "HLA"
KARPLUS = "Karplus"

#: Huggins' electronegativities.
ELECTRONEGATIVITY = {
    "H": 2.20,
    "C": 2.60,
    "N": 3.05,
    "O": 3.50,
    "F": 3.90,
    "Si": 1.90,
    "P": 2.15,
    "S": 2.60,
    "Cl": 3.15,
    "Br": 2.95,
    "I": 2.65,
}


@dataclass(frozen=True)
class _Set:
    """P1, P2 (Hz), P4, P5 (Hz), P6 (degrees) and P7 of a set; P3 is 0 in all of them."""

    name: str
    p1: float
    p2: float
    p4: float
    p5: float
    p6: float
    p7: float


_GENERAL = _Set("B", 13.70, -0.73, 0.56, -2.47, 16.9, 0.14)
#: The set for a number of substituents that are not hydrogen; `_GENERAL` for any other.
_SETS = {
    2: _Set("C", 13.89, -0.98, 1.02, -3.40, 14.9, 0.24),
    3: _Set("D", 13.22, -0.99, 0.87, -2.46, 19.9, 0.00),
    4: _Set("E", 13.24, -0.91, 0.53, -2.41, 15.5, 0.19),
}

#: Root mean square by which the equation misses the 315 couplings that it was fitted to.
HLA_RMS = 0.48


@dataclass(frozen=True)
class _Pair:
    """H, C, C, H; and of each substituent the torsion across the bond and the effective electronegativity."""

    atoms: tuple[int, int, int, int]
    torsions: tuple[tuple[int, int, int, int], ...]
    x: tuple[float, ...]
    constants: _Set


def vicinal_coupling(asked: Asked, molecule: Molecule) -> Measure:
    """Every H-C-C-H coupling, hydrogens of a methyl together; or that of two hydrogens or groups of them."""
    relation = asked.choice((HLA, KARPLUS))
    groups = [_of_groups(asked, molecule)] if asked.where else _all_groups(molecule)
    if not groups:
        raise InputError(
            f"observable {asked.text!r}: the molecule has no hydrogens on two bonded tetrahedral carbons."
        )
    stem = asked.text.partition(":")[0]
    names, columns, further = [], [], []
    for first, second in groups:
        pairs = [_pair(asked, molecule, a, b, relation) for a in first for b in second]
        written = ["+".join(label(molecule.topology, atom) for atom in group) for group in (first, second)]
        names.append(asked.text if asked.where else f"{stem}:{'-'.join(written)}")
        columns.append(pairs)
        sets = "" if relation == KARPLUS else f", set {pairs[0].constants.name}"
        rms = {} if relation == KARPLUS else {"relation_rms_Hz": HLA_RMS}
        further.append({"relation": f"{relation}{sets}", **rms})

    def evaluate(positions: np.ndarray) -> np.ndarray:
        x = np.asarray(positions, dtype=np.float64)
        value = _hla if relation == HLA else _simple
        return np.stack([np.mean([value(x, pair) for pair in pairs], axis=0) for pairs in columns], axis=1)

    note = {
        HLA: f"{stem}: Haasnoot-de Leeuw-Altona; its own error, {HLA_RMS} Hz (rms), is not in the intervals",
        KARPLUS: f"{stem}: Karplus' relation for ethane, which knows no substituents",
    }[relation]
    return Measure(tuple(names), "Hz", evaluate, 1, tuple(further), note)


def _hla(x: np.ndarray, pair: _Pair) -> np.ndarray:
    p = pair.constants
    table = np.array([pair.atoms, *pair.torsions])
    angles = dihedral_angles(x, table)
    t = angles[:, 0]
    value = p.p1 * np.cos(t) ** 2 + p.p2 * np.cos(t)
    for i, strength in enumerate(pair.x):
        side = np.where(np.sin(angles[:, i + 1] - t) > 0, -1.0, 1.0)
        turn = side * t + np.radians(p.p6 * abs(strength))
        value = value + strength * (p.p4 + p.p5 * np.cos(turn) ** 2)
    return np.asarray(value)


def _simple(x: np.ndarray, pair: _Pair) -> np.ndarray:
    t = dihedral_angles(x, np.array([pair.atoms]))[:, 0]
    return np.asarray(4.22 - 0.5 * np.cos(t) + 4.5 * np.cos(2 * t))


def _pair(asked: Asked, molecule: Molecule, first: int, last: int, relation: str) -> _Pair:
    neighbours, elements = molecule.neighbours, molecule.elements
    left, right = (_carbon(molecule, atom) for atom in (first, last))
    if left is None or right is None or right not in neighbours[left]:
        raise InputError(
            f"observable {asked.text!r}: {molecule.topology.atom(first)} and "
            f"{molecule.topology.atom(last)} are not hydrogens of two bonded tetrahedral carbons; give a "
            "relation of your own as J3(A,B,C):ATOM-ATOM-ATOM-ATOM."
        )
    atoms = (first, left, right, last)
    if relation == KARPLUS:
        return _Pair(atoms, (), (), _GENERAL)
    found = [
        (atom, torsion, carbon)
        for carbon, other, torsion_of in (
            (left, right, lambda atom: (atom, left, right, last)),
            (right, left, lambda atom: (first, left, right, atom)),
        )
        for atom in neighbours[carbon]
        if atom not in (first, last, other) and elements[atom] != "H"
        for torsion in (torsion_of(atom),)
    ]
    constants = _SETS.get(len(found), _GENERAL)
    strengths = []
    for atom, _, carbon in found:
        beta = sum(_apart(asked, elements[b]) for b in neighbours[atom] if b != carbon)
        strengths.append(_apart(asked, elements[atom]) - constants.p7 * beta)
    return _Pair(atoms, tuple(torsion for _, torsion, _ in found), tuple(strengths), constants)


def _apart(asked: Asked, element: str) -> float:
    if element not in ELECTRONEGATIVITY:
        raise InputError(
            f"observable {asked.text!r}: Haasnoot's equation has no electronegativity of {element or '?'}; "
            f"use J3-HCCH({KARPLUS}), or J3(A,B,C):ATOM-ATOM-ATOM-ATOM with coefficients of your own."
        )
    return ELECTRONEGATIVITY[element] - ELECTRONEGATIVITY["H"]


def _carbon(molecule: Molecule, hydrogen: int) -> int | None:
    """The tetrahedral carbon that bears `hydrogen`; None for any other atom."""
    neighbours, elements = molecule.neighbours, molecule.elements
    if elements[hydrogen] != "H" or len(neighbours[hydrogen]) != 1:
        return None
    carbon = neighbours[hydrogen][0]
    return carbon if elements[carbon] == "C" and len(neighbours[carbon]) == 4 else None


def _of_groups(asked: Asked, molecule: Molecule) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, second = asked.groups(molecule.topology, 2)
    return first, second


def _all_groups(molecule: Molecule) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The hydrogens of every two bonded tetrahedral carbons; three of one carbon are one group."""
    borne: dict[int, list[int]] = {}
    for atom in range(molecule.topology.n_atoms):
        carbon = _carbon(molecule, atom)
        if carbon is not None:
            borne.setdefault(carbon, []).append(atom)
    neighbours, found = molecule.neighbours, []
    for left in sorted(borne):
        for right in (atom for atom in neighbours[left] if atom > left and atom in borne):
            found += [(a, b) for a in _split(borne[left]) for b in _split(borne[right])]
    return found


def _split(hydrogens: list[int]) -> list[tuple[int, ...]]:
    return [tuple(hydrogens)] if len(hydrogens) == 3 else [(atom,) for atom in hydrogens]
