"""Coordinates and topologies of one molecule: which pairs belong together, and what is refused by name."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import pytest
from force_field_cases import system_of
from openmm import app, unit

from boltzgen.errors import InputError
from boltzgen.system.formats.sites import Site, used_sites
from boltzgen.system.prepare import prepare

FILES = Path(__file__).parents[1] / "cases" / "files"
ORDER, GAP, MISC = (FILES / name for name in ("order", "gap", "misc"))
RENAME = Callable[[str, str], str]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Two peptides by ff14SB, one with caps and one with charged ends, as prmtop, top, gro and PDB."""
    import parmed

    folder = tmp_path_factory.mktemp("pairs")
    for name, sequence in (("capped", "PGFKD, capped"), ("ends", "QNSIVL")):
        made = system_of("ff14SB", "none", sequence)
        topology = app.PDBFile(io.StringIO(made.topology_pdb)).topology
        structure = parmed.openmm.load_topology(
            topology, made.openmm_system(), 10.0 * made.reference_positions
        )
        structure.box = None
        for suffix in ("prmtop", "top", "gro", "inpcrd"):
            structure.save(str(folder / f"{name}.{suffix}"))
        lines = [line for line in made.topology_pdb.splitlines() if line.startswith(("ATOM", "HETATM"))]
        (folder / f"{name}.pdb").write_text("\n".join([*lines, "END", ""]))
        (folder / f"{name}.xml").write_text(made.system_xml)
    return folder


