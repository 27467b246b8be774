"""Models and checkpoints of before: the same tensors by the names of today, and the same densities."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from flow_cases import FLOWS

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model
from boltzgen.flows.tensor_names import upgrade_tensor_names
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

#: Names of version 0.1.0 beside those of today, from a listing of its files.
BEFORE = {
    "autoregressive": {
        "encoder.enter.0.weight": "encoder.input_network.0.weight",
        "encoder.enter.2.bias": "encoder.input_network.2.bias",
        "encoder.blocks.0.merge.weight": "encoder.blocks.0.merge.weight",
        "enter.weight": "input_filter.weight",
        "shift.bias": "shift.bias",
        "trunk.1.weight": "trunk.1.weight",
        "own.bias": "per_coordinate.bias",
        "own_shift.weight": "per_coordinate_shift.weight",
        "heads.0.weight": "head.0.weight",
        "leave.1.bias": "output_weights.1.bias",
    },
    "coupling": {
        "encoder.enter.0.weight": "encoder.input_network.0.weight",
        "layers.0.enter_linear.weight": "layers.0.input_linear.weight",
        "layers.3.enter_circular.bias": "layers.3.input_circular.bias",
        "layers.2.enter_molecule.weight": "layers.2.input_molecule.weight",
        "layers.1.inner.0.weight": "layers.1.inner.0.weight",
        "layers.0.leave_linear.weight": "layers.0.output_linear.weight",
        "layers.3.leave_circular.bias": "layers.3.output_circular.bias",
    },
}

#: ``log_prob`` of distorted alanine dipeptide at 330 K by the released model, its second release.
LOG_PROB = [184.46970778250304, 184.2557850812652, 195.54848146496087, 188.86408031971422]


def named_as_before(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Today's tensors of one of our flows with the names that version 0.1.0 gave them."""
    words = [
        (r"\binput_network\b", "enter"),
        (r"^input_filter\b", "enter"),
        (r"^per_coordinate_shift\b", "own_shift"),
        (r"^per_coordinate\b", "own"),
        (r"^head\b", "heads"),
        (r"^output_weights\b", "leave"),
        (r"\binput_(?=linear|circular|molecule)", "enter_"),
        (r"\boutput_(?=linear|circular)", "leave_"),
    ]
    found = {}
    for name, value in tensors.items():
        for new, old in words:
            name = re.sub(new, old, name)
        found[name] = value
    return found


@pytest.mark.parametrize("kind", BEFORE)
def test_every_tensor_of_before_has_its_place(kind):
    tensors = build_flow(FLOWS[kind], seed=4).state_dict()
    before = named_as_before(tensors)
    assert {old: new for old, new in BEFORE[kind].items() if old not in before} == {}
    again = upgrade_tensor_names(before)
    assert list(again) == list(tensors)
    assert all(again[name] is tensors[name] for name in tensors)
    assert all(again[new] is before[old] for old, new in BEFORE[kind].items())
    assert upgrade_tensor_names(again) == again


def test_names_of_other_flows_stay():
    tensors = {"own.weight": torch.ones(2), "enter.0.bias": torch.ones(3), "leave.1": torch.ones(1)}
    assert list(upgrade_tensor_names(tensors)) == list(tensors)


def test_the_released_model_has_the_densities_of_its_release():
    """Bit for bit on the machine that wrote them; the network of the model is float32."""
    target = Target.from_system(MolecularSystem.load("example:alanine-dipeptide-fab"))
    generator = BoltzmannGenerator(load_model(Path("peptides-ff14sb-obc1")).flow, target)
    noise = torch.randn(
        8, *target.reference.shape[1:], generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found, reasons = generator.log_prob((target.reference + 0.004 * noise)[:4], 330.0)
    assert set(reasons) == {""}
    assert found.tolist() == pytest.approx(LOG_PROB, abs=2e-3)


def test_a_checkpoint_of_before_is_read(tmp_path):
    flow = build_flow(FLOWS["autoregressive"], seed=4).state_dict()
    before = {
        f"{part}/{k}": v.clone() for part in ("flow", "average") for k, v in named_as_before(flow).items()
    }
    buffers = {"0/1/energy": torch.rand(3), "1/0/log_q": torch.rand(2)}
    before |= {f"buffer/{k}": v for k, v in buffers.items()} | {"optimizer/0/mean": torch.rand(2)}
    place = save_checkpoint(tmp_path, 3, Checkpoint(before, {}))
    state = json.loads((place / "state.json").read_text())
    old = {key: value for key, value in state.items() if key not in ("files", "content_sha256")}
    (place / "state.json").write_text(json.dumps({**old, "schema": "boltzgen.checkpoint/1"}))
    found = load_checkpoint(place)
    for part in ("flow", "average"):
        assert set(found.part(part)) == set(flow)
        assert all(torch.equal(found.part(part)[name], flow[name]) for name in flow)
    assert {k: v.tolist() for k, v in found.part("buffer/reweighted").items()} == {
        k: v.tolist() for k, v in buffers.items()
    }
    assert torch.equal(found.tensors["optimizer/0/mean"], before["optimizer/0/mean"])
    again = load_checkpoint(save_checkpoint(tmp_path, 4, Checkpoint(found.tensors, {})))
    assert set(again.tensors) == set(found.tensors)
