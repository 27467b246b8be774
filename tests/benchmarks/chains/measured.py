"""What both sides of the comparison share: the molecules, the series that are looked at, and their worth.

A side is judged by the smallest bulk number of samples (rank-normalised; Vehtari, Gelman, Simpson, Carpenter,
Buerkner, Bayesian Analysis 16, 667, 2021; arviz-stats) over the energy and the cosine and sine of every
torsion that may turn, divided by the energies, or the CPU seconds, that made the samples. Warm-up counts for
neither side: it is paid once, and a run may be as long as one likes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from arviz_stats.base import array_stats

import boltzgen
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import MOVED
from boltzgen.system.molecular_system import MolecularSystem

#: K, of every comparison.
KELVIN = 310.0

#: Every third of the list of tetrapeptides in facts.md: measured, never trained on or tuned to.
TETRAPEPTIDES = ("ARIP", "DEMT", "FESD", "GDTI", "HQVS", "KKAP", "NCFG", "QAKR", "SHKS", "TMWC")

#: Octapeptides, named before anything was measured: every fifth of that list from the second on.
OCTAPEPTIDES = (
    "CGSWHKQR",
    "FWRVDHDM",
    "ISKCKNGE",
    "MWNSTEMI",
    "NPCLCYML",
    "PYIRNCVE",
    "WDLIQFRQ",
    "GNDLVTVI",
)

#: Molecules on which settings were chosen: in no list of facts.md.
CHOSEN_ON = ("AAAA", "KSEA")


def prepared(sequence: str) -> MolecularSystem:
    """The uncapped peptide in ff14SB and OBC1, as the released model knows peptides."""
    folder = Path(tempfile.gettempdir()) / "boltzgen-chains" / sequence
    if not (folder / "system.json").exists():
        boltzgen.prepare(None, folder, sequence=sequence, implicit="obc1")
    return MolecularSystem.load(str(folder))


def torsions(system: MolecularSystem) -> np.ndarray:
    """(torsions, 4) atoms of every torsion that may turn by itself; methyl-like rotors, amides not."""
    found = [torsion.atoms for torsion in MolecularGraph.from_system(system).torsions(MOVED)]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def series_of(system: MolecularSystem, positions: np.ndarray, energies: np.ndarray) -> dict[str, np.ndarray]:
    """What is looked at, each (walks, frames), of positions (walks, frames, N, 3) and their energies."""
    atoms = torsions(system)
    flat = positions.reshape(-1, *positions.shape[2:])
    angles = dihedral_angles(flat, atoms).reshape(*energies.shape, len(atoms))
    found = {"energy": energies}
    for number, one in enumerate(atoms.tolist()):
        name = "-".join(str(atom) for atom in one)
        found[f"cos {name}"] = np.cos(angles[..., number])
        found[f"sin {name}"] = np.sin(angles[..., number])
    return found


def bulk_samples(series: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Bulk number of samples of each series (walks, frames); 0 where nothing ever moved."""
    return {
        name: float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="bulk"))
        if np.ptp(values) > 1e-9
        else 0.0
        for name, values in series.items()
    }


def append(path: Path, record: Mapping[str, object]) -> None:
    """One line of JSON more in `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(dict(record), sort_keys=True) + "\n")


def lines_of(path: Path) -> list[dict[str, object]]:
    """The records of `path`; none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names_of(words: Sequence[str]) -> tuple[str, ...]:
    """Sequences: as given, or those of a list by its word (``tetra``, ``octa``, ``chosen``)."""
    lists = {"tetra": TETRAPEPTIDES, "octa": OCTAPEPTIDES, "chosen": CHOSEN_ON}
    return tuple(name for word in words for name in lists.get(word, (word,)))
