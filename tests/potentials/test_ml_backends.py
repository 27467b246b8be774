"""The backends of machine-learned regions: how they are found, and whether their forces are slopes."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import ROOT
from ml_cases import ETHANOL, ETHANOL_POSITIONS, assert_slopes, ethanol

from boltzgen.errors import BoltzgenError, InputError, MissingExtraError, UnsupportedError
from boltzgen.potentials.learned import ase_backend, xtb
from boltzgen.potentials.learned import backends as ml_backends
from boltzgen.potentials.learned.backends import BACKENDS, factory_of, make_backend
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.prepare import prepare
from boltzgen.units import BOHR, ELECTRONVOLT, HARTREE

needs_tblite = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is missing")
needs_ase = pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="ASE is missing")
needs_torchani = pytest.mark.skipif(
    importlib.util.find_spec("torchani") is None, reason="torchani is missing"
)

# How they are found -----------------------------------------------------------------------------


def test_our_backends_are_registered_as_a_stranger_would_register_one():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert setup["project"]["entry-points"][BACKENDS.group] == BACKENDS.own
    for name in BACKENDS.own:
        assert callable(factory_of(name))


STRANGER = """
from boltzgen.potentials.base import Potential

class Springs(Potential):
    def __init__(self, n, charge, stiffness):
        super().__init__()
        self.n, self.charge, self.stiffness = n, charge, stiffness

    def energy(self, positions):
        return 0.5 * self.stiffness * (positions[:, 1:] - positions[:, :-1]).pow(2).sum((1, 2))

def springs(atomic_numbers, *, charge, options):
    return Springs(len(atomic_numbers), charge, float(options.get("stiffness", 10.0)))

def nothing(atomic_numbers, *, charge, options):
    return None
