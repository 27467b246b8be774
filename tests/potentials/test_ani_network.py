"""The ANI-type network: symmetry functions, gradients, invariances, bad rows, the shipped weights."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.learned.ani_network import (
    BOHR,
    HARTREE,
    AniNetwork,
    PairRepulsion,
    load_network,
    load_shipped,
    xtb_ala2_small,
)
from boltzgen.potentials.learned.symmetry_functions import SymmetryFunctions, SymmetryFunctionSettings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "boltzgen" / "ml_models" / "xtb-ala2-small"
GOLDEN = ROOT / "tests" / "golden" / "xtb_ala2_small.npz"

#: Other numbers than the shipped ones: three elements, an odd power, cutoffs that cut.
SETTINGS = SymmetryFunctionSettings(
    elements=("H", "C", "O"),
    radial_cutoff=0.45,
    radial_eta=310.0,
    radial_shells=(0.09, 0.17, 0.31),
    angular_cutoff=0.30,
    angular_eta=170.0,
    angular_shells=(0.1, 0.22),
    angular_zeta=5,
    angular_sections=(0.4, 1.3, 2.6),
)


def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def network() -> AniNetwork:
    return xtb_ala2_small(golden()["atomic_numbers"])


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """(20, 22, 3) nm, float64: held-out conformations, half of 300 K and half of 1000 K."""
    return torch.as_tensor(golden()["positions"], dtype=torch.float64)


def cutoff(r: float, radius: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * r / radius) if r < radius else 0.0


def slow_symmetry_functions(s: SymmetryFunctionSettings, species: list[int], x: np.ndarray) -> np.ndarray:
    """Eqs. 3 and 4 atom by atom, with an arc cosine, as TorchANI has them."""
    n_elements, out = len(s.elements), []
    for i in range(len(x)):
        radial = np.zeros((n_elements, len(s.radial_shells)))
        angular = {(a, b): 0.0 for a in range(n_elements) for b in range(a, n_elements)}
        for j in range(len(x)):
            r = np.linalg.norm(x[j] - x[i])
            if j == i or r > s.radial_cutoff:
                continue
            for m, shell in enumerate(s.radial_shells):
                value = 0.25 * math.exp(-s.radial_eta * (r - shell) ** 2) * cutoff(r, s.radial_cutoff)
                radial[species[j], m] += value
        for j in range(len(x)):
            for k in range(j + 1, len(x)):
                if i in (j, k):
                    continue
                one, two = x[j] - x[i], x[k] - x[i]
                r, q = np.linalg.norm(one), np.linalg.norm(two)
                theta = math.acos(0.95 * one @ two / (r * q))
                weight = cutoff(r, s.angular_cutoff) * cutoff(q, s.angular_cutoff)
                values = [
                    2 ** (1 - s.angular_zeta)
                    * (1 + math.cos(theta - section)) ** s.angular_zeta
                    * math.exp(-s.angular_eta * ((r + q) / 2 - shell) ** 2)
                    * weight
                    for shell in s.angular_shells
                    for section in s.angular_sections
                ]
                pair = tuple(sorted((species[j], species[k])))
                angular[pair] = angular[pair] + np.array(values)
        size = len(s.angular_shells) * len(s.angular_sections)
        parts = [np.broadcast_to(value, size) for value in angular.values()]
        out.append(np.concatenate([radial.ravel(), *parts]))
    return np.array(out)


def cluster(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Species (n,) and positions (n, 3) nm of atoms thrown into a box, some of them close."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, size=n), rng.uniform(0, 0.35, size=(n, 3))


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_symmetry_functions_equal_plain_loops(n):
    species, x = cluster(n, seed=n)
    batch = torch.as_tensor(np.stack([x, 1.3 * x[::-1]]))
    got = SymmetryFunctions(SETTINGS, species).values(batch.permute(1, 2, 0)).permute(2, 0, 1)
    for row, positions in zip(got, batch.numpy(), strict=True):
        expected = slow_symmetry_functions(SETTINGS, species.tolist(), positions)
        assert expected.shape == (n, SETTINGS.length)
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-13)


@pytest.mark.skipif(importlib.util.find_spec("torchani") is None, reason="torchani is not installed")
def test_symmetry_functions_equal_torchani():
    from torchani.aev import AEVComputer

    s, angstrom = SETTINGS, 10.0
    theirs = AEVComputer.from_constants(
        s.radial_cutoff * angstrom,
        s.angular_cutoff * angstrom,
        s.radial_eta / angstrom**2,
        [r * angstrom for r in s.radial_shells],
        s.angular_eta / angstrom**2,
        s.angular_zeta,
        [r * angstrom for r in s.angular_shells],
        list(s.angular_sections),
        len(s.elements),
    ).double()
    species, x = cluster(11, seed=4)
    expected = theirs(torch.as_tensor(species)[None], torch.as_tensor(x)[None] * angstrom)[0]
    got = SymmetryFunctions(s, species).values(torch.as_tensor(x)[:, :, None])[:, :, 0]
    np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=2e-6)  # their constants are float32


def test_repulsion_is_that_of_gfn2_xtb():
    """C and H, then H and H, 0.1 nm apart, by the formula with its own numbers."""
    x = torch.tensor([[0.0, 0, 0], [0.1, 0, 0]], dtype=torch.float64)[:, :, None]
    r = 0.1 / BOHR
    mixed = 4.231078 * 1.105388 / r * math.exp(-math.sqrt(1.247655 * 2.213717) * r**1.5)
    light = 1.105388**2 / r * math.exp(-2.213717 * r)
    for symbols, expected in ((["C", "H"], mixed), (["H", "H"], light)):
        assert float(PairRepulsion(symbols).energy(x)) == pytest.approx(HARTREE * expected, rel=1e-10)


def test_repulsion_of_a_molecule_is_tblites(frames):
    """tblite prints it; 0.39960607927288 hartree on the first frame of the demo's data."""
    with np.load(ROOT / "boltzgen" / "demo_data" / "alanine-dipeptide" / "MD" / "frames.npz") as file:
        x = torch.as_tensor(file["positions"][:1], dtype=torch.float64)
    symbols = [{1: "H", 6: "C", 7: "N", 8: "O"}[int(number)] for number in golden()["atomic_numbers"]]
    energy = PairRepulsion(symbols).energy(x.permute(1, 2, 0))
    assert float(energy) / HARTREE == pytest.approx(0.39960607927288, abs=1e-7)


