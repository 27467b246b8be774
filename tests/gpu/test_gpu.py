"""On a GPU: the same numbers as on the CPU, and the rates of energy, sampling and training.

Run by tests/gpu/run.sh. ``BOLTZGEN_GPU_DEVICE=cpu`` runs the same code without a GPU.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from boltzgen.files import write_atomic, write_json

DEVICE = os.environ.get("BOLTZGEN_GPU_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no CUDA device"
    ),
]
BATCH = 4096 if DEVICE == "cuda" else 64
SECONDS = 3.0 if DEVICE == "cuda" else 0.1


@pytest.fixture(scope="module")
def rates():
    """Name -> rows a second; written as a table and as JSON to $OUT when the tests are over."""
    measured: dict[str, float] = {}
    yield measured
    folder = Path(os.environ.get("OUT", "."))
    name = torch.cuda.get_device_name(0) if DEVICE == "cuda" else "CPU"
    rows = "".join(f"| {what} | {rate:,.0f} |\n" for what, rate in measured.items())
    title = f"Alanine dipeptide, {name}, torch {torch.__version__}, batch {BATCH}\n\n"
    write_atomic(folder / "gpu.md", f"{title}| what | rows a second |\n|---|---|\n{rows}")
    write_json(folder / "gpu.json", {"device": name, "torch": torch.__version__, "batch": BATCH, **measured})


@pytest.fixture(scope="module")
def molecule(alanine_dipeptide):
    """(system, coordinates, potential, features), on the CPU."""
    from boltzgen.conditioning.features import molecule_features
    from boltzgen.coordinates.internal import InternalCoordinates
    from boltzgen.potentials.from_openmm.translate import translate

    coordinates, potential = InternalCoordinates(alanine_dipeptide), translate(alanine_dipeptide)
    return (
        alanine_dipeptide,
        coordinates,
        potential,
        molecule_features(alanine_dipeptide, coordinates, potential),
    )


def make_flow(features, *, spread: float = 0.02):
    """A small coupling flow whose random weights move it away from its base."""
    from boltzgen.flows.coupling import CouplingFlow

    torch.manual_seed(5)
    flow = CouplingFlow(features.tokens.shape[1], layers=4, hidden=64)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return flow


def make_context(features, rows: int, device: str):
    from boltzgen.conditioning.context import Context

    return Context(
        (features.to(device),),
        torch.zeros(rows, dtype=torch.long, device=device),
        torch.full((rows,), 300.0, dtype=torch.float64, device=device),
    )


def rate(work, rows: int) -> float:
    """Rows a second of `work`, after one call to warm up."""
    work()
    synchronize()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        synchronize()
        calls += 1
    return calls * rows / (time.perf_counter() - started)


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def distorted(system, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    reference = torch.tensor(system.reference_positions)
    noise = torch.randn(rows, *reference.shape, dtype=torch.float64, generator=generator)
    return reference + 0.005 * noise


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_energies_agree_with_the_cpu(molecule, rates, dtype):
    system, _, potential, _ = molecule
    expected = potential.energy(distorted(system, 64))
    moved = potential.to(DEVICE, dtype)
    try:
        x = distorted(system, BATCH).to(DEVICE, dtype)
        got = moved.energy(distorted(system, 64).to(DEVICE, dtype)).double().cpu()
        tolerance = 1e-9 if dtype == torch.float64 else 2e-4
        assert torch.allclose(got, expected, rtol=tolerance, atol=tolerance * 100)
        name = str(dtype).removeprefix("torch.")
        rates[f"energies, {name}"] = rate(lambda: moved.energy(x), BATCH)
        rates[f"energies and forces, {name}"] = rate(lambda: gradient(moved, x), BATCH)
    finally:
        potential.to("cpu", torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_compiled_energies_agree(molecule, rates, dtype):
    import warnings

    from boltzgen.potentials.from_openmm.translate import translate

    potential = translate(molecule[0])
    x = distorted(molecule[0], BATCH).to(DEVICE, dtype)
    energy, slopes = potential.energy_and_gradient(x)
    potential.use_compiler()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a compiler that fails says so in a warning
        found, found_slopes = potential.energy_and_gradient(x)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(found, energy, rtol=tolerance, atol=100 * tolerance)
    torch.testing.assert_close(found_slopes, slopes, rtol=100 * tolerance, atol=1e4 * tolerance)
    name = str(dtype).removeprefix("torch.")
    rates[f"energies and forces, compiled, {name}"] = rate(lambda: gradient(potential, x), BATCH)


@pytest.mark.skipif(DEVICE == "cpu", reason="on a CPU blocks follow the cache, not the memory")
def test_a_batch_is_split_by_measured_memory(molecule, monkeypatch):
    from boltzgen.potentials.fast import memory
    from boltzgen.potentials.from_openmm.translate import translate

    potential = translate(molecule[0])
    x = distorted(molecule[0], 5000).to(DEVICE)
    expected = potential.energy(x)
    measured = next(iter(potential._blocks._memory.bytes_per_row.values()))
    assert 1e3 < measured < 1e7
    monkeypatch.setattr(memory, "available_bytes", lambda device: int(2 * 700 * measured))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    got = potential.energy(x)
    assert torch.cuda.max_memory_allocated() - before < 3 * 700 * measured
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-8)


def gradient(potential, positions: torch.Tensor) -> torch.Tensor:
    x = positions.detach().requires_grad_()
    return torch.autograd.grad(potential.energy(x).sum(), x)[0]


def test_densities_agree_with_the_cpu(molecule):
    system, coordinates, _, features = molecule
    flow = make_flow(features).double()
    values, _ = coordinates.encode(distorted(system, 32))
    expected = flow.log_prob(values, flow.embed(make_context(features, 32, "cpu")))
    flow = flow.to(DEVICE)
    got = flow.log_prob(values.to(DEVICE), flow.embed(make_context(features, 32, DEVICE)))
    assert torch.allclose(got.cpu(), expected, rtol=1e-8, atol=1e-6)


def test_sampling_and_its_rate(molecule, rates):
    system, coordinates, _, features = molecule
    flow = make_flow(features).to(DEVICE)
    embedding = flow.embed(make_context(features, BATCH, DEVICE))
    generator = torch.Generator(DEVICE).manual_seed(7)
    moved = coordinates.to(DEVICE) if hasattr(coordinates, "to") else coordinates

    def draw():
        with torch.no_grad():
            values, log_q = flow.sample(embedding, generator=generator)
            return moved.decode(values)[0], log_q

    positions, log_q = draw()
    assert positions.device.type == log_q.device.type == torch.device(DEVICE).type
    assert positions.shape == (BATCH, system.n_atoms, 3) and torch.isfinite(log_q).all()
    rates["samples"] = rate(draw, BATCH)


def test_training_step_and_its_rate(molecule, rates):
    system, coordinates, _, features = molecule
    flow = make_flow(features).to(DEVICE)
    values = coordinates.encode(distorted(system, BATCH))[0].to(DEVICE)
    context = make_context(features, BATCH, DEVICE)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    losses = []

    def step():
        optimizer.zero_grad()
        loss = -flow.log_prob(values, flow.embed(context)).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    rates["training steps (maximum likelihood)"] = rate(step, 1)
    assert torch.isfinite(torch.stack(losses)).all() and losses[-1] < losses[0]


def test_replica_exchange_with_moves_and_its_rate(molecule, rates, tmp_path):
    """Stored energies are those of the positions on the CPU; moves about bonds are tried and taken."""
    from boltzgen.data.trajectory import read_trajectory
    from boltzgen.workflows.simulation.simulate import simulate

    system, _, potential, _ = molecule
    result = simulate(
        system,
        tmp_path / "MD",
        engine="torch",
        device=DEVICE,
        temperatures=(300.0, 500.0),
        replicas=BATCH,
        time="0.1ps",
        save_interval="0.05ps",
        exchange_interval="0.025ps",
        equilibration="0.05ps",
        torsion_moves=2,
        compile_energies=DEVICE == "cuda",
    )
    moves, frames = result.to_json()["torch"]["torsion_moves"], read_trajectory(result.folder, system)
    assert moves["bonds"] == 2 and 0.0 < moves["taken"] < moves["tried"] == 12 * BATCH
    expected = potential.energy(torch.as_tensor(frames.positions).double())
    got = torch.as_tensor(frames.energies)
    assert torch.isfinite(got).all() and torch.allclose(got, expected.detach(), rtol=1e-4, atol=0.05)
    rates["replica exchange (steps of replicas)"] = (
        result.to_json()["energy_evaluations"] / result.to_json()["wall_seconds"]
    )
