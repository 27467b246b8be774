"""Which coordinates the moves of chains take together."""

from __future__ import annotations

from butane import write_butane
from helpers import ROOT

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.generator import Target
from boltzgen.refine.chains.adaptation import open_rows
from boltzgen.refine.chains.blocks import blocks_of, longest_path
from boltzgen.refine.chains.moves import moves_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare


def test_blocks_come_from_the_graph(tmp_path):
    xml, pdb = write_butane(tmp_path)
    prepare(xml, tmp_path / "SYS", coordinates=pdb)
    target = Target.from_system(MolecularSystem.load(tmp_path / "SYS"))
    coordinates = target.coordinates
    assert isinstance(coordinates, InternalCoordinates)
    kinds = dict.fromkeys(kind for kind, _ in blocks_of(coordinates))
    assert {"torsion", "fragment", "all"} <= set(kinds)
    (torsion,) = [rows for kind, rows in blocks_of(coordinates) if kind == "torsion"]
    assert list(torsion) == open_rows(target)
    assert sorted(longest_path(coordinates.graph)) == [0, 1, 2, 3]
    rows = [rows for _, rows in blocks_of(coordinates)]
    assert len(set(rows)) == len(rows)
    assert all(list(own) == sorted(own) for own in rows)
    assert {row for kind, own in blocks_of(coordinates) if kind == "fragment" for row in own} == set(range(6))
    costs = {move.kind: move.cost for move in moves_of(target)}
    assert costs["torsion"] < costs["global"] < costs["langevin"]


def test_blocks_of_a_peptide():
    """Pairs of torsions along the chain and across amides; planes, methyls and the path, by atom numbers."""
    system = MolecularSystem.load(ROOT / "boltzgen" / "examples" / "capped-tri-alanine")
    coordinates = InternalCoordinates(system)
    atoms = coordinates.table.atoms
    found = blocks_of(coordinates)

    def axes(kind):
        return {
            frozenset(frozenset(atoms[row, 1:3].tolist()) for row in rows)
            for name, rows in found
            if name == kind
        }

    phi, psi, chi = (
        {8: (6, 8), 18: (16, 18), 28: (26, 28)},
        {8: (8, 10), 18: (18, 20), 28: (28, 30)},
        (12, 22, 32),
    )
    pairs = axes("torsion pair")
    for centre in (8, 18, 28):
        assert frozenset({frozenset(phi[centre]), frozenset(psi[centre])}) in pairs
    for before, after in ((8, 18), (18, 28)):  # around the plane of an amide, whose bond does not turn
        assert frozenset({frozenset(psi[before]), frozenset(phi[after])}) in pairs
        assert frozenset({frozenset(phi[before]), frozenset(phi[after])}) not in pairs
        assert frozenset(map(frozenset, (phi[before], psi[before], phi[after]))) in axes("torsion run")
    fragments = [set(atoms[list(rows), 0].tolist()) for kind, rows in found if kind == "fragment"]
    assert {10, 11, 16, 17} in fragments and {8, 9} in fragments
    assert all({methyl, methyl + 1, methyl + 2, methyl + 3} in fragments for methyl in chi)
    assert sorted(row for kind, rows in found if kind == "fragment" for row in rows) == list(
        range(coordinates.dimension)
    )
    assert longest_path(coordinates.graph) in (_BACKBONE, _BACKBONE[::-1])
    residues = [set(atoms[list(rows), 0].tolist()) for kind, rows in found if kind == "residue"]
    assert {18, 19, 22, 23, 24, 25, 10, 11, 16, 17} in residues  # a plane, and a centre with what hangs on it


_BACKBONE = [2, 0, 6, 8, 10, 16, 18, 20, 26, 28, 30, 36, 38]
