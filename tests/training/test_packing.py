"""Packed checkpoints and frames: what they keep, how exactly, and that a run goes on from them elsewhere."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from training_cases import DOUBLE_WELL, SIMULATION

from boltzgen.config.model import load_model
from boltzgen.config.settings import build_settings, dump_yaml
from boltzgen.data.dataset import Dataset
from boltzgen.data.packed_frames import pack_positions, unpack_positions
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.checkpoint import (
    complete_checkpoints,
    load_checkpoint,
    pack_checkpoint,
    restore_optimizer,
)
from boltzgen.training.optimizer.soap import Soap, turned
from boltzgen.training.packing import packed, unpacked
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.build import build_dataset
from boltzgen.workflows.datasets.settings import DatasetSettings
from boltzgen.workflows.training.packing import pack_run
from boltzgen.workflows.training.train import train

#: Half of the last of the eight bits of a bfloat16, relative to the number.
ROUNDING = 2.0**-8


SHAPES = [(6, 4), (5,), (3, 2, 4)]


def gradients(steps: int, seed: int) -> list[list[torch.Tensor]]:
    """Of one matrix, one vector and one tensor of three dimensions; the directions are those of any seed."""
    fixed, random = torch.Generator().manual_seed(4), torch.Generator().manual_seed(seed)
    mixing = [[_stretched(length, fixed) for length in shape] for shape in SHAPES]
    found = []
    for _ in range(steps):
        found.append([torch.randn(shape, generator=random) for shape in SHAPES])
        for n, each in enumerate(mixing):
            for matrix in each:
                found[-1][n] = torch.tensordot(found[-1][n], matrix, dims=([0], [0]))
    return found


def taken(optimizer: Soap, parameters: list[torch.Tensor], steps: list[list[torch.Tensor]]) -> None:
    for step in steps:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def after_steps(steps: int) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint."""
    parameters = [torch.full(shape, 0.7).requires_grad_() for shape in SHAPES]
    optimizer = Soap(parameters, lr=0.01, every=3)
    taken(optimizer, parameters, gradients(steps, 5))
    state = optimizer.state_dict()["state"]
    tensors = {f"optimizer/{n}/{key}": value for n, one in state.items() for key, value in one.items()}
    for n, parameter in enumerate(parameters):
        tensors |= {f"flow/p{n}": parameter.detach(), f"average/p{n}": parameter.detach() * 0.9}
    return {**tensors, "buffer/reweighted/0/0/energy": torch.ones(7), "first/likelihood/0": torch.tensor(3.5)}


def _stretched(length: int, random: torch.Generator) -> torch.Tensor:
    """Makes directions, no axes, of very different sizes."""
    turn = torch.linalg.qr(torch.randn(length, length, generator=random))[0]
    return torch.diag(0.2 ** torch.arange(length)) @ turn


def test_packed_tensors_are_the_average_and_moments_to_eight_bits() -> None:
    tensors = after_steps(40)
    small = packed(tensors)
    assert not [name for name in small if name.startswith(("flow/", "buffer/"))]
    found = unpacked(small)
    assert {name for name in tensors if not name.startswith(("buffer/", "first/"))} == set(found)
    for name, value in found.items():
        before = tensors[name.replace("flow/", "average/")]
        if name.endswith("/square"):
            assert torch.allclose(value, before, rtol=ROUNDING, atol=1e-30), name
            assert not torch.equal(value, before)
        elif name.endswith("/mean"):
            bases = [tensors.get(name.replace("mean", f"basis_{n}")) for n in range(value.ndim)]
            one, other = turned(value, bases), turned(before, bases)
            assert torch.allclose(one, other, rtol=2 * ROUNDING, atol=4e-5 * float(other.abs().max())), name
        elif "/basis_" in name:
            assert torch.allclose(value, before, atol=4e-5), name
            assert torch.allclose(value.T @ value, torch.eye(len(value)), atol=1e-6)
        elif "/moment_" not in name:
            assert torch.equal(value, before), name


def test_moments_keep_directions_of_every_size() -> None:
    """Gradients of the six directions are a fifth of each other: their squares span seven decades."""
    tensors = after_steps(400)
    found = unpacked(packed(tensors))
    for index, dimensions in ((0, (0, 1)), (2, (0, 1, 2))):
        for n in dimensions:
            basis = tensors[f"optimizer/{index}/basis_{n}"].double()
            before, after = (
                basis.T @ both[f"optimizer/{index}/moment_{n}"].double() @ basis for both in (tensors, found)
            )
            sizes = torch.diag(before)
            assert torch.allclose(torch.diag(after), sizes, rtol=1e-3, atol=5e-8), (index, n)
            left = (after - before) / torch.sqrt(sizes[:, None] * sizes[None, :])
            assert float(left.abs().max()) < 0.2, (
                index,
                n,
            )  # what is not diagonal in the basis of ten steps ago


