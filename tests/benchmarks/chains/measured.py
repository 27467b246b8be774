"""What both sides of the comparison share: the molecules, the series that are looked at, and their worth.

A side is judged by the smallest bulk number of samples (`boltzgen.ensemble.chains.samples`) over the energy
and the cosine and sine of every torsion that may turn, divided by the energies, or the CPU seconds, that made
the samples. Warm-up counts for neither side: it is paid once, and a run may be as long as one likes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import boltzgen
from boltzgen.ensemble.chains.samples import bulk_samples
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


def worth(system: MolecularSystem, positions: np.ndarray, energies: np.ndarray) -> tuple[str, float]:
    """The slowest of `series_of` and its bulk number of samples; 0 where one never moved."""
    found = {
        name: bulk_samples(values) or 0.0 for name, values in series_of(system, positions, energies).items()
    }
    slowest = min(found, key=lambda name: found[name])
    return slowest, found[slowest]


def kept(
    out: Path,
    side: str,
    label: str,
    system: MolecularSystem,
    positions: np.ndarray,
    u: np.ndarray,
    energies: float,
    cpu: float,
    **record: object,
) -> None:
    """A line in OUT/`side`.jsonl, the states in OUT/`side`-`label`.npz, and a line for people.

    positions: (walks, frames, N, 3) nm, u: (walks, frames). energies, cpu: what they
    cost. record: what else is to be known of them.
    """
    slowest, samples = worth(system, positions, u)
    each = {"energies_a_sample": energies / max(samples, 1e-9), "cpu_a_sample": cpu / max(samples, 1e-9)}
    spent = {"energies": energies, "cpu_seconds": cpu, "samples": samples, "slowest": slowest}
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{side}.jsonl").open("a") as file:
        told = {"side": side, "atoms": system.n_atoms, **record, **spent, **each}
        file.write(json.dumps(told, sort_keys=True) + "\n")
    np.savez(out / f"{side}-{label}.npz", positions=positions, u=u)
    print(
        f"{label}: {samples:.0f} samples ({slowest}); {each['energies_a_sample']:.0f} energies, "
        f"{each['cpu_a_sample']:.3f} CPU s each; {cpu:.0f} CPU s in all",
        flush=True,
    )


def lines_of(path: Path) -> list[dict[str, object]]:
    """The records of `path`; none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names_of(words: Sequence[str]) -> tuple[str, ...]:
    """Sequences: as given, or those of a list by its word (``tetra``, ``octa``, ``chosen``)."""
    lists = {"tetra": TETRAPEPTIDES, "octa": OCTAPEPTIDES, "chosen": CHOSEN_ON}
    return tuple(name for word in words for name in lists.get(word, (word,)))


def parser(description: str | None) -> argparse.ArgumentParser:
    """What both sides are asked: where to, which molecules, and a seed."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("out", type=Path)
    found.add_argument("sequences", nargs="+")
    found.add_argument("--seed", type=int, default=0)
    return found
