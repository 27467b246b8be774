"""The columns of a PDB, written and read: OpenMM and MDTraj read the same."""

from __future__ import annotations

import io

import mdtraj
import numpy as np
import pytest
from openmm import app, unit
from toy_molecules import halopropane

from boltzgen.errors import InputError
from boltzgen.system.formats.pdb_text import (
    AtomName,
    atom_lines,
    first_cut_line,
    format_models,
    format_pdb,
    has_alternate_locations,
    parse_bonds,
    parse_elements,
    parse_names,
)
from boltzgen.system.prepare import prepare


@pytest.fixture(scope="module")
def peptide():
    return prepare(sequence="ACE-ARG-NME", forcefield=["amber99sbildn.xml"], minimize=False)


@pytest.fixture(scope="module", params=["peptide", "halopropane"])
def system(request, peptide):
    return peptide if request.param == "peptide" else halopropane()


def test_what_is_written_is_read(system):
    names = system.atom_names
    again = app.PDBFile(io.StringIO(system.topology_pdb)).topology
    theirs = [(atom.name, atom.element.symbol) for atom in again.atoms()]
    assert [(name, symbol.capitalize()) for name, symbol in parse_elements(system.topology_pdb)] == theirs
    assert [name.atom for name in parse_names(system.topology_pdb)] == [name.atom for name in names]
    assert parse_bonds(system.topology_pdb) == set(map(tuple, system.bonds.tolist()))


def test_names_keep_their_columns():
    """Four letters, two letters of an element, an insertion code, a chain, a hydrogen without an element."""
    names = [
        AtomName("B", "LIG", "1000", "C", "HG21", True),
        AtomName("B", "LIG", "1000", "C", "CL1", True),
        AtomName("A", "ALA", "-2", "", "CA", False),
        AtomName("A", "ALA", "7", "", "X", False),
    ]
    positions = np.array([[0.1, -0.25, 12.5], [-99.9, 0.0, 0.3], [1.0, 2.0, 3.0], [0.04, 0.05, 0.06]])
    text = format_pdb(names, ["H", "Cl", "C", ""], positions, np.array([(0, 1), (3, 1)]))
    assert parse_names(text) == names
    assert parse_elements(text) == [("HG21", "H"), ("CL1", "Cl"), ("CA", "C"), ("X", "")]
    assert parse_bonds(text) == {(0, 1), (1, 3)}
    assert parse_elements("REMARK no atoms") == [] and parse_bonds("") == set()
    with pytest.raises(InputError, match="no ATOM or HETATM"):
        parse_names("REMARK no atoms")


def test_models(system, tmp_path):
    """Three models: MDTraj reads their positions, OpenMM their bonds; names are those of the first."""
    noise = np.random.default_rng(1).normal(scale=0.02, size=(3, system.n_atoms, 3))
    frames = system.reference_positions + noise
    text = "".join(format_models(system.topology_pdb, iter(frames)))
    (tmp_path / "x.pdb").write_text(text)
    np.testing.assert_allclose(mdtraj.load(tmp_path / "x.pdb").xyz, frames, atol=6e-5)
    pdb = app.PDBFile(str(tmp_path / "x.pdb"))
    assert pdb.getNumFrames() == 3
    last = pdb.getPositions(asNumpy=True, frame=2).value_in_unit(unit.nanometer)
    np.testing.assert_allclose(last, frames[2], atol=6e-5)
    assert parse_names(text) == list(system.atom_names), "the first model alone"
    assert len(parse_elements(text)) == system.n_atoms and len(atom_lines(text)) == 3 * system.n_atoms
    assert parse_bonds(text) == set(map(tuple, system.bonds.tolist()))


def test_models_that_do_not_fit(system):
    x = np.array(system.reference_positions)
    with pytest.raises(InputError, match="does not fit"):
        list(format_models(system.topology_pdb, [x[:-1]]))
    x[3, 1] = -100.0
    with pytest.raises(InputError, match="1000 Angstrom"):
        list(format_models(system.topology_pdb, [x]))
    x[3, 1] = -99.9
    assert "-999.000" in "".join(format_models(system.topology_pdb, [x]))


def test_damage_is_found(peptide):
    text = peptide.topology_pdb
    assert first_cut_line(text) is None and not has_alternate_locations(text)
    number, line = atom_lines(text)[4]
    cut = text.replace(line, line[:50])
    assert first_cut_line(cut) == (number, line[:27].strip())
    assert text.splitlines()[number - 1] == line
    assert has_alternate_locations(text.replace(line, f"{line[:16]}B{line[17:]}"))
    assert not has_alternate_locations(text.replace(line, f"{line[:16]}A{line[17:]}"))
