"""What is compared on a page: frames of the simulation, samples as drawn, and samples by their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.ensemble.topology import read_topology
from boltzgen.errors import InputError
from boltzgen.free_energy.variables import READY_NAMES, Variable, ready_torsions
from boltzgen.report.axes import symbol
from boltzgen.report.page.record import Material, part, several
from boltzgen.report.page.svg import BLACK, BLUE, ORANGE
from boltzgen.system.graph.molecular_graph import MolecularGraph


@dataclass(frozen=True, eq=False)
class Source:
    """Conformations (n, N, 3) in nm with weights (n,), not normalised.

    key: among the page's numbers. label: for people. inefficiency: conformations per independent one.
    """

    key: str
    label: str
    colour: str
    positions: np.ndarray
    weights: np.ndarray
    inefficiency: float = 1.0
    dash: str = ""

    @property
    def n_effective(self) -> float:
        total = float(np.sum(self.weights**2))
        return float(self.weights.sum()) ** 2 / total / self.inefficiency if total > 0 else 0.0


def sources(material: Material) -> list[Source]:
    """Those that `material` has, in the order in which they are drawn."""
    found = []
    if material.frames is not None and len(material.frames):
        frames = material.frames
        slowest = [
            g for key, g in frames.statistical_inefficiency.items() if key.startswith(("torsions", "size"))
        ]
        found.append(
            Source(
                "simulation", "simulation", BLACK, frames.positions, np.ones(len(frames)),
                max([1.0, *slowest]) if slowest else _slowest(material),
            )
        )  # fmt: skip
    ensemble = material.ensemble
    if ensemble is not None and ensemble.is_molecular:
        finite = np.isfinite(ensemble.positions).all(axis=(1, 2))
        drawn = ensemble.valid & finite
        label = "flow" if drawn_by_flow(material) else "unweighted"
        if drawn.any() and ensemble.walkers is not None:
            kept, counted = ensemble.positions[drawn], ensemble.diagnostics().n_effective
            slow = len(kept) / counted if counted > 0 else float(len(kept))
            weighted = ensemble.weights()[drawn]
            found.append(Source("reweighted", "walkers", BLUE, kept, weighted, max(slow, 1.0)))
        elif drawn.any():
            kept = ensemble.positions[drawn]
            found.append(Source("flow", label, ORANGE, kept, np.ones(len(kept)), dash="5 3"))
            found.append(Source("reweighted", "reweighted", BLUE, kept, ensemble.weights()[drawn]))
    return found


def drawn_by_flow(material: Material) -> bool:
    """Whether the samples are the flow's own draws: not moved since, and none left out by another energy."""
    origin = part(material.manifest, "provenance")
    moved = several(origin, "refined") or part(origin, "chains")
    return not moved and not origin.get("reweighted_from")


def _slowest(material: Material) -> float:
    """The largest inefficiency of the torsions of the frames, where nobody recorded it."""
    frames = material.frames
    assert frames is not None
    series = [turn.variable.evaluate(frames.positions) for turn in turns(material)[:6]]
    angles = [np.radians(one) for one in series]
    return max([1.0, *(statistical_inefficiency(f(one)) for one in angles for f in (np.cos, np.sin))])


@dataclass(frozen=True)
class Turn:
    """A torsion that turns: its name in a states file, if it has one, what people read, and its variable."""

    name: str
    label: str
    variable: Variable


def topology_pdb(material: Material) -> str:
    """Names of atoms as a PDB; empty where there are none."""
    if material.molecule is not None:
        return material.molecule.topology_pdb
    return "" if material.ensemble is None else material.ensemble.topology_pdb


def turns(material: Material) -> list[Turn]:
    """The torsions with states: open ones by the molecule's graph, ready names where there is none."""
    text = topology_pdb(material)
    if not text:
        return []
    named = _ready(text)
    if material.molecule is None:
        return [
            Turn(name, symbol(name), Variable(name, "torsion", atoms))
            for name, atoms in named.items()
            if not name.startswith("omega")
        ]
    by_axis = {tuple(sorted(atoms[1:3])): (name, atoms) for name, atoms in named.items()}
    found = []
    for torsion in MolecularGraph.from_system(material.molecule).torsions():
        if torsion.kind != "open":
            continue
        axis = tuple(sorted((torsion.axis[0], torsion.axis[-1])))
        name, atoms = by_axis.get(axis, ("", torsion.atoms))
        if name:
            found.append(Turn(name, symbol(name), Variable(name, "torsion", atoms)))
        else:
            label = "-".join(material.molecule.atom_names[atom].atom for atom in atoms)
            found.append(Turn(label, label, Variable(label, "torsion", tuple(atoms))))
    return found


def _ready(text: str) -> dict[str, tuple[int, ...]]:
    """Ready name (with its residue where there are several) -> four atoms."""
    topology = read_topology(text)
    found: dict[str, tuple[int, ...]] = {}
    for base in READY_NAMES:
        try:
            known = ready_torsions(base, topology)
        except InputError:  # residue numbers that repeat: no clear names
            continue
        for number, atoms in known.items():
            found[base if len(known) == 1 else f"{base}:{number}"] = atoms
    return found


def best_number_of_bins(found: Sequence[Source], per_bin: float, choices: Sequence[int]) -> int:
    """The largest of `choices` (rising) that leaves the poorest source `per_bin` effective samples a bin."""
    fewest = min(one.n_effective for one in found)
    fitting = [bins for bins in choices if fewest / bins >= per_bin]
    return fitting[-1] if fitting else choices[0]
