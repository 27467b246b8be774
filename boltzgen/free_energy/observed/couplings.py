"""Three-bond couplings by Karplus relations, ``J = A cos^2(t) + B cos(t) + C`` in Hz.

Of a peptide's amide hydrogen, with the coefficients that MDTraj has (Bax2007: Vögeli, Ying, Grishaev and
Bax, JACS 129, 9377 (2007); Ruterjans1999: Schmidt et al., J. Biomol. NMR 14, 1 (1999); Bax1997: Hu and Bax,
JACS 119, 6360 (1997)):

    J3-HN-HA  t = phi - 60      J3-HN-CB  t = phi + 60      J3-HN-C  t = phi + 180 degrees

for an L residue; the mirror image has the same coupling, so that of a D residue phi counts with the other
sign. A glycine has a value for each of its hydrogens, a proline, without an amide hydrogen, none. Of any
four bonded atoms with coefficients of one's own: ``J3(A,B,C,shift):W-X-Y-Z``.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule
from boltzgen.system.graph.geometry import dihedral_angles

#: What is coupled to the amide hydrogen, and MDTraj's default set of coefficients.
PEPTIDE = {"J3-HN-HA": "HA", "J3-HN-C": "C", "J3-HN-CB": "CB"}

_DEFAULT = "Bax2007"


def peptide_coupling(asked: Asked, molecule: Molecule) -> Measure:
    """A coupling of the amide hydrogen of every residue that has it, or of the residue ``asked.where``."""
    coefficients, errors = _published(asked.base)
    known = tuple(sorted(coefficients, key=lambda name: name != _DEFAULT))
    relation = asked.choice(known)
    rows = _coupled(PEPTIDE[asked.base], molecule)
    residues = [molecule.topology.atom(row[2]).residue.resSeq for row in rows]
    chosen = [k for k, number in enumerate(residues) if asked.where in ("", str(number))]
    if not chosen:
        where = f" at residue {asked.where}" if asked.where else ""
        raise InputError(f"the molecule has no {asked.base}{where}.")
    stem = asked.text.partition(":")[0]
    names = []
    for k in chosen:
        several = residues.count(residues[k]) > 1
        names.append(
            f"{stem}:{residues[k]}" + (f".{molecule.topology.atom(rows[k][4]).name}" if several else "")
        )
    table = np.array([rows[k] for k in chosen])
    a, b, c, shift = (coefficients[relation][key] for key in ("A", "B", "C", "phi0"))
    # where the coupled atom stands in an L residue, seen along N-CA from the carbon before
    side = {"HA": 1.0, "C": 0.0, "CB": -1.0}[PEPTIDE[asked.base]]

    def evaluate(positions: np.ndarray) -> np.ndarray:
        x = np.asarray(positions, dtype=np.float64)
        phi = dihedral_angles(x, table[:, :4])
        if side:
            apart = np.sin(dihedral_angles(x, table[:, [0, 1, 2, 4]]) - phi)
            phi = np.where(side * apart >= 0, phi, -phi)
        return _karplus(phi + shift, a, b, c)

    further = {"relation": f"Karplus, {relation}", "relation_rms_Hz": errors[relation]}
    note = (
        f"{stem}: relation {relation} of MDTraj; its own error, {errors[relation]} Hz (rms), is not in "
        "the intervals"
    )
    return Measure(tuple(names), "Hz", evaluate, 1, (further,) * len(names), note)


def declared_coupling(asked: Asked, molecule: Molecule) -> Measure:
    """``J3(A,B,C)`` or ``J3(A,B,C,shift)`` of four atoms, each bonded to the next; Hz and degrees."""
    words = [word for word in asked.words.replace(" ", ",").split(",") if word]
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4) or not np.isfinite(numbers).all():
        raise InputError(
            f"observable {asked.text!r}: J3 takes the coefficients A, B, C (Hz) of A cos^2(t) + B cos(t) + "
            "C, and a shift of t (degrees) if there is one: J3(9.4,-1.1,0.4):H1-C1-O1-H2."
        )
    atoms = asked.atoms(molecule.topology, 4)
    neighbours = molecule.neighbours
    for one, two in pairwise(atoms):
        if two not in neighbours[one]:
            raise InputError(
                f"observable {asked.text!r}: {molecule.topology.atom(one)} and "
                f"{molecule.topology.atom(two)} are not bonded; a coupling over three bonds takes four "
                "atoms in a chain."
            )
    a, b, c = numbers[:3]
    shift = np.radians(numbers[3] if len(numbers) == 4 else 0.0)

    def evaluate(positions: np.ndarray) -> np.ndarray:
        return _karplus(dihedral_angles(positions, np.array([atoms])) + shift, a, b, c)

    return Measure((asked.text,), "Hz", evaluate, 1, ({"relation": "Karplus, coefficients as given"},))


def _karplus(angle: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    cosine = np.cos(angle)
    return np.asarray(a * cosine**2 + b * cosine + c)


def _published(base: str) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The coefficients (Hz, rad) and rms errors (Hz) of a peptide's coupling, by the name of the relation."""
    from mdtraj.nmr import scalar_couplings

    stem = base.replace("-", "_")
    return getattr(scalar_couplings, f"{stem}_coefficients"), getattr(
        scalar_couplings, f"{stem}_uncertainties"
    )


def _coupled(partner: str, molecule: Molecule) -> list[tuple[int, int, int, int, int]]:
    """C, N, CA, C of each phi whose N bears one hydrogen, and the atoms of CA that are coupled to it."""
    import mdtraj

    topology, elements = molecule.topology, molecule.elements
    dummy = mdtraj.Trajectory(np.zeros((1, topology.n_atoms, 3), dtype=np.float32), topology)
    phis = mdtraj.compute_phi(dummy)[0]
    if not len(phis):
        return []
    neighbours = molecule.neighbours
    found = []
    for row in phis:
        before, nitrogen, alpha, after = (int(atom) for atom in row)
        if sum(elements[atom] == "H" for atom in neighbours[nitrogen]) != 1:
            continue
        others = [atom for atom in neighbours[alpha] if atom not in (nitrogen, after)]
        hydrogens = [atom for atom in others if elements[atom] == "H"]
        carbons = [atom for atom in others if elements[atom] == "C"]
        partners = {"HA": hydrogens, "CB": carbons, "C": [after]}[partner]
        found += [(before, nitrogen, alpha, after, atom) for atom in partners]
    return found
