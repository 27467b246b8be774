"""Compiled draws against the same uncompiled, and what happens where nothing can be compiled."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers import compile_nothing, randomised

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.flows import compiled_steps
from boltzgen.flows.autoregressive import AutoregressiveFlow, AutoregressiveSettings
from boltzgen.flows.compiled_steps import decide_compilation_of_draws
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast import compiled

SMALL = AutoregressiveSettings(
    hidden=12, depth=2, bins=5, embedding=8, encoder_blocks=1, degree=2, local=True
)


@pytest.fixture
def flow() -> AutoregressiveFlow:
    flow = build_flow(SMALL, seed=5).to(torch.float64)
    randomised(flow, 0.1)
    assert isinstance(flow, AutoregressiveFlow)
    return flow


@pytest.fixture(autouse=True)
def _nothing_compiled_yet(monkeypatch):
    monkeypatch.setattr(compiled_steps, "_FUNCTIONS", {})
    compiled._warn.cache_clear()


def passes(flow, target: Target, rows: int) -> tuple[torch.Tensor, ...]:
    """Coordinates and log_det of a whole pass, and of one from the fourth last coordinate on."""
    temperature = torch.linspace(290.0, 510.0, rows, dtype=torch.float64)
    with torch.no_grad():
        embedding = flow.embed(Context.of(target.features, temperature))
    latents, _ = flow.draw_latents(embedding, generator=torch.Generator().manual_seed(3))
    *found, kept = flow.decode_kept(latents, embedding)
    latents[:, -4:] *= 0.6
    return (*found, *flow.decode_changed(latents, embedding, kept, latents.shape[1] - 4)[:2])


def passes_in_place(flow, target: Target, rows: int) -> tuple[torch.Tensor, ...]:
    """Latents and log_det of all coordinates, and of a torsion that is drawn where all others stay."""
    temperature = torch.linspace(290.0, 510.0, rows, dtype=torch.float64)
    with torch.no_grad():
        embedding = flow.embed(Context.of(target.features, temperature))
    coordinates = target.coordinates.encode(target.reference)[0].repeat(rows, 1)
    coordinates = coordinates * torch.linspace(0.98, 1.02, rows, dtype=torch.float64)[:, None]
    latents, log_det, kept = flow.encode_kept(coordinates, embedding)
    torsion = [int(torch.nonzero(target.features.circular)[-1])]
    _, own, begun = flow.encode_rows(embedding, kept, torsion)
    found, change, kept = flow.decode_rows(0.6 * latents, embedding, begun, torsion)
    return (
        latents,
        log_det,
        own,
        found,
        change,
        flow.encode_kept(found, embedding)[0],
        kept.placed[0].positions,
    )


class AtMost:
    """`compile_operations`, which takes half a minute, for the first functions that are asked for."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, plain, inputs, changing):
        if not self.left:
            return None
        self.left -= 1
        return compiled.compile_operations(plain, inputs, changing)


#: Two seconds for each of 22 atoms and 1500 passes, less than three steps that were never compiled here.
LITTLE = [compiled_steps.Step((name, "never"), lambda: None) for name in "abc"]


@pytest.mark.parametrize(
    ("share", "asked", "steps", "used"),
    [
        (None, None, LITTLE, True),  # no limit of time: as if nothing had to be compiled, the same every time
        (1.0, None, LITTLE, False),  # 66 s saved, 90 s of compiling
        (1.0, None, LITTLE[:2], True),
        (0.5, None, LITTLE[:2], False),  # half of the passes alone, 33 s, fit into the limit
        (0.5, True, LITTLE, True),
        (1.0, False, (), False),
    ],
)
def test_under_a_limit_compiling_must_pay_within_it(
    flow, alanine_dipeptide, monkeypatch, tmp_path, share, asked, steps, used
):
    monkeypatch.setattr("boltzgen.flows.autoregressive.can_compile", lambda device: True)
    monkeypatch.setattr(compiled_steps, "FIRST_TIME", 30.0)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    molecule = Target.from_system(alanine_dipeptide).features
    assert decide_compilation_of_draws(flow, molecule, 1500, asked, share=share, steps=steps) == used


def test_steps_are_noted_before_they_are_compiled(flow, butane, monkeypatch, tmp_path):
    """They take the time of the first time until this machine knows them; a stop is heard between two."""
    made = compile_nothing(monkeypatch, tmp_path)
    target = Target.from_system(butane)
    steps = compiled_steps.steps_of(flow, lambda: passes(flow, target, 3))
    assert [step.key[0] for step in steps] == ["look", "draw"] and not made and not flow._compiled
    assert [step.seconds for step in steps] == [compiled_steps.FIRST_TIME] * 2
    assert not compiled_steps.compile_steps(steps, StopRequest(compiled_steps.FIRST_TIME - 5.0)) and not made
    stop = StopRequest(compiled_steps.FIRST_TIME + 5.0)
    assert compiled_steps.compile_steps(steps[:1], stop) and len(made) == 1 and not stop.requested
    assert [step.seconds for step in steps] == [compiled_steps.FROM_DISK, compiled_steps.FIRST_TIME]
    assert compiled_steps.compile_steps(steps, None)
    assert compiled_steps.steps_of(flow, lambda: passes(flow, target, 3)) == []


