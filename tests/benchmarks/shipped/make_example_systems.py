"""Make the prepared molecules that the package ships as ``example:NAME`` (boltzgen/examples/NAME).

    pip install openmmtools==0.27.0      # for alanine-dipeptide-fab only
    python tests/benchmarks/shipped/make_example_systems.py [NAME ...]

What each molecule is, and which papers report on it, stands in `SOURCES` and in docs/energy_training.md.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from boltzgen.workflows.preparation.prepare import Preparation, prepare

OUTPUT = Path(__file__).resolve().parents[3] / "boltzgen" / "examples"


@dataclass(frozen=True)
class Source:
    """sequence: None for openmmtools' alanine dipeptide; the rest as `boltzgen prepare` has it."""

    sequence: str | None
    forcefield: tuple[str, ...] = ()
    implicit: str = "none"


SILDN = {"forcefield": ("amber99sbildn.xml",), "implicit": "amber99_obc.xml"}

SOURCES = {
    # ff96 and OBC1 of the Amber files in openmmtools, no constraints: FAB, TA-BG, CMT.
    "alanine-dipeptide-fab": Source(None),
    # NoCutoff, no constraints: SBG, FALCON, RegFlow, ArBG.
    "alanine-dipeptide-sbg": Source("ACE-ALA-NME", **SILDN),
    # The "alanine tetrapeptide" (42 atoms) and "hexapeptide" (62 atoms) of TA-BG (there with constrained
    # bonds to hydrogen, the default of bgmol) and CMT (boltzkit: no constraints, 3 N - 6 coordinates).
    "capped-tri-alanine": Source("ACE-ALA-ALA-ALA-NME", **SILDN),
    "capped-penta-alanine": Source("ACE-ALA-ALA-ALA-ALA-ALA-NME", **SILDN),
    # Glu-Leu-Ile-Leu of CMT: 219 = 3 N - 6 coordinates is N = 75, the uncapped zwitterion with Glu(-);
    # capped it would be 84 atoms, with a protonated side chain 76.
    "elil": Source("ELIL", **SILDN),
}


def main(names: list[str]) -> None:
    for name in names or list(SOURCES):
        source = SOURCES[name]
        if source.sequence is None:
            made = from_openmmtools(name)
        else:
            made = prepare(
                None,
                OUTPUT / name,
                sequence=source.sequence,
                forcefield=source.forcefield,
                implicit=source.implicit,
                name=name,
                overwrite=True,
            )
        print(f"{name}: {made.system.n_atoms} atoms, {made.energy:.3f} kJ/mol, {made.translation}")


def from_openmmtools(name: str) -> Preparation:
    """openmmtools' AlanineDipeptideImplicit without constraints; its planar structure is relaxed."""
    import openmm
    from openmm.app import PDBFile
    from openmmtools.testsystems import AlanineDipeptideImplicit

    molecule = AlanineDipeptideImplicit(constraints=None)
    with tempfile.TemporaryDirectory() as folder:
        xml, pdb = Path(folder) / "openmmtools.xml", Path(folder) / "openmmtools.pdb"
        xml.write_text(openmm.XmlSerializer.serialize(molecule.system), encoding="utf-8")
        with pdb.open("w", encoding="utf-8") as stream:
            PDBFile.writeFile(molecule.topology, molecule.positions, stream, keepIds=True)
        return prepare(xml, OUTPUT / name, coordinates=pdb, minimize=True, name=name, overwrite=True)


if __name__ == "__main__":
    main(sys.argv[1:])
