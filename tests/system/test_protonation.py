"""The names of protonation forms in PDB and mmCIF files: honoured, or refused with the reason."""

from __future__ import annotations

import pytest

from boltzgen.errors import InputError
from boltzgen.system.formats.protonation import FORMS
from boltzgen.system.prepare import prepare
from boltzgen.system.terms.charges import partial_charges

#: Residue that a chain is built with, and the net charge of the form in a capped chain.
CHARGES = {
    "HID": ("HIS", 0),
    "HIE": ("HIS", 0),
    "HIP": ("HIS", 1),
    "HSD": ("HIS", 0),
    "HSE": ("HIS", 0),
    "HSP": ("HIS", 1),
    "ASH": ("ASP", 0),
    "GLH": ("GLU", 0),
    "LYN": ("LYS", 0),
    "CYM": ("CYS", -1),
    "ASP": ("ASP", -1),
    "LYS": ("LYS", 1),
    "CYS": ("CYS", 0),
}


def capped(residue: str, form: str, *, hydrogens: bool = False) -> str:
    """A PDB of ACE-residue-NME whose middle residue goes by the name `form`."""
    text = prepare(sequence=f"ACE-{residue}-NME", minimize=False).topology_pdb
    lines = [line.replace(f" {residue} ", f" {form} ") for line in text.splitlines()]
    kept = [line for line in lines if line.startswith(("ATOM", "HETATM")) and (hydrogens or line[77] != "H")]
    return "\n".join([*kept, "TER", "END", ""])


def as_cif(pdb: str) -> str:
    """The same atoms as mmCIF."""
    names = "group_PDB id type_symbol auth_atom_id label_alt_id auth_comp_id auth_asym_id auth_seq_id"
    names += " label_seq_id Cartn_x Cartn_y Cartn_z"
    rows = [
        f"{line[:6].strip()} {line[6:11]} {line[76:78]} {line[12:16]} . {line[17:20]} A {line[22:26]} "
        f"{line[22:26]} {line[30:38]} {line[38:46]} {line[46:54]}"
        for line in pdb.splitlines()
        if line.startswith(("ATOM", "HETATM"))
    ]
    return "\n".join(["data_x", "loop_", *(f"_atom_site.{name}" for name in names.split()), *rows, "#", ""])


def net_charge(system) -> float:
    charges = partial_charges(system.openmm_system())
    assert charges is not None
    return float(charges.sum())


@pytest.mark.parametrize("form", CHARGES)
def test_the_named_form_is_built(tmp_path, form):
    residue, charge = CHARGES[form]
    path = tmp_path / f"{form}.pdb"
    path.write_text(capped(residue, form))
    system = prepare(path, add_hydrogens=True, ph=7.0)
    assert net_charge(system) == pytest.approx(charge, abs=1e-4)
    hydrogens = {name.atom for name in system.atom_names if name.atom in ("HD1", "HE2", "HD2", "HG", "HZ1")}
    on_nitrogen = {"HID": {"HD1"}, "HIE": {"HE2"}, "HIP": {"HD1", "HE2"}}
    if residue == "HIS":
        assert hydrogens - {"HD2"} == on_nitrogen[FORMS[form]]


@pytest.mark.parametrize("form", ["HIP", "LYN", "GLH"])
def test_an_mmcif_names_forms_too(tmp_path, form):
    residue, charge = CHARGES[form]
    path = tmp_path / f"{form}.cif"
    path.write_text(as_cif(capped(residue, form)))
    assert net_charge(prepare(path, add_hydrogens=True)) == pytest.approx(charge, abs=1e-4)


@pytest.mark.parametrize(("form", "left_out"), [("LYN", " HZ1 "), ("CYM", " HG ")])
def test_what_tleap_writes_is_taken(tmp_path, form, left_out):
    """With its hydrogens and under its own name, as OpenMM's table of standard bonds does not know it."""
    residue, charge = CHARGES[form]
    lines = capped(residue, form, hydrogens=True).splitlines()
    path = tmp_path / "tleap.pdb"
    path.write_text("\n".join(line for line in lines if left_out not in line))
    assert net_charge(prepare(path)) == pytest.approx(charge, abs=1e-4)


def test_half_a_disulfide_is_refused(tmp_path):
    path = tmp_path / "cyx.pdb"
    path.write_text(capped("CYS", "CYX"))
    with pytest.raises(InputError, match=r"CYX 2 is half of a disulfide.*CYS.*CYM"):
        prepare(path, add_hydrogens=True)


def test_ph_decides_where_the_name_does_not(tmp_path):
    path = tmp_path / "asp.pdb"
    path.write_text(capped("ASP", "ASP"))
    assert net_charge(prepare(path, add_hydrogens=True, ph=2.0)) == pytest.approx(0.0, abs=1e-4)
    path.write_text(capped("HIS", "HIE"))
    assert net_charge(prepare(path, add_hydrogens=True, ph=2.0)) == pytest.approx(0.0, abs=1e-4)
