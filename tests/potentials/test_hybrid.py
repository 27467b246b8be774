"""Hybrids: the division of a force field, regions and link hydrogens, and the energy that they make."""

from __future__ import annotations

from dataclasses import replace

import hybrid_cases
import numpy as np
import openmm
import pytest
import torch
from helpers import assert_refused, run_cli
from hybrid_cases import N_ATOMS, amber_subsystem, zoo, zoo_positions

from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.from_openmm.reference import reference_energies
from boltzgen.potentials.from_openmm.translate import translate, translate_openmm
from boltzgen.potentials.hybrid import HybridPotential, check_forces
from boltzgen.potentials.of_system import description_of, potential_of
from boltzgen.system.energy_model import LinkAtom
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.system.region.division import only_internal_terms, without_internal_terms
from boltzgen.system.region.region import link_atoms, region_charge, select_region

AMBER = {"forcefield": ("amber99sbildn.xml",), "implicit": "amber99_obc.xml"}


@pytest.fixture(scope="module")
def peptide():
    """ACE-PHE-LYS-NME: a ring, a charge, and an aliphatic chain to cut."""
    return prepare(sequence="ACE-PHE-LYS-NME", **AMBER)


def conformations(system, count=4, scale=0.005, seed=0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(scale=scale, size=(count, system.n_atoms, 3))
    return torch.tensor(system.reference_positions + noise)


def atoms_named(system, *names: str) -> tuple[int, ...]:
    """Indices of atoms such as ``LYS3 CE``, in their order."""
    found = {str(name): k for k, name in enumerate(system.atom_names)}
    return tuple(sorted(found[name] for name in names))


LYSINE_END = ("LYS3 CE", "LYS3 HE2", "LYS3 HE3", "LYS3 NZ", "LYS3 HZ1", "LYS3 HZ2", "LYS3 HZ3")


# The division of the force field ----------------------------------------------------------------


@pytest.mark.parametrize("region", [range(N_ATOMS), range(3, 8), (0, 1, 2, 7, 8, 9), (4,)])
def test_every_force_class_is_divided_as_if_built_by_hand(region):
    inside, x = frozenset(region), zoo_positions()
    whole = zoo(lambda t: True)
    rest = reference_energies(without_internal_terms(whole, region), x)
    inner = reference_energies(only_internal_terms(whole, region), x)
    by_hand_rest = reference_energies(zoo(lambda t: not set(t) <= inside), x)
    by_hand_inner = reference_energies(zoo(lambda t: set(t) <= inside, others=False), x)
    for got, expected in ((rest, by_hand_rest), (inner, by_hand_inner)):
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-10, atol=1e-8)
    total = reference_energies(whole, x)[0]
    np.testing.assert_allclose(rest[0] + inner[0], total, rtol=1e-12)
    if len(inside) > 1:
        assert np.abs(inner[0]).min() > 1.0


def test_the_system_that_is_divided_stays_as_it_is():
    whole = zoo(lambda t: True)
    before = openmm.XmlSerializer.serialize(whole)
    without_internal_terms(whole, range(4))
    assert openmm.XmlSerializer.serialize(whole) == before


def test_offsets_of_excluded_pairs_lose_their_effect():
    whole = openmm.System()
    force = openmm.NonbondedForce()
    for _ in range(3):
        whole.addParticle(1.0)
        force.addParticle(0.5, 0.1, 0.0)
    force.addGlobalParameter("lambda", 2.0)
    exception = force.addException(0, 1, 0.3, 0.1, 0.0)
    force.addExceptionParameterOffset("lambda", exception, 0.7, 0.0, 0.0)
    whole.addForce(force)
    x = np.array([[[0.0, 0, 0], [0.3, 0, 0], [0.0, 0.4, 0]]])
    coulomb = 138.93545764438198 * 0.25 * (1 / 0.4 + 1 / 0.5)
    assert reference_energies(without_internal_terms(whole, (0, 1)), x)[0] == pytest.approx(coulomb)


