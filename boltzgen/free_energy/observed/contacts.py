"""What depends on atoms being near: NOE distances and hydrogen bonds.

``noe:A-B``. The cross-relaxation rate of two protons grows with ``r^-6``, so that an experiment sees the
effective distance ``<r^-6>^(-1/6)``. Groups (``noe:H4+H5+H6-H9``) are averaged over their pairs, the "R-6"
average of Brünger, Clore, Gronenborn and Karplus, PNAS 83, 3801 (1986), not summed.

``hbond`` counts donor-hydrogen-acceptor triples (donors N-H and O-H, acceptors N and O, as MDTraj) by one of

    Baker-Hubbard     r(H...A) < 0.25 nm and angle D-H-A > 120 degrees
    Wernet-Nilsson    r(D...A) < 0.33 nm - 0.000044 nm (angle H-D-A / degree)^2

Baker and Hubbard, Prog. Biophys. Mol. Biol. 44, 97 (1984); Wernet et al., Science 304, 995 (2004).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule, label
from boltzgen.system.graph.geometry import angles

BAKER_HUBBARD = "Baker-Hubbard"
WERNET_NILSSON = "Wernet-Nilsson"


def noe(asked: Asked, molecule: Molecule) -> Measure:
    """The effective distance of two atoms or groups of atoms, nm; its mean is that of ``r^-6``."""
    if asked.words:
        raise InputError(f"observable {asked.text!r}: noe takes no brackets; write noe:ATOM-ATOM.")
    first, second = asked.groups(molecule.topology, 2)

    def evaluate(positions: np.ndarray) -> np.ndarray:
        x = np.asarray(positions, dtype=np.float64)
        apart = x[:, list(first)][:, :, None] - x[:, list(second)][:, None]
        squares = np.einsum("nabi,nabi->nab", apart, apart)
        with np.errstate(divide="ignore"):
            return ((squares**-3.0).mean(axis=(1, 2)) ** (-1 / 6))[:, None]

    further = {"pairs": len(first) * len(second), "average": "<r^-6>^(-1/6), mean over pairs"}
    return Measure((asked.text,), "nm", evaluate, -6, (further,))


def hydrogen_bonds(asked: Asked, molecule: Molecule) -> Measure:
    """``hbond``: their mean number, then the population of each that occurs; ``hbond:H-A``: of one."""
    criterion = asked.choice((BAKER_HUBBARD, WERNET_NILSSON))
    triples = _triples(molecule)
    base = asked.text.partition(":")[0]
    single = bool(asked.where)
    if single:
        wanted = asked.atoms(molecule.topology, 2)
        triples = [one for one in triples if one[1:] == wanted]
    if not triples:
        raise InputError(
            f"observable {asked.text!r}: the molecule has no such hydrogen bond; a donor is an N or O with "
            "its hydrogen, an acceptor another N or O; write hbond:HYDROGEN-ACCEPTOR."
        )
    table = np.array(triples)
    present = _CRITERIA[criterion]
    names = [f"{base}:{label(molecule.topology, h)}-{label(molecule.topology, a)}" for _, h, a in triples]

    def evaluate(positions: np.ndarray) -> np.ndarray:
        found = present(np.asarray(positions, dtype=np.float64), table).astype(np.float64)
        return found if single else np.concatenate([found.sum(axis=1, keepdims=True), found], axis=1)

    all_names = (asked.text,) if single else (base, *names)
    further = tuple({"criterion": criterion} for _ in all_names)
    note = (
        f"hydrogen bonds by the criterion of {criterion}; {base} is their mean number, the others are "
        "populations"
    )
    return Measure(all_names, "1", evaluate, 1, further, note, seen_only=not single)


def _triples(molecule: Molecule) -> list[tuple[int, int, int]]:
    """(donor, hydrogen, acceptor) of every hydrogen bond that the molecule could have."""
    elements, neighbours = molecule.elements, molecule.neighbours
    polar = [atom for atom, element in enumerate(elements) if element in ("N", "O")]
    return [
        (donor, hydrogen, acceptor)
        for donor in polar
        for hydrogen in neighbours[donor]
        if elements[hydrogen] == "H"
        for acceptor in polar
        if acceptor != donor
    ]


def _baker_hubbard(x: np.ndarray, triples: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x[:, triples[:, 1]] - x[:, triples[:, 2]], axis=-1)
    return np.asarray((length < 0.25) & (angles(x, triples) > np.radians(120.0)))


def _wernet_nilsson(x: np.ndarray, triples: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x[:, triples[:, 0]] - x[:, triples[:, 2]], axis=-1)
    cone = np.degrees(angles(x, triples[:, [1, 0, 2]]))
    return np.asarray(length < 0.33 - 0.000044 * cone**2)


_CRITERIA: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    BAKER_HUBBARD: _baker_hubbard,
    WERNET_NILSSON: _wernet_nilsson,
}
