"""Inputs that went wrong for people, kept in ``tests/cases/files``: refused by name, or read as is right.

Others stand with their kind: energies of ``gmx/`` in `test_gromacs.py`, ``graph/`` through the whole road in
``small_molecule/test_small_and_straight.py``, ``indep/`` in ``data/test_independence.py``, the isomers of
rings in ``small_molecule/test_stereo.py``.
"""

from __future__ import annotations

import warnings

import pytest
from helpers import ROOT, assert_refused

from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

FILES = ROOT / "tests" / "cases" / "files"

REFUSED = {
    **{
        f"order/{kind} {swapped}{' minimized' * bool(options)}": (
            [f"order/ala.{kind}", "--coordinates", f"order/{swapped}", *options],
            words,
        )
        for kind in ("prmtop", "top", "xml")
        for swapped, words in (
            ("swap_HA_CB.pdb", ["swap_HA_CB.pdb", "ALA 2 CB", "order"]),
            ("swap_HB_HA.pdb", ["swap_HB_HA.pdb", "ALA 2", "order"]),
        )
        for options in ([], ["--minimize"])
    },
    "order/gro": (
        ["order/ala.top", "--coordinates", "order/swap_HA_CB.gro"],
        ["swap_HA_CB.gro", "atom 10", "ALA 2 HA"],
    ),
    "gap/gap": (["gap/gap.pdb"], ["ALA 3 C", "ALA 5 N", "0.447 nm", "missing"]),
    "gap/gap minimized": (["gap/gap.pdb", "--minimize"], ["ALA 3 C", "ALA 5 N", "missing"]),
    "gap/dupnum": (["gap/dupnum.pdb"], ["ALA 3", "10 atoms twice"]),
    "misc/ff02pol": (["misc/ff02pol.prmtop", "--coordinates", "misc/ala.inpcrd"], ["polarisation"]),
    "misc/D": (["misc/D.cif"], ["deuterium", "awk"]),
    "misc/deut": (["misc/deut.pdb"], ["deuterium", "grep"]),
    "misc/gaff_types": (["misc/gaff_types.mol2"], ["'c3'", "antechamber", "-at sybyl"]),
    "stereo/allene": (["stereo/allene.sdf"], ["one hand", "cumulated", "atom 2"]),
    "stereo/allene_mirror": (["stereo/allene_mirror.sdf"], ["one hand", "cumulated", "atom 2"]),
    "stereo/biaryl": (["stereo/biaryl.sdf"], ["one hand", "axis", "atom 8"]),
    "stereo/extension": (["--smiles", "Cc1cccc(Cl)c1-c1c(C)cccc1Cl |wU:7.7|"], ["wU:7.7", "atropisomer"]),
    "stereo/allene SMILES": (["--smiles", "F[CH]=[C@]=CF"], ["allene", "atom 3"]),
    "stereo/allene SMILES mirrored": (["--smiles", "F[CH]=[C@@]=CF"], ["allene", "atom 3"]),
    "gmx/restraint": (["gmx/restraint.top", "--coordinates", "gmx/chain.gro"], ["restraint"]),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_by_name(name, tmp_path, monkeypatch):
    words, expected = REFUSED[name]
    monkeypatch.chdir(FILES)
    assert_refused(["prepare", *words, "-o", tmp_path / "SYS"], *expected)
    assert not (tmp_path / "SYS").exists()


def prepared(name: str, **options) -> MolecularSystem:
    options = {key: FILES / value if key == "coordinates" else value for key, value in options.items()}
    return prepare(FILES / name, **options)


@pytest.mark.parametrize(
    "name, options, n_bonds, said",
    [
        ("conect/butane.xml", {"coordinates": "conect/but_false.pdb"}, 13, "but_false.pdb"),
        ("conect/mthf.xml", {"coordinates": "conect/mthf_missing.pdb"}, 16, "mthf_missing.pdb"),
        ("misc/alt.cif", {}, 61, "alternate locations"),
        ("misc/models.cif", {}, 61, "several models"),
        ("stereo/2dany.sdf", {}, 12, "C=C"),
    ],
)
def test_read_with_a_note(name, options, n_bonds, said):
    system = prepared(name, **options)
    assert len(system.bonds) == n_bonds
    assert any(said in note for note in system.provenance["warnings"]), system.provenance["warnings"]


def test_a_charge_that_only_unity_states():
    system = prepared("misc/methylammonium_unity.mol2")
    assert sorted(system.atomic_numbers.tolist()) == [1] * 6 + [6, 7]
    assert len(system.bonds) == 7


def test_a_file_that_says_its_temperature_is_believed_or_refused():
    system = MolecularSystem.load(FILES / "temps" / "SYS")
    path = FILES / "temps" / "own450.h5"
    assert set(read_trajectory(path, system).temperatures) == {450.0}
    with pytest.raises(InputError, match=r"own450\.h5.*450 K"):
        read_trajectory(path, system, temperature=300.0)


def test_a_frame_of_zeros_is_refused_by_its_number():
    system = MolecularSystem.load(FILES / "zero" / "SYS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(read_trajectory(FILES / "zero" / "clean.dcd", system, temperature=300.0)) == 400
        with pytest.raises(InputError, match=r"onezero\.dcd.*frame"):
            read_trajectory(FILES / "zero" / "onezero.dcd", system, temperature=300.0)
