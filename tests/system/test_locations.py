"""Alternate locations: the one that is occupied most, in PDB and mmCIF alike, whatever comes first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from force_field_cases import system_of

from boltzgen.system.formats.locations import with_chosen_locations
from boltzgen.system.formats.pdb_text import atom_lines
from boltzgen.system.prepare import prepare

MISC = Path(__file__).parents[1] / "cases" / "files" / "misc"


def line(
    name: str, location: str, occupancy: float, x: float, residue: str = "SER", element: str = ""
) -> str:
    return (
        f"ATOM      1  {name:<3s}{location or ' '}{residue} A   5    {x:8.3f}{2.5:8.3f}{5.0:8.3f}"
        f"{occupancy:6.2f}  0.00          {element or name[0]:>2s}"
    )


def kept(*lines: str) -> list[tuple[str, str, str]]:
    """(name, location, residue) of the atoms that stay."""
    text, _ = with_chosen_locations("\n".join([*lines, "END", ""]), "pdb")
    return [(one[12:16].strip(), one[16].strip(), one[17:20]) for _, one in atom_lines(text)]


def as_pdb(mmcif: str) -> str:
    """The rows of alt.cif in the columns of PDB."""
    lines = []
    for words in (row.split() for row in mmcif.splitlines() if row.startswith("ATOM")):
        number, element, name, location, residue, chain = words[1], words[2], *words[3:7]
        place = "".join(f"{float(word):8.3f}" for word in words[10:13])
        names = f"{name:<3s}{location.replace('.', ' ')}{residue} {chain}{words[14]:>4s}"
        lines.append(
            f"ATOM  {number:>5s}  {names}    {place}{float(words[13]):6.2f}  0.00          {element:>2s}"
        )
    return "\n".join([*lines, "END", ""])


@pytest.mark.parametrize("kind", ["mmcif", "pdb"])
@pytest.mark.parametrize("first", [0.3, 0.7])
def test_the_location_with_the_highest_occupancy_is_used_and_named(kind, first, tmp_path):
    """alt.cif: a side chain with 0.3 (A, x = 5.979) and 0.7 (B, x = 5.679); and the other way round."""
    text = (MISC / "alt.cif").read_text()
    if first == 0.7:
        text = text.replace(" 0.30 ", " @ ").replace(" 0.70 ", " 0.30 ").replace(" @ ", " 0.70 ")
    path = tmp_path / f"alt.{'cif' if kind == 'mmcif' else 'pdb'}"
    path.write_text(text if kind == "mmcif" else as_pdb(text))
    got = prepare(path, add_hydrogens=kind == "pdb")  # stated forms are read from the same text
    location, x = ("A", 0.5979) if first == 0.7 else ("B", 0.5679)
    notes = [note for note in got.provenance["warnings"] if "alternate locations" in note]
    assert len(notes) == 1 and f"highest occupancy is used (ALA 3: {location}, 0.70)" in notes[0]
    beta = [str(name) for name in got.atom_names].index("ALA3 CB")
    np.testing.assert_allclose(got.reference_positions[beta, 0], x, atol=1e-9)
    assert got.n_atoms == 62


def test_a_residue_has_one_location():
    """Equal occupancies: the first. One atom's own occupancies do not tear a residue apart."""
    residue = [
        line("CB", "A", 0.5, 1),
        line("CB", "B", 0.5, 2),
        line("OG", "A", 0.5, 3),
        line("OG", "B", 0.5, 4),
    ]
    assert kept(*residue) == [("CB", "A", "SER"), ("OG", "A", "SER")]
    uneven = [
        line("CB", "A", 0.6, 1),
        line("CB", "B", 0.4, 2),
        line("OG", "A", 0.1, 3),
        line("OG", "B", 0.9, 4),
    ]
    assert kept(*uneven) == [("CB", "B", "SER"), ("OG", "B", "SER")]


def test_mutants_and_atoms_of_one_location_alone():
    mutants = [
        line("CB", "A", 0.4, 1),
        line("CB", "B", 0.6, 2, "THR"),
        line("OG", "A", 0.4, 3),
        line("OG1", "B", 0.6, 4, "THR"),
    ]
    assert kept(*mutants) == [("CB", "B", "THR"), ("OG1", "B", "THR")]
    lonely = [
        line("CB", "", 1.0, 1),
        line("OG", "A", 0.7, 3),
        line("OG", "B", 0.3, 4),
        line("HG", "B", 0.3, 9),
    ]
    assert kept(*lonely) == [("CB", "", "SER"), ("OG", "A", "SER"), ("HG", "B", "SER")]


def test_hydrogen_and_deuterium_at_one_place_are_one_atom():
    pair = [line("N", "", 1.0, 1), line("H", "A", 0.35, 2), line("D", "B", 0.65, 2)]
    assert kept(*pair) == [("N", "", "SER"), ("D", "B", "SER")]


def test_a_file_without_alternates_stays_as_it_is():
    text = system_of("ff14SB", "none", "QNSIVL").topology_pdb
    assert with_chosen_locations(text, "pdb") == (text, [])
    marked = text.replace(" SER A", "ASER A")
    assert with_chosen_locations(marked, "pdb") == (marked, [])