def test_gradient_equals_finite_differences(network, frames):
    x = frames[[0, -1]].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.energy(x).sum(), x)
    step, flat = 1e-6, torch.eye(66, dtype=torch.float64).reshape(66, 1, 22, 3)
    ahead, behind = (network.energy((x.detach() + s * step * flat).reshape(-1, 22, 3)) for s in (1, -1))
    expected = ((ahead - behind) / (2 * step)).reshape(66, 2).T.reshape(2, 22, 3)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-2)  # CELU's curvature has a step at 0


def test_fast_and_plain_paths_agree_and_plain_has_second_derivatives(network, frames):
    x = frames.clone().requires_grad_()
    fast, plain = network.energy(x), network.energy_plain(x)
    np.testing.assert_allclose(fast.detach(), plain.detach(), rtol=1e-10, atol=1e-8)
    one, two = (torch.autograd.grad(value.sum(), x, create_graph=True)[0] for value in (fast, plain))
    np.testing.assert_allclose(one.detach(), two.detach(), rtol=1e-8, atol=1e-6)
    (curvature,) = torch.autograd.grad((two**2).sum(), x)
    assert bool(torch.isfinite(curvature).all()) and float(curvature.abs().max()) > 0


def test_energy_does_not_change_with_the_order_of_atoms_nor_with_place(network, frames):
    g = np.random.default_rng(8)
    order = g.permutation(22)
    shuffled = xtb_ala2_small(golden()["atomic_numbers"][order])
    turn = np.linalg.qr(g.normal(size=(3, 3)))[0]
    moved = frames @ torch.as_tensor(turn) + torch.as_tensor(g.normal(size=3))
    expected = network.energy(frames).numpy()
    np.testing.assert_allclose(shuffled.energy(frames[:, order]).numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(network.energy(moved).numpy(), expected, atol=1e-7)
    hydrogens = np.arange(22)
    hydrogens[[0, 2, 3]] = [2, 3, 0]  # within one methyl
    assert golden()["atomic_numbers"][[0, 2, 3]].tolist() == [1, 1, 1]
    np.testing.assert_allclose(network.energy(frames[:, hydrogens]).numpy(), expected, atol=1e-7)


def test_float32_agrees_with_float64(network, frames):
    single, double = network.energy(frames.float()), network.energy(frames)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), double.numpy(), atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bad_row_stays_alone(network, frames, dtype):
    bad = frames.clone().to(dtype)
    bad[1, 4] = bad[1, 5]
    bad[3, 0, 0] = torch.nan
    bad[5, 2] = 1e30
    bad[7, 3, 1] = torch.inf
    bad[9] = 0
    bad = bad.requires_grad_()
    energy = network.energy(bad)
    (gradient,) = torch.autograd.grad(energy.sum(), bad)
    good = [row for row in range(len(frames)) if row not in (1, 3, 5, 7, 9)]
    sound = frames.to(dtype)[good].requires_grad_()
    expected = network.energy(sound)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), sound)
    assert not bool(torch.isfinite(energy[[1, 3, 7, 9]]).any())
    tolerance = {"rtol": 1e-5, "atol": 0.02} if dtype is torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(energy[good].detach(), expected.detach(), **tolerance)
    np.testing.assert_allclose(gradient[good], expected_gradient, rtol=1e-3, atol=2.0)
    assert not bool(gradient[[1, 3, 7, 9]].any())