def renamed(
    path: Path, rename: RENAME, folder: Path, change: Callable[[str], str] = lambda line: line
) -> Path:
    """A copy of a PDB with other names: `rename` maps (residue, atom) to the atom's new name."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith(("ATOM", "HETATM")):
            name = rename(line[17:20].strip(), line[12:16].strip())
            line = change(f"{line[:12]}{name if len(name) == 4 else ' ' + name:<4s}{line[16:]}")
        lines.append(line)
    out = folder / f"renamed-{path.name}"
    out.write_text("\n".join(lines) + "\n")
    return out


def table(**names: str) -> RENAME:
    return lambda residue, atom: names.get(f"{residue}_{atom}", names.get(atom, atom))


def old_style(residue: str, atom: str) -> str:
    """1HB for HB1, as PDB files had it until 2007."""
    return atom[-1] + atom[:-1] if atom[0] == "H" and atom[-1].isdigit() else atom


def numbered(residue: str, atom: str) -> str:
    """C123: an element and a number that tells nothing."""
    return f"{atom[0]}{zlib.crc32(atom.encode()) % 900 + 100}"


def lower_numbers(residue: str, atom: str) -> str:
    """HB1 and HB2 for HB2 and HB3, as CHARMM and GROMACS have it."""
    methylene = {"HB", "HG", "HD", "HE", "HA", "HG1"}
    if atom[:-1] in methylene and atom[-1] in "23" and residue not in ("ALA", "VAL", "ACE", "NME"):
        return atom[:-1] + str(int(atom[-1]) - 1)
    return atom


CHARMM = table(
    H="HN", H1="HT1", H2="HT2", H3="HT3", O_="OT1", OXT="OT2", ILE_CD1="CD", ILE_HD11="HD1", ILE_HD12="HD2",
    ILE_HD13="HD3", SER_HG="HG1",
)  # fmt: skip

#: name -> topology, coordinates, how atoms are renamed, how lines are changed.
LEGITIMATE = {
    "the same file": ("capped.prmtop", "capped.pdb", table(), None),
    "HN for H": ("capped.prmtop", "capped.pdb", table(H="HN"), None),
    "1HB for HB1": ("capped.prmtop", "capped.pdb", old_style, None),
    "HB1, HB2 for HB2, HB3": ("ends.prmtop", "ends.pdb", lower_numbers, None),
    "CHARMM's names": ("ends.prmtop", "ends.pdb", CHARMM, None),
    "O1, O2 for O, OXT": ("ends.prmtop", "ends.pdb", table(OXT="O2"), None),
    "caps of Amber": (
        "capped.prmtop",
        "capped.pdb",
        table(ACE_H1="HH31", ACE_H2="HH32", ACE_H3="HH33", NME_C="CH3", NME_H1="HH31", NME_H2="HH32",
              NME_H3="HH33"),
        None,
    ),
    "no elements": ("ends.prmtop", "ends.pdb", CHARMM, lambda line: line[:66]),
    "another numbering": (
        "ends.prmtop", "ends.pdb", table(), lambda line: f"{line[:21]}X{int(line[22:26]) + 71:4d}{line[26:]}"
    ),
    "top and PDB": ("ends.top", "ends.pdb", CHARMM, None),
    "top and old PDB": ("capped.top", "capped.pdb", old_style, None),
    "names of nothing": ("capped.prmtop", "capped.pdb", numbered, None),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LEGITIMATE))
def test_legitimate_pairs_pass(name, pairs, tmp_path):
    topology, coordinates, rename, change = LEGITIMATE[name]
    made = renamed(pairs / coordinates, rename, tmp_path, change or (lambda line: line))
    got = prepare(pairs / topology, coordinates=made)
    expected = prepare(
        pairs / topology,
        coordinates=(pairs / topology).with_suffix(".gro" if ".top" in topology else ".inpcrd"),
    )
    assert got.fingerprint == expected.fingerprint
    np.testing.assert_allclose(got.reference_positions, expected.reference_positions, atol=1.1e-3)
    told = [note for note in got.provenance["warnings"] if "other names" in note]
    assert len(told) == (name not in ("the same file", "another numbering")), got.provenance["warnings"]


def test_a_gro_with_other_names_and_an_mmcif_pass(pairs, tmp_path):
    gro = tmp_path / "names.gro"
    text = (pairs / "ends.gro").read_text().replace("   OXT", "    O2").replace("  HD11", " 1HD11")
    gro.write_text(text)
    assert " 1HD11" in text
    got = prepare(pairs / "ends.top", coordinates=gro)
    assert "other names" in " ".join(got.provenance["warnings"])
    cif = tmp_path / "ends.cif"
    pdb = app.PDBFile(str(pairs / "ends.pdb"))
    with open(cif, "w") as file:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, file)
    assert prepare(pairs / "ends.top", coordinates=cif).fingerprint == got.fingerprint


def test_a_system_with_repartitioned_masses_passes(pairs, tmp_path):
    """Amber moves 2.016 dalton to each hydrogen from its neighbour."""
    system = openmm.XmlSerializer.deserialize((pairs / "ends.xml").read_text())
    topology = app.PDBFile(str(pairs / "ends.pdb")).topology
    for first, second in topology.bonds():
        light, heavy = sorted((first, second), key=lambda atom: atom.element.mass)
        if light.element.symbol == "H":
            for atom, sign in ((light, 1), (heavy, -1)):
                mass = system.getParticleMass(atom.index) + sign * 2.016 * unit.dalton
                system.setParticleMass(atom.index, mass)
    (tmp_path / "heavy.xml").write_text(openmm.XmlSerializer.serialize(system))
    got = prepare(tmp_path / "heavy.xml", coordinates=pairs / "ends.pdb")
    assert got.bonds.tolist() == prepare(pairs / "ends.xml", coordinates=pairs / "ends.pdb").bonds.tolist()


# --- refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize(
    ("topology", "coordinates", "expected"),
    [
        ("ala.prmtop", "swap_HA_CB.pdb", ["atom 10", "ALA 2 CB", "ALA 2 HA"]),
        ("ala.top", "swap_HA_CB.pdb", ["atom 10", "ALA 2 CB", "ALA 2 HA"]),
        ("ala.top", "swap_HA_CB.gro", ["atom 10", "ALA 2 CB", "ALA 2 HA"]),
        ("ala.xml", "swap_HA_CB.pdb", ["ALA 2 CB (atom 10)", "particle 10", "1.008"]),
        ("ala.prmtop", "swap_HB_HA.pdb", ["atom 10", "ALA 2 HB1", "ALA 2 HA"]),
        ("ala.top", "swap_HB_HA.pdb", ["atom 10", "ALA 2 HB1", "ALA 2 HA"]),
        ("ala.xml", "swap_HB_HA.pdb", ["ALA 2 HB1 (atom 10)", "0.216 nm", "0.109 nm"]),
    ],
)
def test_another_order_is_refused(topology, coordinates, expected, minimize):
    with pytest.raises(InputError) as caught:
        prepare(ORDER / topology, coordinates=ORDER / coordinates, minimize=minimize)
    for words in [*expected, "another order", topology, coordinates]:
        assert words in str(caught.value)


def exchanged(path: Path, first: int, second: int, folder: Path) -> Path:
    """A PDB with two atom lines (numbered from 1) exchanged."""
    lines = path.read_text().splitlines()
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    out = folder / f"exchanged-{path.name}"
    out.write_text("\n".join(lines) + "\n")
    return out


def place(path: Path, residue: str, atom: str) -> int:
    """The number of an atom's line, from 1."""
    lines = path.read_text().splitlines()
    return next(
        k for k, line in enumerate(lines, 1) if (line[17:20].strip(), line[12:16].strip()) == (residue, atom)
    )


