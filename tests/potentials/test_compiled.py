"""Compiled blocks against the same uncompiled, what happens without a compiler, splitting by memory."""

from __future__ import annotations

import importlib
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from callers_state import callers_state, changed

from boltzgen.errors import BoltzgenError
from boltzgen.generator import Target
from boltzgen.potentials.fast import compiled, memory
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.system.prepare import prepare
from boltzgen.training.settings import TrainingSettings, evaluations_of

CPU = torch.device("cpu")


def scattered(system, rows: int) -> torch.Tensor:
    """(rows, N, 3) nm: thermal noise around the reference, and every way in which a row can be bad."""
    generator = torch.Generator().manual_seed(2)
    x = torch.tensor(system.reference_positions)
    x = x + 0.01 * torch.randn(rows, *x.shape, dtype=torch.float64, generator=generator)
    x[3, 1, 1] = torch.nan
    x[7, 2] = x[7, 1]
    x[11] *= 1e200
    x[15, 0, 0] = torch.inf
    x[19] = 0.0
    return x


@pytest.fixture(autouse=True)
def _forget_warnings():
    compiled._warn.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(compiled.compiler_path() is None, reason="no C++ compiler")
def test_compiled_equals_uncompiled_row_by_row(butane, tmp_path, monkeypatch):
    importlib.import_module("torch._dynamo")  # what its import changes is torch's
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    potential, x = translate(butane), scattered(butane, 300)
    energy, gradient = potential.energy_and_gradient(x)
    potential.use_compiler()
    before = callers_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, slopes = potential.energy_and_gradient(x)
    differs = {name for name in changed(before, callers_state()) if not name.startswith("logger torch")}
    assert differs <= {"search path"}  # where setuptools, which the inductor imports, adds parts of its own
    assert potential._blocks.compiler.active
    assert any((tmp_path / "boltzgen" / "inductor").rglob("*.so"))
    torch.testing.assert_close(found, energy, rtol=1e-12, atol=1e-12, equal_nan=True)
    torch.testing.assert_close(slopes, gradient, rtol=1e-10, atol=1e-8)
    assert torch.isfinite(slopes).all()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    for rows in (order, order[:77], order[:1]):  # whatever stands beside a row, and however many
        again, again_slopes = potential.energy_and_gradient(x[rows])
        assert torch.equal(again.nan_to_num(nan=1e9), found[rows].nan_to_num(nan=1e9))
        assert torch.equal(again_slopes, slopes[rows])
    inputs = x.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(potential.energy(inputs).nan_to_num(0, 0, 0).sum(), inputs)
    assert torch.equal(by_autograd[order[:50]], slopes[order[:50]])
    assert potential.energy(x[:0]).shape == (0,)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(potential.energy_and_gradient(x)[1], slopes)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.skipif(compiled.compiler_path() is None, reason="no C++ compiler")