def test_a_force_that_cannot_be_divided_is_refused_by_name():
    whole = zoo(lambda t: True)
    whole.addForce(openmm.RMSDForce(np.zeros((N_ATOMS, 3)), list(range(N_ATOMS))))
    with pytest.raises(UnsupportedError, match=r"RMSDForce.*cannot be divided"):
        without_internal_terms(whole, (0, 1))


# Regions ---------------------------------------------------------------------------------------


def test_selections(peptide):
    assert select_region(peptide, "all") == tuple(range(peptide.n_atoms))
    chosen = select_region(peptide, "resid 2 and name CE NZ")
    assert chosen == atoms_named(peptide, "LYS3 CE", "LYS3 NZ")
    for wrong in ("resname XYZ", "resid ==", "import os", ""):
        with pytest.raises(InputError, match=r"`ml_region=.*write one like"):
            select_region(peptide, wrong)


def test_a_link_hydrogen_stands_where_covalent_radii_say(peptide):
    links = link_atoms(peptide, atoms_named(peptide, *LYSINE_END))
    (inside,), (outside,) = atoms_named(peptide, "LYS3 CE"), atoms_named(peptide, "LYS3 CD")
    (link,) = links
    assert (link.inside, link.outside) == (inside, outside)
    assert link.scale == pytest.approx((0.76 + 0.31) / (0.76 + 0.76))  # Cordero 2008
    bond = np.linalg.norm(peptide.reference_positions[inside] - peptide.reference_positions[outside])
    assert 0.104 < link.scale * bond < 0.112  # a C-H bond


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("PHE2 CZ", "PHE2 HZ"), "ring"),
        (("PHE2 C", "PHE2 O", "PHE2 CA", "PHE2 HA", "PHE2 CB", "PHE2 HB2", "PHE2 HB3"), "double bond"),
        (("LYS3 CE", "LYS3 HE2", "LYS3 NZ", "LYS3 HZ1", "LYS3 HZ2", "LYS3 HZ3"), "hydrogen"),
        (("ACE1 CH3", "ACE1 H1", "ACE1 H2", "ACE1 H3", "ACE1 C"), "not single"),
    ],
)
def test_bonds_that_must_not_be_cut(peptide, names, reason):
    with pytest.raises(UnsupportedError, match=rf"cuts the bond .*{reason}"):
        link_atoms(peptide, atoms_named(peptide, *names))


def test_link_hydrogens_that_would_touch_are_refused(peptide):
    hole = {"LYS3 CD", "LYS3 HD2", "LYS3 HD3"}
    rest = [str(name) for name in peptide.atom_names if str(name) not in hole]
    with pytest.raises(UnsupportedError, match=r"link hydrogen.*would be 0\.0\d+ nm from that of"):
        link_atoms(peptide, atoms_named(peptide, *rest))


def test_without_a_lewis_structure_only_sp3_carbons_are_cut(peptide, monkeypatch):
    monkeypatch.setattr("boltzgen.system.region.region.perceive", lambda system, charge: None)
    assert len(link_atoms(peptide, atoms_named(peptide, *LYSINE_END))) == 1
    with pytest.raises(UnsupportedError, match="cannot be shown to be single"):
        link_atoms(peptide, atoms_named(peptide, "LYS3 NZ", "LYS3 HZ1", "LYS3 HZ2", "LYS3 HZ3", "ACE1 O"))


def test_charge_of_a_region(peptide):
    assert region_charge(peptide, range(peptide.n_atoms)) == 1
    assert region_charge(peptide, atoms_named(peptide, *LYSINE_END)) == 1
    assert region_charge(peptide, select_region(peptide, "resid 0 1")) == 0


def test_zwitterions_are_warned_of_and_solvents_do_not_count_twice():
    system = prepare(sequence="GA", ml="gfn2")
    assert any("zwitterion" in warning for warning in system.provenance["warnings"])
    system = prepare(sequence="GA", ml="gfn2", ml_options={"solvent": "water"})
    assert system.provenance["warnings"] == []
    with pytest.raises(InputError, match="count twice"):
        prepare(sequence="GA", ml="gfn2", ml_options={"solvent": "water"}, implicit="obc1")