"""


def install(folder, name: str, points: str) -> None:
    """A distribution `name` in `folder`, which is on sys.path, with entry points of our group."""
    record = folder / f"{name}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{BACKENDS.group}]\n{points}\n")


def test_another_package_brings_a_backend(tmp_path, monkeypatch):
    (tmp_path / "stranger_potential.py").write_text(STRANGER)
    points = "springs = stranger_potential:springs\nnothing = stranger_potential:nothing"
    install(tmp_path, "stranger", points + "\nbroken = stranger_potential:absent")
    monkeypatch.syspath_prepend(tmp_path)
    assert BACKENDS.known()["springs"] == "stranger_potential:springs"
    system = prepare(
        sequence="ACE-ALA-NME", ml="springs", ml_region="sidechain and resid 1", ml_options={"stiffness": "4"}
    )
    potential = potential_of(system)
    assert potential.region.n == 5  # the methyl group and the link
    assert potential.region.charge == 0
    x = torch.tensor(system.reference_positions)[None]
    seen = potential.region_positions(x)
    expected = 2.0 * (seen[:, 1:] - seen[:, :-1]).pow(2).sum((1, 2))
    torch.testing.assert_close(potential.energy(x), potential.rest.energy(x) + expected)
    with pytest.raises(BoltzgenError, match="returned NoneType, not a boltzgen Potential"):
        make_backend("nothing", ETHANOL, {})
    with pytest.raises(BoltzgenError, match=r"stranger_potential:absent cannot be imported"):
        make_backend("broken", ETHANOL, {})


def test_two_packages_of_one_name_are_refused(tmp_path, monkeypatch):
    install(tmp_path, "stranger", "gfn2 = stranger_potential:springs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="several packages"):
        factory_of("gfn2")


def test_names_and_options_are_corrected():
    with pytest.raises(InputError, match="did you mean gfn2"):
        make_backend("gnf2", ETHANOL, {})
    with pytest.raises(InputError, match="there are ani1ccx"):
        make_backend("quantum-monte-carlo", ETHANOL, {})
    with pytest.raises(InputError, match=r"no option 'solvnt'; did you mean solvent"):
        make_backend("gfn2", ETHANOL, {"solvnt": "water"})
    with pytest.raises(InputError, match=r"`ml_options={'charge': 'plus'}` of gfn2 is not a whole number"):
        make_backend("gfn2", ETHANOL, {"charge": "plus"})


# xTB ---------------------------------------------------------------------------------------------


@needs_tblite
@pytest.mark.parametrize(
    ("name", "options", "total"),
    [("gfn2", {}, -11.390752), ("gfn2", {"solvent": "water"}, -11.39), ("gfn1", {}, None)],
)
def test_xtb_energies_and_forces(name, options, total):
    potential = make_backend(name, ETHANOL, {"charge": "0", "accuracy": "0.1", **options})
    try:
        assert_slopes(potential, ethanol(2), 1e-4)
        if total is not None:
            atoms = sum(xtb._free_atom("GFN2-xTB", int(number)) for number in ETHANOL)
            energy = float(potential.energy(ethanol(1, 0.0))) / HARTREE + atoms
            assert energy == pytest.approx(total, abs=0.1)
    finally:
        potential.close()


@needs_tblite
def test_xtb_agrees_with_tblite_in_its_own_units():
    from tblite.interface import Calculator

    calculator = Calculator("GFN2-xTB", ETHANOL, ETHANOL_POSITIONS / BOHR)
    calculator.set("verbosity", 0)
    other = Calculator("GFN2-xTB", ETHANOL, (ETHANOL_POSITIONS * 1.02) / BOHR)
    other.set("verbosity", 0)
    expected = other.singlepoint().get("energy") - calculator.singlepoint().get("energy")
    potential = make_backend("gfn2", ETHANOL, {})
    x = torch.tensor(np.stack([ETHANOL_POSITIONS, 1.02 * ETHANOL_POSITIONS]))
    energy = potential.energy(x)
    single = potential.energy(x.float())
    potential.close()
    assert float(energy[1] - energy[0]) == pytest.approx(expected * HARTREE, rel=1e-7)
    assert expected * HARTREE > 5.0
    torch.testing.assert_close(single.double(), energy, rtol=0.0, atol=2e-3)  # no self energies to round


@needs_tblite
def test_xtb_knows_neither_order_nor_orientation():
    order = np.random.default_rng(0).permutation(9)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    one, other = make_backend("gfn2", ETHANOL, {}), make_backend("gfn2", ETHANOL[order], {})
    x = ethanol(1)
    expected = one.energy(x)
    torch.testing.assert_close(
        other.energy(x[:, order] @ torch.tensor(rotation) + 0.4), expected, rtol=0, atol=1e-3
    )
    one.close()
    other.close()


@needs_tblite
def test_what_xtb_cannot_converge_is_one_bad_row():
    potential = make_backend("gfn2", ETHANOL, {})
    x = ethanol(3)
    x[1] = x[1, :1] + 1e-7 * torch.arange(27.0).reshape(9, 3)
    x.requires_grad_()
    energy = potential.energy(x)
    energy.nan_to_num().sum().backward()
    potential.close()
    assert torch.isfinite(energy).tolist() == [True, False, True]
    assert (x.grad[1] == 0).all() and (x.grad[[0, 2]].abs().amax((1, 2)) > 1).all()


@needs_tblite
def test_charges_electrons_elements_and_solvents_are_checked():
    neutral, anion = (
        make_backend("gfn2", ETHANOL[:-1], {"charge": word, "uhf": uhf})
        for word, uhf in (("0", "1"), ("-1", "0"))
    )
    x = ethanol(1)[:, :-1]
    affinity = float(neutral.energy(x) - anion.energy(x))
    neutral.close()
    anion.close()
    assert 50.0 < affinity < 1000.0  # ethoxy binds an electron; GFN2 exaggerates how much
    with pytest.raises(InputError, match=r"26 electrons .* cannot have 1 unpaired"):
        make_backend("gfn2", ETHANOL, {"uhf": "1"})
    with pytest.raises(InputError, match=r"charge -1 leaves 27 electrons, an odd number.*'uhf': '1'"):
        make_backend("gfn2", ETHANOL, {"charge": "-1"})
    with pytest.raises(UnsupportedError, match=r"atom 1 of the region .* is Fe"):
        make_backend("gfn2", np.array([6, 26]), {})
    with pytest.raises(InputError, match=r"{'solvent': 'wine'}` is not a solvent"):
        make_backend("gfn2", ETHANOL, {"solvent": "wine"}).energy(ethanol(1))
    with pytest.raises(InputError, match=r"`ml_options={'accuracy': '-1'}`"):
        make_backend("gfn2", ETHANOL, {"accuracy": "-1"})


def test_without_tblite_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"boltzgen-sampler\[qm\]"):
        make_backend("gfn2", ETHANOL, {})
    with pytest.raises(MissingExtraError, match=r"boltzgen-sampler\[qm\]"):
        make_backend("ase", ETHANOL, {"calculator": "ase.calculators.emt:EMT"})


@needs_tblite
@pytest.mark.parametrize(
    "options",
    [
        {
            "sequence": "ACE-ALA-NME",
            "forcefield": ("amber99sbildn.xml",),
            "implicit": "amber99_obc.xml",
            "ml_region": "name CB HB1 HB2 HB3",
        },
        {"smiles": "CCCCO", "ml_region": "index 0 5 6 7"},
    ],
)
def test_a_hybrid_of_xtb_and_a_force_field(options):
    """A methyl group by GFN2, closed by a hydrogen: forces by differences, also on its bond."""
    from boltzgen.workflows.preparation.hybrid import check_hybrid

    system = prepare(ml="gfn2", **options)
    assert len(system.energy_model.region.links) == 1
    record, notes = check_hybrid(system)
    assert record["max_relative_force_difference"] < 1e-4
    assert record["max_relative_division_difference"] < 1e-12
    assert notes == ()


# ASE ---------------------------------------------------------------------------------------------


@needs_ase
def test_ase_calculators():
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.calculators.lj import LennardJones

    for word, calculator, options in (
        ("ase.calculators.emt:EMT", EMT(), {}),
        ("ase.calculators.lj:LennardJones", LennardJones(sigma=1.2, rc=8.0), {"sigma": "1.2", "rc": "8.0"}),
    ):
        potential = make_backend("ase", ETHANOL, {"calculator": word, "charge": "0", **options})
        x = ethanol(2)
        energies = potential.energy(x)
        for row, energy in zip(x, energies, strict=True):
            atoms = Atoms(numbers=ETHANOL, positions=10.0 * row.numpy(), calculator=calculator)
            assert float(energy) == pytest.approx(atoms.get_potential_energy() * 96.48533212, rel=1e-8)
        assert_slopes(potential, x, 1e-4, step=1e-5)
        potential.close()


@needs_ase
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, '{"calculator": "module:Class"}'),
        ({"calculator": "ase.calculators.emt"}, "cannot be found"),
        ({"calculator": "ase.calculators.nowhere:EMT"}, "cannot be found"),
        ({"calculator": "subprocess:Popen", "args": '["touch", "/tmp/no"]'}, "not a class of ASE"),
        ({"calculator": "os:system"}, "not a class of ASE"),
        ({"calculator": "ase.calculators.vasp:Vasp", "command": "touch /tmp/no"}, "starts a program"),
        ({"calculator": "ase.calculators.mopac:MOPAC"}, "starts a program"),
        ({"calculator": "ase.calculators.orca:ORCA"}, "starts a program"),
        ({"calculator": "ase.calculators.lj:LennardJones", "rc": '"wide"'}, "cannot be made"),
    ],
)
def test_ase_calculators_that_are_refused(options, expected):
    with pytest.raises(InputError, match=expected):
        make_backend("ase", ETHANOL, options)


@needs_ase
@pytest.mark.parametrize(("implemented", "missing"), [(["energy"], "no forces"), (["forces"], "no energy")])
def test_a_calculator_without_forces_is_refused_before_it_is_asked(implemented, missing, monkeypatch):
    import types

    from ase.calculators.calculator import Calculator

    kind = type("Half", (Calculator,), {"implemented_properties": implemented})
    module = types.ModuleType("half_calculators")
    module.Half = kind
    monkeypatch.setitem(sys.modules, "half_calculators", module)
    with pytest.raises(UnsupportedError, match=rf"half_calculators:Half gives {missing} \(it implements"):
        make_backend("ase", ETHANOL, {"calculator": "half_calculators:Half"})


@needs_ase
def test_words_become_keywords():
    made = [ase_backend._json(word) for word in ("1.5", "true", '["a"]', "water", "null")]
    assert made == [1.5, True, ["a"], "water", None]
    assert ELECTRONVOLT / HARTREE == pytest.approx(1 / 27.211386245988, rel=1e-10)


# TorchANI ----------------------------------------------------------------------------------------


def test_ani_says_what_it_cannot_do(monkeypatch):
    with pytest.raises(UnsupportedError, match=r"ani1x knows the elements H, C, N, O; atom 2 .* is S"):
        make_backend("ani1x", np.array([6, 1, 16]), {})
    with pytest.raises(UnsupportedError, match="neutral"):
        make_backend("ani2x", ETHANOL, {"charge": "1"})
    with pytest.raises(InputError, match="members are 0 to 7"):
        make_backend("ani2x", ETHANOL, {"member": "8"})
    monkeypatch.setitem(sys.modules, "torchani", None)
    with pytest.raises(MissingExtraError, match=r"boltzgen-sampler\[ml\]"):
        make_backend("ani2x", ETHANOL, {})


def test_ani_weights_that_cannot_be_fetched(monkeypatch):
    import types

    def unreachable(**_):
        raise OSError("no route to host")

    module = types.ModuleType("torchani")
    module.models = types.SimpleNamespace(ANI2x=unreachable)
    monkeypatch.setitem(sys.modules, "torchani", module)
    with pytest.raises(BoltzgenError, match=r"weights of ANI2x cannot be fetched \(no route to host\)"):
        make_backend("ani2x", ETHANOL, {})


@needs_torchani
def test_a_small_torchani_model():
    from torchani.arch import simple_ani

    from boltzgen.potentials.learned.torchani_backend import TorchAni

    torch.manual_seed(3)
    make = {"symbols": ("H", "C", "N", "O"), "lot": "wb97x-631gd", "ensemble_size": 2, "repulsion": True}
    model = simple_ani(**make).double()
    numbers = torch.tensor(ETHANOL)[None]
    x = ethanol(3)
    whole = model((numbers.expand(3, -1), 10.0 * x)).energies * HARTREE
    constant = model.energy_shifter(model.species_converter(numbers)) * HARTREE
    potential = TorchAni(model, ETHANOL)
    torch.testing.assert_close(potential.energy(x), (whole - constant).detach(), rtol=0, atol=1e-6)
    energy = potential.energy(x)
    assert_slopes(potential, x, 1e-4, step=1e-5)
    single = TorchAni(model.float(), ETHANOL)
    torch.testing.assert_close(single.energy(x), energy, rtol=1e-5, atol=1e-2)
    with pytest.raises(UnsupportedError, match="is Cl"):
        TorchAni(model, np.array([17]))


# A hybrid's workers ------------------------------------------------------------------------------


@needs_tblite
def test_workers_reach_the_backends_that_have_them():
    system = prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"workers": "2"})
    potential = potential_of(system)
    assert potential.region.pool.workers == 2
    assert ml_backends.COMMON_OPTIONS[0] == "charge"
    plain = replace(system.energy_model, workers=1)
    assert potential_of(replace(system, energy_model=plain)).region.pool.workers == 1
