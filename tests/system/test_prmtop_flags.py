"""Sections of a prmtop that OpenMM's reader ignores: energy is refused by name, what is unknown is noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from boltzgen.errors import UnsupportedError
from boltzgen.system.prepare import prepare

FILES = Path(__file__).parents[1] / "cases" / "files"
ORDER, MISC = FILES / "order", FILES / "misc"


def test_polarisation_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="POLARIZABILITY holds polarisation"):
        prepare(MISC / "ff02pol.prmtop", coordinates=MISC / "ala.inpcrd")


@pytest.mark.parametrize(
    ("section", "error"),
    [("IPOL", "IPOL asks"), ("LES_NTYP", "LES_NTYP holds locally"), ("PERT_BOND_ATOMS", "perturbed state")],
)
def test_sections_with_energy_are_refused(section, error, tmp_path):
    text = (ORDER / "ala.prmtop").read_text()
    (tmp_path / "more.prmtop").write_text(f"{text}%FLAG {section:<75}\n%FORMAT(1I8)\n       1\n")
    with pytest.raises(UnsupportedError, match=error):
        prepare(tmp_path / "more.prmtop", coordinates=ORDER / "ala.inpcrd")
    (tmp_path / "zero.prmtop").write_text(f"{text}%FLAG {'IPOL':<75}\n%FORMAT(1I8)\n       0\n")
    assert prepare(tmp_path / "zero.prmtop", coordinates=ORDER / "ala.inpcrd").provenance["warnings"] == []
    (tmp_path / "odd.prmtop").write_text(f"{text}%FLAG {'NEW_TERM':<75}\n%FORMAT(1I8)\n       1\n")
    notes = prepare(tmp_path / "odd.prmtop", coordinates=ORDER / "ala.inpcrd").provenance["warnings"]
    assert "NEW_TERM" in " ".join(notes)