def test_a_selection_without_a_potential_is_a_mistake():
    with pytest.raises(InputError, match=r"`ml_region` goes with `ml=NAME`"):
        prepare(sequence="ACE-ALA-NME", ml_region="resid 1")
    with pytest.raises(InputError, match=r"`ml_options` goes with `ml=NAME`"):
        prepare(sequence="ACE-ALA-NME", ml_options={"charge": "0"})


# The energy ------------------------------------------------------------------------------------


class Springs(Potential):
    """Springs between all atoms; rows with a pair nearer than 0.01 nm give NaN, value and slope."""

    def energy(self, positions):
        first, second = torch.triu_indices(positions.shape[1], positions.shape[1], 1)
        r = (positions[:, first] - positions[:, second]).norm(dim=-1)
        broken = (r.amin(1) < 0.01)[:, None]
        return torch.where(broken, torch.log(-r), 30.0 * (r - 0.2) ** 2).sum(1)


@pytest.mark.parametrize("selection", ["all", "resid 1 2", "name CE HE2 HE3 NZ HZ1 HZ2 HZ3", "index 4 to 11"])
def test_with_the_force_field_inside_the_region_it_is_the_force_field(peptide, selection):
    atoms, whole = select_region(peptide, selection), peptide.openmm_system()
    rest = translate_openmm(without_internal_terms(whole, atoms))
    inner = translate_openmm(amber_subsystem(whole, atoms))
    hybrid = HybridPotential(rest, inner, atoms, (), peptide.reference_positions)
    x = conformations(peptide).requires_grad_()
    energy = hybrid.energy(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    expected = reference_energies(whole, x.detach().numpy())
    np.testing.assert_allclose(energy.detach(), expected[0], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(gradient, -expected[1], rtol=1e-6, atol=1e-4)
    assert np.abs(inner.energy(x[:, list(atoms)]).detach()).min() > 1.0


def hybrid_with_link(peptide) -> HybridPotential:
    atoms = atoms_named(peptide, *LYSINE_END)
    rest = translate_openmm(without_internal_terms(peptide.openmm_system(), atoms))
    return HybridPotential(rest, Springs(), atoms, link_atoms(peptide, atoms), peptide.reference_positions)


def test_forces_reach_both_ends_of_a_cut_bond(peptide):
    hybrid = hybrid_with_link(peptide)
    (outside,) = atoms_named(peptide, "LYS3 CD")
    x = conformations(peptide, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(hybrid.energy(x).sum(), x)
    (without,) = torch.autograd.grad(hybrid.rest.energy(x).sum(), x)
    assert (gradient - without)[0, outside].norm() > 1.0  # the link's share
    step = 1e-5
    for atom in (outside, *atoms_named(peptide, "LYS3 CE", "LYS3 NZ")):
        for axis in range(3):
            shift = torch.zeros_like(x)
            shift[0, atom, axis] = step
            with torch.no_grad():
                slope = (hybrid.energy(x + shift) - hybrid.energy(x - shift)) / (2 * step)
            assert float(slope) == pytest.approx(float(gradient[0, atom, axis]), rel=1e-5, abs=1e-3)
    assert check_forces(hybrid, peptide.reference_positions)["max_relative_force_difference"] < 1e-5


def test_link_positions(peptide):
    hybrid = hybrid_with_link(peptide)
    x = conformations(peptide, 2)
    seen = hybrid.region_positions(x)
    atoms = atoms_named(peptide, *LYSINE_END)
    (inside,), (outside,) = atoms_named(peptide, "LYS3 CE"), atoms_named(peptide, "LYS3 CD")
    scale = 1.07 / 1.52
    torch.testing.assert_close(seen[:, :-1], x[:, list(atoms)])
    torch.testing.assert_close(seen[:, -1], (1 - scale) * x[:, inside] + scale * x[:, outside])


def test_bad_rows_stay_alone(peptide):
    hybrid = hybrid_with_link(peptide)
    first, second = atoms_named(peptide, "LYS3 NZ", "LYS3 HZ1")
    x = conformations(peptide, 6)
    alone = [float(hybrid.energy(row[None])) for row in x]
    x[1, first] = x[1, second]  # the region's potential fails
    x[2, 3] = float("nan")
    x[4, 3, 0] = 1e30
    x.requires_grad_()
    energy = hybrid.energy(x)
    energy.nan_to_num(0.0, 0.0, 0.0).sum().backward()
    bad = [1, 2, 4]
    assert not torch.isfinite(energy[bad]).any()
    assert (x.grad[bad] == 0).all()
    good = [0, 3, 5]
    np.testing.assert_allclose(energy[good].detach(), [alone[k] for k in good], rtol=1e-12)
    assert torch.isfinite(x.grad).all() and (x.grad[good].flatten(1).norm(dim=1) > 1.0).all()


def test_blocks_dtypes_and_modes_do_not_change_the_energy(peptide, monkeypatch):
    hybrid = hybrid_with_link(peptide)
    x = conformations(peptide, 7)
    whole = hybrid.energy(x)
    monkeypatch.setattr(hybrid._memory, "largest", 3)
    torch.testing.assert_close(hybrid.energy(x), whole, rtol=1e-12, atol=1e-9)
    single = x.float().requires_grad_()
    energy = hybrid.energy(single)
    assert energy.dtype == torch.float32
    torch.testing.assert_close(energy.double(), whole, rtol=1e-5, atol=1e-2)
    with torch.inference_mode():
        torch.testing.assert_close(hybrid.energy(x), whole, rtol=1e-12, atol=1e-9)
    assert hybrid.energy(x[:0]).shape == (0,)
    with pytest.raises(BoltzgenError, match="first derivatives only"):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(hybrid.energy(x).sum(), x, create_graph=True)
        slope.sum().backward()


def test_no_bit_depends_on_the_rows_beside_it(peptide, monkeypatch):
    hybrid, x = hybrid_with_link(peptide), conformations(peptide, 200)
    monkeypatch.setattr(hybrid.region, "energy", lambda x: x[:, :, 0].sum(dim=1))  # row by row, as workers do
    assert torch.equal(torch.cat([hybrid.energy(row) for row in x.split(1)]), hybrid.energy(x))


def test_it_does_not_turn_or_move(peptide):
    hybrid = hybrid_with_link(peptide)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    x = conformations(peptide, 3)
    turned = x @ torch.tensor(rotation * np.linalg.det(rotation)) + 0.7
    torch.testing.assert_close(hybrid.energy(turned), hybrid.energy(x), rtol=1e-10, atol=1e-8)


def test_all_atoms_in_the_region_leave_the_solvent():
    system = prepare(sequence="ACE-ALA-NME", ml="xtb-ala2-small", **AMBER)
    hybrid = potential_of(system)
    x = conformations(system, 3)
    solvent = openmm.XmlSerializer.clone(system.openmm_system())
    for index in reversed(range(solvent.getNumForces())):
        if not isinstance(solvent.getForce(index), openmm.GBSAOBCForce):
            solvent.removeForce(index)
    expected = reference_energies(solvent, x.numpy())[0]
    np.testing.assert_allclose(hybrid.rest.energy(x), expected, rtol=1e-8)
    whole = hybrid.region.energy(hybrid.region_positions(x)) + torch.tensor(expected)
    torch.testing.assert_close(hybrid.energy(x), whole, rtol=1e-8, atol=1e-5)
    assert np.abs(expected).min() > 10.0
    described = description_of(system).energy(x)
    torch.testing.assert_close(described, translate(replace(system)).energy(x))


def test_forces_that_are_no_slope_are_found(peptide):
    class Wrong(Springs):
        def energy(self, positions):
            return super().energy(positions) + 100.0 * (positions - positions.detach()).sum((1, 2))

    hybrid = hybrid_with_link(peptide)
    hybrid.region = Wrong()
    with pytest.raises(BoltzgenError, match="differ from the slope"):
        check_forces(hybrid, peptide.reference_positions)


# On disk and at the terminal -------------------------------------------------------------------


def test_a_hybrid_is_another_molecule_and_survives_the_disk(tmp_path):
    plain = prepare(sequence="ACE-VAL-NME", **AMBER)
    asked = {"sequence": "ACE-VAL-NME", "ml": "gfn2", "ml_region": "sidechain and resid 1", **AMBER}
    system = prepare(**asked)
    assert len(system.energy_model.region.links) == 1
    assert plain.fingerprint != system.fingerprint
    loaded = MolecularSystem.load(system.save(tmp_path / "SYS"))
    assert loaded.energy_model == system.energy_model
    assert loaded.fingerprint == system.fingerprint
    other = prepare(**asked, ml_options={"charge": "2"})
    assert other.fingerprint != system.fingerprint


def test_a_charge_beside_the_force_field_is_warned_of():
    system = prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"charge": "1"})
    assert any(
        "`ml_options={'charge': '1'}` is not the charge" in warning
        for warning in system.provenance["warnings"]
    )
    system = prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"charge": "0"})
    assert system.provenance["warnings"] == []