@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize("topology", ["ends.prmtop", "ends.top", "ends.xml"])
@pytest.mark.parametrize(
    ("first", "second", "rename"),
    [
        (("SER", "HA"), ("SER", "HB2"), table()),  # hydrogens of two kinds
        (("SER", "HA"), ("SER", "HB2"), CHARMM),  # the same under other names
        (("ILE", "CG2"), ("ILE", "CD1"), table()),  # carbons of two kinds
        (("ILE", "CB"), ("ILE", "HA"), CHARMM),  # the hand of two centres
        (("SER", "N"), ("SER", "CA"), table()),  # two elements
        (("SER", "HA"), ("LEU", "HA"), table()),  # one name in two residues
        (("SER", "HA"), ("LEU", "HA"), numbered),  # names that say nothing
    ],
)
def test_every_exchange_is_refused(first, second, rename, topology, minimize, pairs, tmp_path):
    source = pairs / "ends.pdb"
    swapped = exchanged(source, place(source, *first), place(source, *second), tmp_path)
    swapped = renamed(swapped, rename, tmp_path)
    with pytest.raises(InputError, match="another order"):
        prepare(pairs / topology, coordinates=swapped, minimize=minimize)


def test_a_mirrored_residue_whose_names_tell_nothing_is_refused(tmp_path):
    """With CB under another name only the signed volume can tell L from D."""
    names = {"CB": "C9", "C": "C8", "N": "N9"}
    rename: RENAME = lambda residue, atom: names.get(atom, atom) if residue == "ALA" else atom  # noqa: E731
    source = ORDER / "swap_HB_HA.pdb"
    right = exchanged(source, place(source, "ALA", "HA"), place(source, "ALA", "HB1"), tmp_path)
    left = tmp_path / "left.pdb"
    mirror = [
        f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}" if line.startswith("ATOM") else line
        for line in right.read_text().splitlines()
    ]
    left.write_text("\n".join(mirror) + "\n")
    prepare(ORDER / "ala.prmtop", coordinates=renamed(right, rename, tmp_path))
    prepare(ORDER / "ala.prmtop", coordinates=left)  # D by its own names is D
    with pytest.raises(InputError, match="ALA 2 N9"):
        prepare(ORDER / "ala.prmtop", coordinates=renamed(left, rename, tmp_path))


# --- gaps and duplicates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"minimize": True}, {"add_hydrogens": True}])
def test_a_gap_is_refused(options, tmp_path):
    with pytest.raises(InputError, match=r"ALA 3 C .* and ALA 5 N .* 0\.447 nm .* 0\.134 nm"):
        prepare(GAP / "gap.pdb", **options)


def test_a_gap_in_mmcif_and_in_coordinates_is_refused(tmp_path):
    pdb = app.PDBFile(str(GAP / "gap.pdb"))
    with open(tmp_path / "gap.cif", "w") as file:
        app.PDBxFile.writeFile(pdb.topology, pdb.positions, file, keepIds=True)
    with pytest.raises(InputError, match=r"ALA 3 C .* and ALA 5 N .* 0\.447 nm"):
        prepare(tmp_path / "gap.cif")