def test_the_next_steps_are_those_that_would_have_been_taken() -> None:
    """Within what eight bits of a moment make, over ten steps and a change of bases among them."""
    tensors, start, ends = after_steps(400), "optimizer/", []
    for state in (tensors, unpacked(packed(tensors))):
        parameters = [torch.zeros(shape, requires_grad=True) for shape in SHAPES]
        optimizer = Soap(parameters, lr=0.01, every=3)
        own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        restore_optimizer(optimizer, own)
        taken(optimizer, parameters, gradients(10, 6))
        ends.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    assert float((ends[1] - ends[0]).norm() / ends[0].norm()) < 0.03


@pytest.mark.parametrize("harm", ["not square", "no basis", "no moment"])
def test_a_basis_that_is_none_is_refused(harm) -> None:
    small = packed(after_steps(3))
    name = "optimizer/0/basis_1"
    if harm == "no moment":
        del small["optimizer/0/moment_1"]
    else:
        small[name] = small[name][:-1] if harm == "not square" else small[name] // 2
    with pytest.raises(InputError, match="pack the run again"):
        unpacked(small)


def test_a_run_goes_on_from_a_packed_checkpoint_with_its_step_and_rate(tmp_path) -> None:
    values = {**DOUBLE_WELL, "optimizer": {"steps": 9, "learning_rate": 0.01, "warmup": 2, "average": 0.7}}
    settings = {**values, "evaluation": {"every": 1, "samples": 50}, "until": {"minutes": 5.0}}
    (tmp_path / "run.yaml").write_text(dump_yaml(TrainingSettings.model_validate(settings)))
    train(tmp_path / "run.yaml", [], tmp_path / "RUN")
    place = complete_checkpoints(tmp_path / "RUN" / "checkpoints")[0]
    assert place.name == "step-00000008"
    folder = pack_checkpoint(place, tmp_path / "PACKED")
    whole, small = (load_checkpoint(one) for one in (place, folder))
    assert small.record == {**{k: v for k, v in whole.record.items() if k != "systems"}, "packed": True}
    assert json.loads((folder / "state.json").read_text())["packed"] is True
    gone = train(tmp_path / "run.yaml", ["optimizer.steps=12"], tmp_path / "NEXT", resume=str(folder))
    assert gone.steps == 12 and gone.energy_evaluations == 12 * 16
    rates = {
        run: {int(row["step"]): float(row["learning_rate"]) for row in csv.DictReader(open(path))}
        for run, path in ((run, tmp_path / run / "metrics.csv") for run in ("RUN", "NEXT"))
    }
    assert sorted(rates["NEXT"]) == [9, 10, 11, 12]
    assert rates["NEXT"][9] == pytest.approx(0.005 * (1 + np.cos(np.pi * 8 / 12)), rel=1e-6)
    assert rates["RUN"][9] == pytest.approx(0.005 * (1 + np.cos(np.pi * 8 / 9)), rel=1e-6)
    shutil.copyfile(tmp_path / "RUN" / "config.yaml", folder / "config.yaml")
    with pytest.raises(InputError, match=r"trained with another flow \(flow\.hidden"):
        train(tmp_path / "run.yaml", ["flow.hidden=12"], tmp_path / "OTHER", resume=str(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on ethane and, as energies alone, methanol."""
    place = tmp_path_factory.mktemp("packed")
    made = build_settings(
        DatasetSettings,
        {"simulation": SIMULATION, "train": [{"smiles": "CC", "name": "ethane"}]},
    )
    build_dataset(made, place / "DATA")
    alone = build_settings(DatasetSettings, {"train": [{"smiles": "CO", "name": "methanol"}]})
    build_dataset(alone, place / "ALONE", systems_only=True)
    values = {
        "dataset": [str(place / "DATA"), str(place / "ALONE")],
        "flow": {"kind": "autoregressive", "hidden": 8, "embedding": 8, "bins": 4, "encoder_blocks": 1},
        "workers": 1,
        "optimizer": {"steps": 4},
        "likelihood": {"batch_size": 6, "dispersion": 0.5},
        "reweighted": {"weight": 1.0, "fresh": 8, "batch_size": 8, "stay": 2},
        "evaluation": {"every": 4, "samples": 20},
    }
    (place / "run.yaml").write_text(dump_yaml(TrainingSettings.model_validate(values)))
    train(place / "run.yaml", [], place / "RUN")
    return place, made


def test_positions_are_rounded_by_half_a_unit() -> None:
    random = np.random.default_rng(2)
    positions = random.normal(0.0, 0.35, (7, 40, 3)) + random.normal(3.0, 5.0, (7, 1, 3))
    whole, unit = pack_positions(positions)
    assert whole.dtype == np.int16 and int(np.abs(whole).max()) == 32767 and 2e-5 < unit < 5e-5
    there = unpack_positions(whole, unit)
    moved = positions - positions.mean(axis=1, keepdims=True)
    found = there - there.mean(axis=1, keepdims=True)
    assert np.abs(found - moved).max() < 0.7 * unit  # half a unit, and that of the mean
    assert (found - moved).std() == pytest.approx(unit / np.sqrt(12), rel=0.1)
    assert np.abs(there.min(axis=1) + there.max(axis=1)).max() <= 1.01 * unit
    assert pack_positions(np.full((2, 1, 3), 4.5))[0].any() == np.False_


def test_packed_frames_are_read_as_any_trajectory(tmp_path) -> None:
    random = np.random.default_rng(5)
    made = Trajectory(
        random.normal(0.0, 0.2, (6, 5, 3)),
        random.normal(size=6),
        [300.0] * 4 + [450.0] * 2,
        [0, 1] * 3,
        "abc",
    )
    found = read_trajectory(write_trajectory(tmp_path / "MD", made, packed=True, energy_evaluations=9))
    distances = [np.linalg.norm(one.positions[:, 1:] - one.positions[:, :1], axis=2) for one in (made, found)]
    assert np.abs(distances[0] - distances[1]).max() < 5e-5
    for name in ("energies", "temperatures", "replicas"):
        assert np.array_equal(getattr(found, name), getattr(made, name))
    with np.load(tmp_path / "MD" / "frames.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files if name != "unit"}
    np.savez(tmp_path / "no_unit.npz", **kept)
    with pytest.raises(InputError, match="whole numbers as positions; expected float32"):
        read_trajectory(tmp_path / "no_unit.npz")


def test_a_packed_run_goes_on_elsewhere(run, tmp_path) -> None:
    place, made = run
    folder = pack_run(place / "RUN", tmp_path / "PACKED", frames=7)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["config.yaml", "frames", "state.json", "state.safetensors"]
    )
    shutil.copytree(place / "ALONE", tmp_path / "ALONE")
    dataset = build_dataset(made, tmp_path / "DATA", frames=folder)
    (ethane,) = dataset.of("train")
    former = Dataset.load(place / "DATA").of("train")[0]
    assert (ethane.frames, ethane.evaluations) == (3, former.evaluations) and ethane.evaluations > 0
    assert ethane.convergence["verdict"] == "packed"
    dataset.verify()
    system = MolecularSystem.load(ethane.system)
    frames = read_trajectory(ethane.data, system)
    assert len(frames) == 7 and frames.temperature_ladder.tolist() == [300.0, 450.0]
    energies = Target.from_system(system).potential.energy(torch.as_tensor(frames.positions).double())
    assert np.allclose(frames.energies, energies.numpy(), atol=1e-9)
    simulation = {**SIMULATION, "evaluations": 4 * former.evaluations}
    more = build_settings(
        DatasetSettings, {"simulation": simulation, "train": [{"smiles": "CN", "name": "methylamine"}]}
    )
    (methylamine,) = build_dataset(more, tmp_path / "MORE").of("train")
    folders = ",".join(str(tmp_path / name) for name in ("MORE", "DATA", "ALONE"))
    words = [f"dataset=[{folders}]", "optimizer.steps=6"]
    gone = train(place / "run.yaml", words, tmp_path / "RUN", resume=str(folder))
    assert gone.steps == 6
    # what made the data of either run counts in that run; what training spent goes on
    before, after = (load_model(one / "RUN").record for one in (place, tmp_path))
    spent = [one["energy_evaluations"] - one["data_evaluations"] for one in (before, after)]
    counters = json.loads((folder / "state.json").read_text())["counters"]
    assert spent == [4 * 8, 6 * 8] and counters["energy_evaluations"] == 4 * 8
    assert before["data_evaluations"] == former.evaluations > 0
    assert after["data_evaluations"] == former.evaluations + methylamine.evaluations > 3 * former.evaluations
    names = [one["name"] for one in load_model(tmp_path / "RUN").record["systems"]]
    assert names == ["methylamine", "ethane", "methanol"]
    again = build_dataset(made, tmp_path / "DATA")  # complete: nothing is simulated
    assert again.of("train")[0].convergence["verdict"] == "packed"


def test_frames_of_another_system_are_refused(run, tmp_path) -> None:
    place, made = run
    folder = pack_run(place / "RUN", tmp_path / "PACKED", frames=4)
    other = made.model_copy(update={"small_molecule_implicit": "obc2"})
    with pytest.raises(InputError, match="simulated with another system or force field"):
        build_dataset(other, tmp_path / "DATA", frames=folder)
    with pytest.raises(InputError, match="expected the folder of a packed run"):
        build_dataset(made, tmp_path / "MORE", frames=tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint"):
        pack_run(tmp_path, tmp_path / "NONE")