def test_workers_are_no_part_of_the_energy():
    one = prepare(sequence="ACE-ALA-NME", ml="gfn2")
    two = prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"workers": "2"})
    assert two.energy_model.workers == 2
    assert one.fingerprint == two.fingerprint
    with pytest.raises(InputError, match=r"`ml_options={'workers': 'none'}`"):
        prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"workers": "none"})


def test_a_region_beyond_the_molecule_is_damage():
    system = prepare(sequence="ACE-ALA-NME", ml="gfn2")
    region = replace(system.energy_model.region, links=(LinkAtom(0, 99, 0.7),))
    broken = replace(system, energy_model=replace(system.energy_model, region=region))
    with pytest.raises(InputError, match=r"outside 0\.\.21"):
        potential_of(broken)


def test_from_prepare_to_samples_at_the_terminal(tmp_path, command_server):
    words = ["--sequence", "ACE-ALA-NME", "--implicit", "obc1", "--ml", "xtb-ala2-small"]
    done = run_cli("prepare", *words, "-o", "SYS", cwd=tmp_path, server=command_server)
    assert done.returncode == 0, done.stderr
    assert "xtb-ala2-small" in done.stdout and "all atoms" in done.stdout
    system = MolecularSystem.load(tmp_path / "SYS")
    check = system.provenance["hybrid_check"]
    assert check["max_relative_force_difference"] < 1e-4
    assert check["max_relative_division_difference"] < 1e-6
    config = (
        "system: SYS\nflow: {kind: coupling, layers: 2}\noptimizer: {steps: 5}\n"
        "evaluation: {every: 5, samples: 64}\n"
        "reverse_kl: {weight: 1.0, batch_size: 16}\n"
    )
    (tmp_path / "tiny.yaml").write_text(config)
    done = run_cli("train", "tiny.yaml", "-o", "RUN", cwd=tmp_path, server=command_server)
    assert done.returncode == 0, done.stderr
    done = run_cli("sample", "RUN", "SYS", "-n", "64", "-o", "OUT", cwd=tmp_path, server=command_server)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "OUT" / "samples.npz") as samples:
        assert samples["u"].shape == (64,)
    words = ["simulate", tmp_path / "SYS", "-o", tmp_path / "MD", "--engine", "openmm"]
    assert_refused(words, "xtb-ala2-small", "without --ml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ml", "gfn3"], "did you mean gfn2"),
        (["--ml", "gfn2", "--ml-region", "resname XYZ"], "selects no atom"),
        (["--ml", "gfn2", "--ml-option", "solvent"], "key=value"),
        (["--ml", "gfn2", "--ml-option", "charge=one"], "not a whole number"),
        (["--ml-region", "resid 1"], "goes with --ml"),
        (["--ml", "gfn2", "--ml-region", "backbone"], "hydrogen"),
    ],
)
def test_mistakes_are_one_sentence(words, expected, tmp_path):
    assert_refused(["prepare", "--sequence", "ACE-ALA-NME", "-o", tmp_path / "SYS", *words], expected)
    assert not (tmp_path / "SYS").exists()


def test_the_cases_are_what_they_say():
    assert len({type(force) for force in zoo(lambda t: True).getForces()}) == 14
    assert zoo_positions().shape == (3, hybrid_cases.N_ATOMS, 3)