@pytest.mark.parametrize("topology", ["ends.prmtop", "ends.top", "ends.xml"])
def test_a_molecule_split_by_a_box_is_refused(topology, pairs, tmp_path):
    lines = (pairs / "ends.pdb").read_text().splitlines()
    moved = [
        f"{s[:30]}{float(s[30:38]) + 30:8.3f}{s[38:]}" if s[17:20] in ("VAL", "LEU") else s for s in lines
    ]
    (tmp_path / "split.pdb").write_text("\n".join(moved) + "\n")
    with pytest.raises(InputError, match=r"ILE 4 C .* and VAL 5 N .* periodic box"):
        prepare(pairs / topology, coordinates=tmp_path / "split.pdb", minimize=True)


@pytest.mark.parametrize("minimize", [False, True])
def test_two_residues_with_one_number_are_refused(minimize):
    with pytest.raises(InputError, match=r"residue ALA 3 of chain A has 10 atoms twice .*N, H, CA"):
        prepare(GAP / "dupnum.pdb", minimize=minimize)


def test_two_residues_with_one_number_in_mmcif_are_refused(tmp_path):
    rows = []
    for line in (MISC / "D.cif").read_text().splitlines():
        words = line.split()
        if line.startswith("ATOM"):
            words[2] = words[2].replace("D", "H")
            words[8] = words[14] = words[14].replace("4", "3")
        rows.append(" ".join(words))
    (tmp_path / "two.cif").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match="residue ALA 3 has 2 atoms called N"):
        prepare(tmp_path / "two.cif")


@pytest.mark.parametrize(
    ("topology", "coordinates", "needed"),
    [("ala.prmtop", "swap_HA_CB.gro", "inpcrd"), ("ala.top", "ala.inpcrd", "gro")],
)
def test_coordinates_of_another_kind_are_refused(topology, coordinates, needed):
    with pytest.raises(InputError, match=f"goes with another kind than .*; give {needed}"):
        prepare(ORDER / topology, coordinates=ORDER / coordinates)


def test_an_end_record_in_the_middle_drops_nothing(tmp_path):
    lines = (ORDER / "swap_HB_HA.pdb").read_text().splitlines()
    (tmp_path / "ended.pdb").write_text("\n".join([*lines[:17], "END", *lines[17:]]) + "\n")
    assert prepare(tmp_path / "ended.pdb").n_atoms == 22


def test_alternate_locations_and_mutants_are_no_lost_atoms():
    def site(name: str, location: str, x: float, residue: str = "SER") -> Site:
        return Site(residue, "5", name, "C", "A", location, (x, 0.25, 0.5))

    kept = [site("CA", "A", 0.1), site("CB", "A", 0.2)]
    others = [site("CA", "B", 0.3), site("CB", "B", 0.4), site("OG1", "B", 0.6, "THR")]
    positions = np.array([one.place for one in kept])
    assert used_sites([kept[0], others[0], kept[1], *others[1:]], positions, Path("a.pdb")) == tuple(kept)
    with pytest.raises(InputError, match=r"residue SER 5 of chain A has 1 atoms? twice \(CB\)"):
        used_sites([*kept, site("CB", "", 0.7)], positions, Path("a.pdb"))
    with pytest.raises(InputError, match=r"1 atoms? would be dropped \(here OG\)"):
        used_sites([*kept, site("OG", "B", 0.7)], positions, Path("a.pdb"))


def test_warnings_of_readers_become_notes(tmp_path):
    """A new residue name under the number of the residue before it: OpenMM reads it, and warns."""
    text = (ORDER / "swap_HB_HA.pdb").read_text()
    source = tmp_path / "source.pdb"
    source.write_text(text.replace("NME A   3", "NME A   2"))
    source = exchanged(source, 11, 15, tmp_path)
    got = prepare(source)
    assert "two consecutive residues with same number" in " ".join(got.provenance["warnings"])


@pytest.mark.parametrize(
    ("name", "words"), [("alt.cif", "alternate locations"), ("models.cif", "several models")]
)
def test_mmcif_has_the_notes_of_pdb(name, words):
    assert words in " ".join(prepare(MISC / name).provenance["warnings"])