def test_a_row_does_not_depend_on_the_others(network, frames):
    """Triples that no row of a block reaches are left out; here crowded and scattered rows share a block."""
    x = frames * torch.linspace(0.5, 6.0, len(frames), dtype=torch.float64)[:, None, None]
    alone = torch.cat([network.energy(row[None]) for row in x])
    np.testing.assert_allclose(network.energy(x).numpy(), alone.numpy(), rtol=1e-12, atol=1e-9)


def test_atoms_that_meet_are_pushed_apart(network, frames):
    """The wall: two atoms of the ends, brought together, cost ever more."""
    x = frames[:1].repeat(30, 1, 1)
    distance = torch.linspace(0.06, 0.004, 30, dtype=torch.float64)
    x[:, 21] = x[:, 5] + distance[:, None] * torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    energy = network.energy(x)
    assert bool((energy.diff() > 0).all()) and float(energy[0] - network.energy(frames[:1])) > 500


def test_shipped_weights_give_the_stored_energies(network, frames):
    np.testing.assert_allclose(network.energy(frames).numpy(), golden()["network"], atol=1e-6)


def test_the_card_holds_on_held_out_conformations(network, frames):
    """Stored GFN2-xTB labels: within three times the error that the card states for each temperature."""
    metrics = json.loads((FOLDER / "metrics.json").read_text())
    stored, x = golden(), frames.clone().requires_grad_()
    energy = network.energy(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    error = energy.detach().numpy() + network.self_energy - stored["energies"]
    for kelvin in (300, 1000):
        rows, stated = stored["kelvin"] == kelvin, metrics["held_out"][f"{kelvin}K"]
        assert rows.sum() == 10
        shifted = error[rows] - stated["energy_mean_error_kJ/mol"]
        assert np.sqrt((shifted**2).mean()) < 1.8 * stated["energy_sd_kJ/mol"]
        off = (gradient[rows] - torch.as_tensor(stored["gradients"][rows])).square().mean().sqrt()
        assert float(off) < 1.5 * stated["force_rmse_kJ/mol/nm"]
    assert metrics["held_out"]["300K"]["energy_sd_kT"] < 1


def test_stored_labels_are_gfn2_xtbs():
    interface = pytest.importorskip("tblite.interface", reason="tblite is not installed")
    stored = golden()
    for row in (0, 10, 19):
        bohr = stored["positions"][row] / BOHR
        calculator = interface.Calculator("GFN2-xTB", stored["atomic_numbers"], bohr)
        calculator.set("verbosity", 0)
        energy = calculator.singlepoint()["energy"] * HARTREE
        assert energy == pytest.approx(stored["energies"][row], abs=0.01)


def test_another_molecule_is_computed_with_a_warning():
    with pytest.warns(UserWarning, match="trained on alanine dipeptide"):
        water = xtb_ala2_small(np.array([8, 1, 1]))
    x = torch.tensor([[[0.0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]]])
    assert not water.fits_training and bool(torch.isfinite(water.energy(x)).all())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert xtb_ala2_small(golden()["atomic_numbers"][::-1].copy()).fits_training


def test_what_it_cannot_do_is_refused(network):
    with pytest.raises(UnsupportedError, match=r"Atom 1 has the atomic number 16; .* H, C, N, O only"):
        xtb_ala2_small(np.array([6, 16]))
    with pytest.raises(UnsupportedError, match="neutral molecule; the charge is -1"):
        xtb_ala2_small(np.array([8, 1]), charge=-1)
    with pytest.raises(InputError, match="takes no options; solvent"):
        xtb_ala2_small(np.array([8, 1, 1]), options={"solvent": "water"})
    with pytest.raises(InputError, match=r"needs \(batch, 22, 3\)"):
        network.energy(torch.zeros(2, 21, 3))
    with pytest.raises(InputError, match="float32 or float64"):
        network.energy(torch.zeros(2, 22, 3, dtype=torch.float16))
    with pytest.raises(InputError, match="does not come with boltzgen"):
        load_shipped("xtb-ala3-small")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "absent", "foreign", "shape"])
def test_a_damaged_model_is_refused_in_a_sentence(tmp_path, damage):
    folder = tmp_path / "network"
    shutil.copytree(FOLDER, folder)
    weights, record = folder / "weights.safetensors", json.loads((folder / "model.json").read_text())
    payload = weights.read_bytes()
    if damage == "truncated":
        weights.write_bytes(payload[:1000])
    elif damage == "flipped":
        weights.write_bytes(payload[:-9] + b"\x00\x01" + payload[-7:])
    elif damage == "absent":
        weights.unlink()
    elif damage == "foreign":
        record["schema"] = "somebody's"
    else:
        record["hidden"] = [17, 5]
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(InputError) as caught:
        load_network(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
