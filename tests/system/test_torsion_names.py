"""Ready names of torsions are MDTraj's, on every amino acid, capped and not, and on what is no peptide."""

from __future__ import annotations

import itertools

import mdtraj
import numpy as np
import pytest
from mdtraj.geometry import dihedral

from boltzgen.ensemble.topology import read_topology
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.torsion_names import READY_NAMES, chains_of, ready_torsions
from boltzgen.workflows.preparation.prepare import prepare

SEQUENCES = ["ACDEFG", "HIKLMN", "PQRSTVWY", "ACE-ILE-PRO-LYS-ARG-NME"]


def of_mdtraj(base: str, topology: mdtraj.Topology) -> list[tuple[int, tuple[int, ...]]]:
    rows = getattr(dihedral, f"indices_{base}")(topology)
    central = 2 if base == "phi" else 1
    return [(topology.atom(int(row[central])).residue.resSeq, tuple(int(i) for i in row)) for row in rows]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_peptides(sequence: str) -> None:
    system = prepare(sequence=sequence, check=True, minimize=False).system
    topology = read_topology(system.topology_pdb)
    chains, found = chains_of(system.atom_names), 0
    for base in READY_NAMES:
        named = ready_torsions(base, chains)
        found += len(named)
        if base != "omega":
            assert named == of_mdtraj(base, topology), base
        else:
            bonded = {tuple(pair) for pair in system.bonds.tolist()}
            for _, atoms in named:
                assert all(tuple(sorted(pair)) in bonded for pair in itertools.pairwise(atoms))
    assert found >= 3 * len(chains[0])


def test_isoleucine_of_charmm_and_two_chains() -> None:
    """MDTraj calls CHARMM's CD of isoleucine CD1 as it reads a PDB; residues of two chains never touch."""
    system = prepare(sequence="AIA", check=True, minimize=False).system
    one = ready_torsions("chi2", chains_of(system.atom_names))
    text = system.topology_pdb.replace(" CD1 ILE", " CD  ILE")
    names = MolecularSystem.load("example:elil").atom_names
    assert len(ready_torsions("psi", chains_of(names))) == 3
    from boltzgen.system.formats.pdb_text import parse_names

    assert (
        ready_torsions("chi2", chains_of(parse_names(text))) == one == of_mdtraj("chi2", read_topology(text))
    )
    lines = [
        line[:21] + "B" + line[22:] if line.startswith("ATOM") and int(line[22:26]) > 1 else line
        for line in system.topology_pdb.splitlines()
    ]
    apart = ready_torsions("phi", chains_of(parse_names("\n".join(lines))))
    assert [number for number, _ in apart] == [3]


def test_a_small_molecule_has_none() -> None:
    system = prepare(smiles="CC(N)C(=O)O", check=True).system
    assert not any(ready_torsions(base, chains_of(system.atom_names)) for base in READY_NAMES)
    assert np.all(system.atomic_numbers > 0)