@pytest.mark.slow
@pytest.mark.skipif(compiled.compiler_path() is None, reason="no C++ compiler")
def test_compiled_draws_are_the_plain_ones(flow, butane, alanine_dipeptide, monkeypatch):
    """What was compiled for one molecule and number of rows serves others, to rounding; gradients go on.

    Two functions are enough: atoms of another shape than butane's last are drawn as before.
    """
    monkeypatch.setattr(compiled_steps, "compile_operations", at_most_two := AtMost(2))
    small, large = Target.from_system(butane), Target.from_system(alanine_dipeptide)
    cases = [(small, 5), (large, 5), (large, 1), (large, 48), (large, 601), (small, 2)]
    expected = [passes(flow, *case) for case in cases]
    assert flow.use_compiler()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for case, plain in zip(cases, expected, strict=True):
            for one, two in zip(plain, passes(flow, *case), strict=True):
                assert torch.allclose(one, two, rtol=0, atol=1e-9)
    assert at_most_two.left == 0
    assert [key[0] for key, made in compiled_steps._FUNCTIONS.items() if made is not None] == ["look", "draw"]
    embedding = flow.embed(Context.of(small.features, 350.0, 3))
    values, density = flow.sample(embedding, generator=torch.Generator().manual_seed(4))
    assert density.requires_grad
    latents, _ = flow.encode(values, embedding)
    slope = torch.autograd.grad(flow.decode(latents, embedding)[1].sum(), flow.input_filter.weight)[0]
    assert bool(torch.isfinite(slope).all())


@pytest.mark.slow
@pytest.mark.skipif(compiled.compiler_path() is None, reason="no C++ compiler")
def test_compiled_passes_in_place_are_the_plain_ones(flow, butane, alanine_dipeptide, monkeypatch):
    """Atoms are placed and looked from, and latents found, by functions that serve other molecules too."""
    monkeypatch.setattr(compiled_steps, "compile_operations", at_most_three := AtMost(3))
    small, large = Target.from_system(butane), Target.from_system(alanine_dipeptide)
    cases = [(small, 5), (large, 1), (large, 48), (large, 601)]
    expected = [passes_in_place(flow, *case) for case in cases]
    assert flow.use_compiler()
    for case, plain in zip(cases, expected, strict=True):
        for one, two in zip(plain, passes_in_place(flow, *case), strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-9)
    assert at_most_three.left == 0
    made = [key[0] for key, function in compiled_steps._FUNCTIONS.items() if function is not None]
    assert made == ["place", "look", "turn"]


@pytest.mark.parametrize("compiler", ["absent", "failing", "wrong"])
def test_draws_go_on_without_a_compiler(flow, butane, compiler, monkeypatch):
    def broken(plain, inputs, changing):
        if compiler == "failing":
            raise RuntimeError("no space left on device")
        return lambda *given: [1.01 * one for one in plain(*given)]

    target = Target.from_system(butane)
    expected = passes(flow, target, 7)
    monkeypatch.setattr(compiled, "_with_changing_sizes", broken)
    for module in ("boltzgen.flows.autoregressive", "boltzgen.potentials.fast.compiled"):
        monkeypatch.setattr(f"{module}.can_compile", lambda device: compiler != "absent")
    assert flow.use_compiler() == (compiler != "absent")
    said = {"absent": None, "failing": "Draws .*no space left", "wrong": "compiled draws differ"}[compiler]
    if said is None:
        found = passes(flow, target, 7)
    else:
        with pytest.warns(UserWarning, match=said):
            found = passes(flow, target, 7)
    assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))


def test_compiling_is_decided_by_how_much_will_be_drawn(flow, alanine_dipeptide, monkeypatch):
    monkeypatch.setattr("boltzgen.flows.autoregressive.can_compile", lambda device: True)
    mixture = TemperatureMixture(flow, [300.0, 400.0])
    molecule = Target.from_system(alanine_dipeptide).features
    cases = ((1300, None, False), (1400, None, True), (1, True, True), (1e6, False, False))
    for passes, asked, used in cases:  # of 22 atoms
        assert decide_compilation_of_draws(mixture, molecule, passes, asked) == used
        assert flow._compiled == used
    assert not decide_compilation_of_draws(build_flow(CouplingSettings(), seed=1), molecule, 1e6, True)


@pytest.mark.slow
@pytest.mark.skipif(compiled.compiler_path() is None, reason="no C++ compiler")
def test_a_size_that_may_change_stays_open(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def plain(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.exp(0.3 * one) @ other, (one * one).sum(dim=0)

    def given(rows: int) -> list[torch.Tensor]:
        random = torch.Generator().manual_seed(rows)
        return [torch.randn(rows, 6, generator=random), torch.randn(6, 4, generator=random)]

    function = compiled.compile_operations(plain, given(9), [(0,), ()])
    assert function is not None
    for rows in (2, 9, 33, 500):
        for one, two in zip(plain(*given(rows)), function(*given(rows)), strict=True):
            assert torch.allclose(one, two, rtol=1e-5, atol=1e-6)