def test_every_kernel_compiles_to_the_same_energy(tmp_path, monkeypatch):
    """Bonds, angles, torsions, correction maps, pairs and Born radii, with rows that make no sense."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    system = prepare(sequence="ACE-ALA-NME", forcefield=["amber19-all.xml"], implicit="obc2")
    potential, x = translate(system), scattered(system, 140)
    energy, gradient = potential.energy_and_gradient(x)
    potential.use_compiler()
    found, slopes = potential.energy_and_gradient(x)
    assert potential._blocks.compiler.active
    assert not torch.isfinite(found[[3, 7]]).any() and torch.isfinite(found).any()
    torch.testing.assert_close(found, energy, rtol=1e-12, atol=1e-10, equal_nan=True)
    torch.testing.assert_close(slopes, gradient, rtol=1e-9, atol=1e-8)


def test_without_a_compiler_one_warning_and_the_same_energies(butane, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    potential, x = translate(butane), scattered(butane, 40)
    expected = potential.energy_and_gradient(x)
    potential.use_compiler()
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler"):
        found = potential.energy_and_gradient(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential.energy(x), potential.energy(x.float())
    for one, two in zip(expected, found, strict=True):
        assert torch.equal(one.nan_to_num(), two.nan_to_num())
    assert not potential._blocks.compiler.active
    assert decide_compilation([Target.from_system(butane).potential], 1, True, "cpu")["used"] is False


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (RuntimeError("ld: cannot find -lm\nmore"), r"RuntimeError: ld: cannot find -lm\)"),
        (1.0 + 1e-6, "differ from the others by"),
    ],
)
def test_a_compiler_that_fails_or_errs_is_not_used(butane, monkeypatch, outcome, message):
    def broken(plain, x):
        if isinstance(outcome, Exception):
            raise outcome
        return lambda block: (plain(block)[0] * outcome, None)

    monkeypatch.setattr(compiled, "_by_inductor", broken)
    monkeypatch.setattr(compiled, "can_compile", lambda device: True)
    potential, x = translate(butane), scattered(butane, 40)
    expected = potential.energy(x)
    potential.use_compiler()
    with pytest.warns(UserWarning, match=message):
        found = potential.energy(x)
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())


def test_where_compiled_energies_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.cache_folder() == tmp_path / "boltzgen" / "inductor"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compiled.cache_folder() == Path.home() / ".cache" / "boltzgen" / "inductor"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert compiled.cache_folder() == Path("/elsewhere")


def test_compiling_is_decided_by_what_a_run_will_ask_for(alanine_dipeptide, monkeypatch):
    monkeypatch.setattr("boltzgen.potentials.fast.compiled.can_compile", lambda device: True)
    target = Target.from_system(alanine_dipeptide)
    assert target.potential.compilable_rows == 2 * 22 * 21 / 2
    decisions = [decide_compilation([target.potential], n, None, "cpu")["used"] for n in (1e5, 1e7)]
    assert decisions == [False, True]
    assert target.potential._blocks.compiler is not None
    assert decide_compilation([target.potential], 1e7, False, "cpu") == {
        "asked": "no",
        "used": False,
        "expected_energy_evaluations": 10_000_000,
    }
    assert target.potential._blocks.compiler is None
    model = Target.from_model("double-well")
    assert (
        decide_compilation([model.potential], 1e12, True, "cpu")["used"] is False
    )  # nothing there to compile


def test_expected_evaluations_follow_the_schedules():
    settings = TrainingSettings.model_validate(
        {
            "system": "S",
            "reverse_kl": {"weight": [(0.0, 0.0), (0.5, 0.0), (0.6, 1.0)], "batch_size": 100},
            "optimizer": {"steps": 1000},
            "evaluation": {"every": 100, "samples": 500},
        }
    )
    assert evaluations_of(settings) == pytest.approx(1000 * 50 + 10 * 500)
    own = {"weight": 1.0, "fresh": 20, "moves": 2, "first": 300}
    further = TrainingSettings.model_validate(settings.model_dump() | {"reweighted": own})
    # The first step draws 300 in place of its 20, not beside them.
    assert evaluations_of(further) == pytest.approx(1000 * (50 + 20 * 3) + (300 - 20) * 3 + 10 * 500)


def test_peak_of_memory_is_what_lives_at_one_time():
    def work():
        one = torch.zeros(1000, 1000)
        two = one + 1  # 8 MB
        del one
        three = two.view(-1) * 2  # 8 MB
        del two
        three.mul_(2)
        torch.cat([three, three])  # 12 MB

    assert memory.peak_bytes(work, CPU) == pytest.approx(12e6)

    def with_autograd():
        x = torch.zeros(1000, 1000, requires_grad=True)
        torch.autograd.grad((x.exp() * x.sin()).sum(), x)

    assert 16e6 <= memory.peak_bytes(with_autograd, CPU) <= 32e6


def test_blocks_follow_the_measured_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2 * 1000 * 4000)
    seen: list[slice] = []

    def work(block: slice) -> None:
        seen.append(block)
        torch.zeros(block.stop - block.start, 1000)  # 4000 bytes a row

    blocks = memory.MemoryBlocks(largest=10_000)
    blocks.run(work, 2500, CPU, "key")
    assert blocks.bytes_per_row["key"] == 4000
    assert [block.stop - block.start for block in seen] == [64, 1000, 1000, 436]
    assert seen[0].start == 0 and all(a.stop == b.start for a, b in pairwise(seen))
    seen.clear()
    blocks.run(work, 1500, CPU, "key")
    assert [block.stop - block.start for block in seen] == [1000, 500]


def test_out_of_memory_halves_the_block_and_goes_on():
    done = np.zeros(500, dtype=int)

    def work(block: slice) -> None:
        if block.stop - block.start > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done[block] += 1

    memory.MemoryBlocks(largest=400).run(work, 500, CPU, "key")
    assert (done == 1).all()

    def never(block: slice) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(BoltzgenError, match="too small for one conformation"):
        memory.MemoryBlocks(largest=400).run(never, 500, CPU, "key")

    def other(block: slice) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        memory.MemoryBlocks(largest=400).run(other, 500, CPU, "key")
