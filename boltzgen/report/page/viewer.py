"""The 3D view: which conformations it holds, laid over each other, and the words around it.

By weight: the heaviest samples first, then rows at even steps of the sum of all weights, each row once.
Frames of a simulation are taken at even distances. Each is moved and turned onto the first (Kabsch, Acta
Cryst. A 32, 922 (1976)), and rounded to 0.01 Å.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzgen.ensemble.topology import read_topology
from boltzgen.report.page.markup import Html, escaped, joined, tag
from boltzgen.report.page.record import Material, Section
from boltzgen.report.page.sources import turns
from boltzgen.report.page.weights import heaviest_rows
from boltzgen.system.graph.elements import symbol_of

#: Conformations at most, and atoms of all of them together.
MOST_FRAMES, MOST_ATOMS = 200, 40_000

#: Torsions by which the view can colour.
MOST_TORSIONS = 8

#: Units of a stored coordinate in one nm; 16 bits hold 32 nm from the centre.
PER_NM = 1000.0


@dataclass(frozen=True, eq=False)
class _Shown:
    """Conformations (n, N, 3) nm, their rows in the samples or frames, and their weights (None: none)."""

    positions: np.ndarray
    rows: np.ndarray
    shares: np.ndarray | None
    heaviest: int
    what: str


def view(material: Material) -> tuple[Section, dict[str, Any]] | None:
    """The section ``ensemble`` and what its script reads; None without positions or names of atoms."""
    shown, atoms = _shown(material), _atoms(material)
    if shown is None or atoms is None or len(atoms["elements"]) != shown.positions.shape[1]:
        return None
    heavy = np.array([one != "H" for one in atoms["elements"]])
    laid = superposed(shown.positions, heavy if heavy.sum() >= 3 else np.ones(len(heavy), dtype=bool))
    turning = turns(material)[:MOST_TORSIONS]
    thirds = [
        np.floor(np.remainder(turn.variable.evaluate(shown.positions), 360.0) / 120.0).astype(int).tolist()
        for turn in turning
    ]
    frames = {
        **atoms,
        "count": len(laid),
        "xyz": _packed(laid),
        "rows": shown.rows.tolist(),
        "shares": None if shown.shares is None else [float(f"{share:.6g}") for share in shown.shares],
        "heaviest": shown.heaviest,
        "what": shown.what,
        "torsions": [
            {"label": turn.label, "thirds": one} for turn, one in zip(turning, thirds, strict=True)
        ],
    }  # fmt: skip
    numbers = {"frames": len(laid), "rows": shown.rows.tolist(), "of": shown.what}
    return Section("ensemble", "In 3D", _words(shown, len(turning) > 0), numbers), frames


def _shown(material: Material) -> _Shown | None:
    ensemble = material.ensemble
    if ensemble is not None and ensemble.is_molecular:
        finite = np.isfinite(ensemble.positions).all(axis=(1, 2))
        w = np.where(finite, ensemble.weights(), 0.0)
        if w.any():
            first = heaviest_rows(w)
            rows = np.concatenate([first, even_rows(w, _most(material, ensemble.positions.shape[1]), first)])
            return _Shown(np.array(ensemble.positions[rows]), rows, w[rows], len(first), "samples")
    frames = material.frames
    if frames is not None and len(frames):
        most = min(len(frames), _most(material, frames.n_atoms))
        rows = np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))
        return _Shown(frames.positions[rows], rows, None, 0, "frames of the simulation")
    if material.molecule is not None:
        return _Shown(
            material.molecule.reference_positions[None], np.zeros(1, int), None, 0, "reference structure"
        )
    return None


def _most(material: Material, atoms: int) -> int:
    return max(1, min(MOST_FRAMES, MOST_ATOMS // max(atoms, 1)))


def even_rows(w: np.ndarray, number: int, besides: np.ndarray) -> np.ndarray:
    """Rows at even steps of the sum of the weights (n,), each once, without `besides`; `number` with them."""
    points = (np.arange(number) + 0.5) / number * w.sum()
    rows = np.unique(np.minimum(np.searchsorted(np.cumsum(w), points), len(w) - 1))
    rows = rows[~np.isin(rows, besides) & (w[rows] > 0)]
    most = max(number - len(besides), 0)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def superposed(positions: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """`positions` (n, N, 3), each moved and turned (never mirrored) so that its `chosen` atoms (N,) bool lie
    on those of the first, whose centre is the origin."""
    x = np.asarray(positions, dtype=np.float64)
    x = x - x[:, chosen].mean(axis=1, keepdims=True)
    target = x[0][chosen]
    u, _, vt = np.linalg.svd(np.einsum("nai,aj->nij", x[:, chosen], target))
    hand = np.sign(np.linalg.det(u @ vt))
    u[:, :, -1] *= hand[:, None]
    return np.asarray(np.einsum("nai,nij->naj", x, u @ vt))


def _packed(positions: np.ndarray) -> str:
    """Little-endian 16-bit integers of 0.001 nm, base64."""
    whole = np.clip(np.round(positions * PER_NM), -32767, 32767).astype("<i2")
    return base64.b64encode(whole.tobytes()).decode("ascii")


def _atoms(material: Material) -> dict[str, Any] | None:
    """Elements, names and bonds; None where nothing tells them."""
    system = material.molecule
    if system is not None:
        return {
            "elements": [symbol_of(int(number)) for number in system.atomic_numbers],
            "names": [str(name) for name in system.atom_names],
            "bonds": system.bonds.tolist(),
        }
    if material.ensemble is None or not material.ensemble.topology_pdb:
        return None
    topology = read_topology(material.ensemble.topology_pdb)
    return {
        "elements": [symbol_of(int(atom.element.number)) for atom in topology.atoms],
        "names": [f"{atom.residue} {atom.name}" for atom in topology.atoms],
        "bonds": [[int(bond[0].index), int(bond[1].index)] for bond in topology.bonds],
    }


def _words(shown: _Shown, turning: bool) -> Html:
    count = len(shown.rows)
    if shown.shares is not None:
        told = (
            f"{count} of the samples: the {shown.heaviest} heaviest, then samples by weight. Drag to turn, "
            "pinch or scroll to come closer."
        )
    else:
        told = f"{count} {shown.what if count > 1 else 'conformation, the ' + shown.what}. Drag to turn."
    colours = [("element", "elements")]
    colours += [("weight", "weight")] if shown.shares is not None else []
    options = joined(tag("option", label, value=value) for value, label in colours)
    several = [
        tag("button", "all at once", type="button", id="all", aria_pressed="true"),
        tag("button", "one by one", type="button", id="one", aria_pressed="false"),
        tag("label", joined(["coloured by ", tag("select", options, id="colour")])),
    ]
    single = [
        tag("button", "‹", type="button", id="before", aria_label="conformation before"),
        Html(f'<input type="range" id="which" min="0" max="{count - 1}" value="0" aria-label="which one">'),
        tag("button", "›", type="button", id="after", aria_label="conformation after"),
        tag("span", "", id="told"),
    ]
    stage = Html(
        '<div id="stage"><p id="without">The 3D view needs JavaScript and WebGL, which this browser does not '
        "offer here; all else on this page works without.</p></div>"
    )
    parts: list[object] = [tag("p", told)]
    if count > 1:
        parts.append(tag("div", joined(several), class_="controls"))
    parts.append(stage)
    if count > 1:
        parts.append(tag("div", joined(single), class_="controls", id="single"))
    parts.append(tag("p", escaped(""), id="legend"))
    return joined(parts)
