"""Solvent files of one force field beside another."""

from __future__ import annotations

import pytest

from boltzgen.errors import InputError
from boltzgen.system.prepare import prepare


@pytest.mark.parametrize("kind", ["sequence", "pdb", "pdb with hydrogens to add"])
def test_a_solvent_file_of_another_force_field_is_called_so(kind, tmp_path):
    """No question of ph, names or caps; the solvent by name that the message gives works."""
    options = {"sequence": "ACE-ALA-NME"}
    if kind != "sequence":
        path = tmp_path / "alanine.pdb"
        path.write_text(prepare(sequence="ACE-ALA-NME").topology_pdb)
        options = {"source": path, "add_hydrogens": kind != "pdb"}
    with pytest.raises(InputError, match=r"^`implicit='amber99_obc.xml'` has no parameters for the"):
        prepare(**options, implicit="amber99_obc.xml")
    assert prepare(**options, implicit="obc2").n_atoms == 22
