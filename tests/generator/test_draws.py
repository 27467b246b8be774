"""What a seed means: rows that depend on the seed and their number alone, and are still draws of the flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from flow_cases import random_flow
from scipy.stats import kstest
from torch import Tensor

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.errors import InputError
from boltzgen.flows import blocks
from boltzgen.flows.base import Flow
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.base import Potential

TEMPERATURE = 341.0

#: Rows of a block of each molecule (alanine's made smaller: that is quicker), and of rows held together.
BLOCK, HELD = {"butane": 1024, "alanine": 256}, (1, 64, 257, 1000, 5000)

KINDS = ("coupling", "autoregressive", "mixture", "costly")


class Costly(Potential):
    """Another potential that says so, counts, and rounds no row otherwise for being alone, as hybrids do."""

    def __init__(self, inner: Potential) -> None:
        super().__init__()
        self.inner, self.sizes = inner, list[int]()

    @property
    def slow(self) -> bool:
        return True

    def energy(self, positions: Tensor) -> Tensor:
        self.sizes.append(len(positions))
        several = positions if len(positions) > 1 else positions.repeat(2, *[1] * (positions.dim() - 1))
        return self.inner.energy(several)[: len(positions)]


def generator_of(kind: str, name: str, molecule) -> BoltzmannGenerator:
    target = Target.from_system(molecule)
    flow: Flow = random_flow("coupling" if kind == "coupling" else "autoregressive", name)
    if kind == "mixture":
        flow = TemperatureMixture(flow, (300.0, 300.0, 600.0))
    if kind == "costly":
        target = replace(target, potential=Costly(target.potential))
    return BoltzmannGenerator(flow, target)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=["butane", "alanine"])
def generator(request, kind, butane, alanine_dipeptide) -> Iterator[BoltzmannGenerator]:
    molecule = {"butane": butane, "alanine": alanine_dipeptide}[request.param]
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "alanine":
            patch.setattr("boltzgen.generator.LARGEST_BLOCK", BLOCK[request.param])
        generator = generator_of(kind, request.param, molecule)
        assert generator.target.block_rows() == BLOCK[request.param]
        yield generator


@pytest.fixture(scope="module")
def block(generator) -> int:
    return generator.target.block_rows()


@pytest.fixture(scope="module")
def whole(generator, block) -> Ensemble:
    """Two blocks and some rows of the third."""
    return generator.sample(2 * block + 52, TEMPERATURE, seed=7)


def content(ensemble: Ensemble, rows: slice = slice(None)) -> dict[str, bytes]:
    """The bytes of every column, and the reasons as one text: their width follows the longest."""
    columns = {name: getattr(ensemble, name)[rows] for name in ("positions", "log_q", "u", "log_w")}
    return {
        **{name: values.tobytes() for name, values in columns.items()},
        "reason": "|".join(ensemble.reason[rows]).encode(),
    }


def held(parts: Iterator[Ensemble]) -> tuple[list[int], Ensemble]:
    found = list(parts)
    return [len(part) for part in found], concatenate(found)


@pytest.mark.parametrize("rows", HELD)
def test_no_byte_depends_on_how_many_rows_are_held(generator, whole, block, kind, rows):
    sizes, ensemble = held(generator.draw(len(whole), TEMPERATURE, seed=7, rows=rows))
    assert content(ensemble) == content(whole)
    if kind == "costly":
        assert max(sizes) < rows + block
    else:
        together = -(-rows // block) * block
        assert sizes == [min(together, len(whole) - start) for start in range(0, len(whole), together)]


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_fewer_samples_are_the_first_of_more(generator, whole, block, beyond):
    for number in (2 + beyond, block + beyond):
        assert content(generator.sample(number, TEMPERATURE, seed=7)) == content(whole, slice(number))


def test_parts_of_one_draw_join_to_the_whole(generator, whole, block):
    """Blocks 0, 1 and what is wanted of block 2, each for itself, as other machines would draw them."""
    sizes = (block, block, len(whole) - 2 * block)
    parts = [
        concatenate(list(generator.draw(size, TEMPERATURE, seed=7, first_block=number)))
        for number, size in enumerate(sizes)
    ]
    assert content(concatenate(parts)) == content(whole)
    across = concatenate(list(generator.draw(len(whole) - block, TEMPERATURE, seed=7, first_block=1)))
    assert content(across) == content(whole, slice(block, None))


def test_seeds_and_blocks_have_nothing_in_common(generator, whole, block):
    """Correlations of each coordinate, row by row, of blocks 0 and 1 and of other seeds: |r| < 4.5 sd."""
    values = generator.target.coordinates.encode(torch.as_tensor(np.array(whole.positions)).double())[0]
    first, second = values[:block], values[block : 2 * block]
    for seed in (0, 8, 7 + 2**32):
        other = generator.sample(block, TEMPERATURE, seed=seed)
        found = generator.target.coordinates.encode(torch.as_tensor(np.array(other.positions)).double())[0]
        assert not np.isin(other.log_q, whole.log_q).any()
        assert largest_correlation(first, found) < 4.5 / block**0.5
    assert largest_correlation(first, second) < 4.5 / block**0.5


def largest_correlation(one: Tensor, two: Tensor) -> float:
    """Largest |r| over the columns, of ranks (which no outlier can rule)."""
    ranks = [values.argsort(dim=0).argsort(dim=0).double() for values in (one, two)]
    scaled = [(rank - rank.mean(dim=0)) / rank.std(dim=0, correction=0) for rank in ranks]
    return float((scaled[0] * scaled[1]).mean(dim=0).abs().max())


def test_draws_are_those_of_the_flow(generator, whole, kind):
    """Their latents are normal and uniform over all blocks, and their density is what the flow says."""
    positions = torch.as_tensor(np.array(whole.positions), dtype=torch.float64)
    density, reasons = generator.log_prob(positions, TEMPERATURE)
    valid = whole.valid & (reasons == "")
    assert valid.mean() > 0.5
    assert np.median(np.abs(density.numpy() - whole.log_q)[valid]) < 1e-3  # positions are stored as float32
    if kind == "mixture":
        return
    values, _ = generator.target.coordinates.encode(positions)
    with torch.no_grad():
        latents, _ = generator.latent_flow.encode(values, generator.embed(TEMPERATURE, len(whole)))
    circular = generator.target.features.circular
    for column, around in zip(latents.T.numpy(), circular.tolist(), strict=True):
        law = ("uniform", (-np.pi, 2 * np.pi)) if around else ("norm", ())
        assert kstest(column[np.isfinite(column)], law[0], law[1]).pvalue > 1e-5


@pytest.mark.parametrize("kind", ["costly"], indirect=True)
def test_costly_energies_are_computed_for_the_rows_wanted(generator, block):
    potential = generator.target.potential
    for number, rows, sizes in (
        (20, None, [20]),
        (20, 1, [1] * 20),
        (block + 60, 150, [150] * (block // 150)),
    ):
        potential.sizes.clear()
        found = held(generator.draw(number, TEMPERATURE, seed=1, rows=rows))[1]
        assert potential.sizes[: len(sizes)] == sizes and sum(potential.sizes) == number
        assert found.provenance["energy_evaluations"] == found.provenance["requested"] == number


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"], indirect=True)
def test_passes_of_several_blocks_draw_the_same_samples(generator, whole, block, monkeypatch):
    """As on an accelerator: several blocks go through together, rounded otherwise; in parts as in one."""
    monkeypatch.setattr(blocks, "is_accelerator", lambda device: True)
    ensemble = generator.sample(len(whole), TEMPERATURE, seed=7)
    np.testing.assert_allclose(ensemble.positions, whole.positions, atol=1e-5)
    np.testing.assert_allclose(ensemble.log_q, whole.log_q, atol=1e-6)
    part = concatenate(list(generator.draw(len(whole) - block, TEMPERATURE, seed=7, first_block=1)))
    assert content(part) == content(ensemble, slice(block, None))


def test_blocks_of_large_molecules_are_small():
    class Sized:
        def __init__(self, dimension: int) -> None:
            self.dimension = dimension

    def rows(dimension: int) -> int:
        return replace(Target.from_model("double-well"), features=Sized(dimension)).block_rows()

    found = {dimension: rows(dimension) for dimension in (0, 1, 6, 97, 98, 123, 354, 3000, 200_000)}
    assert list(found.values()) == [1024, 1024, 1024, 1024, 512, 512, 256, 64, 64]


def test_a_seed_that_is_none_is_refused():
    generator = BoltzmannGenerator(random_flow("coupling", "butane"), Target.from_model("double-well"))
    with pytest.raises(InputError, match="give a whole number from 0"):
        generator.sample(10, TEMPERATURE, seed=-1)
