"""The autoregressive flow: what it sees, that both its passes agree, and that it learns.

Molecules with rings, a nitrile and a hand cover all ways to place an atom.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import randomised
from molecules import from_smiles, relabelled

from boltzgen.conditioning.context import Context
from boltzgen.conditioning.features import ORDER, PHYSICS, RINGS, model_features
from boltzgen.config.build import build_flow
from boltzgen.config.model import Model, load_model
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive import REACH, AutoregressiveFlow, AutoregressiveSettings
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare

DATA = Path(__file__).resolve().parents[2] / "boltzgen" / "demo_data" / "alanine-dipeptide" / "MD"
SMALL = AutoregressiveSettings(hidden=24, depth=2, bins=6, embedding=16, encoder_blocks=1, degree=2)

#: A saturated ring with a substituent, a nitrile (bends), two fused rings, a planar amide.
SMILES = {"ring": "C[C@H]1CCCO1", "nitrile": "CCC#N", "fused": "C1CC2CC2C1", "amide": "CC(=O)NC"}


def random_flow(dtype: torch.dtype = torch.float64, spread: float = 0.12) -> AutoregressiveFlow:
    """Weights far from where training starts."""
    flow = build_flow(SMALL, seed=5).to(dtype)
    assert isinstance(flow, AutoregressiveFlow)
    randomised(flow, spread)
    return flow


@pytest.fixture(scope="module")
def alanine(alanine_dipeptide) -> Target:
    return Target.from_system(alanine_dipeptide)


@pytest.fixture(scope="module")
def targets(alanine) -> dict[str, Target]:
    found = {name: Target.from_system(from_smiles(smiles)) for name, smiles in SMILES.items()}
    return {**found, "alanine": alanine}


def drawn(flow: AutoregressiveFlow, target: Target, rows: int, seed: int = 3):
    context = Context.of(target.features, torch.linspace(290.0, 610.0, rows, dtype=torch.float64))
    embedding = flow.embed(context)
    with torch.no_grad():
        return (*flow.sample(embedding, generator=torch.Generator().manual_seed(seed)), embedding)


@pytest.mark.parametrize("name", [*SMILES, "alanine"])
def test_atoms_are_placed_where_the_coordinates_put_them(name, targets):
    """Against `InternalCoordinates.decode`, an implementation of its own: all distances and the hand."""
    target = targets[name]
    values = drawn(build_flow(SMALL, seed=1), target, 40)[0]
    expected = target.coordinates.decode(values)[0]
    closes = target.coordinates.inside(expected)
    assert int(closes.sum()) >= 8
    positions, _ = geometry.place_all(geometry.atoms_of(target.features), values.T)
    found = torch.stack(positions).permute(2, 0, 1)
    first = target.coordinates.placements  # the order of placement
    expected = expected[:, [placement.atom for placement in first]]
    assert torch.allclose(found[closes], expected[closes], atol=1e-5)


@pytest.mark.parametrize("name", [*SMILES, "alanine"])
def test_density_of_the_drawing_pass_is_the_parallel_one(name, targets):
    flow = random_flow()
    values, density, embedding = drawn(flow, targets[name], 24)
    with torch.no_grad():
        found = flow.log_prob(values, embedding)
        base = build_flow(SMALL, seed=5).to(torch.float64)
        start = base.log_prob(values, base.embed(Context.of(targets[name].features, 350.0, 24)))
    assert torch.isfinite(density).all()
    assert float((found - density).abs().max()) < 1e-8
    assert float((start - density).abs().max()) > 4.0


def test_rows_do_not_depend_on_their_batch(targets):
    """Two molecules, padding, two temperatures, another order, a bad row: the same numbers for every row."""
    flow = random_flow()
    ring, nitrile = targets["ring"], targets["nitrile"]
    (a, density_a, _), (b, density_b, _) = drawn(flow, ring, 4), drawn(flow, nitrile, 3)
    spoiled = a.clone()
    spoiled[1, 5], spoiled[2, 0] = math.nan, -0.3
    width = a.shape[1]
    padded = torch.cat([spoiled, torch.nn.functional.pad(b, (0, width - b.shape[1]), value=99.0)])
    parts = [
        Context.of(t.features, torch.linspace(290.0, 610.0, n, dtype=torch.float64))
        for t, n in ((ring, 4), (nitrile, 3))
    ]
    context, order = Context.concatenate(parts), torch.tensor([6, 0, 3, 1, 5, 2, 4])
    shuffled = Context(context.molecules, context.molecule[order], context.temperature[order])
    density = flow.log_prob(padded[order], flow.embed(shuffled))
    expected = torch.cat([density_a, density_b])[order]
    bad = (order == 1) | (order == 2)
    assert torch.allclose(density[~bad], expected[~bad], atol=1e-9)
    assert not bool(torch.isfinite(density[bad]).any())
    density[~bad].mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in flow.parameters() if p.grad is not None)
    values, drawn_density = flow.sample(flow.embed(shuffled), generator=torch.Generator().manual_seed(1))
    assert float(values[~shuffled.mask].abs().max()) == 0.0
    assert torch.allclose(flow.log_prob(values, flow.embed(shuffled)), drawn_density, atol=1e-8)


def test_single_precision_agrees_with_itself(targets):
    flow = random_flow(torch.float32)
    values, density, embedding = drawn(flow, targets["alanine"], 24)
    with torch.no_grad():
        assert float((flow.log_prob(values, embedding) - density).abs().max()) < 2e-3


def test_the_release_draws_in_single_precision():
    """Both passes of one float32 network give a density, and nearly that of float64 (measured: 3e-5)."""
    flow = load_model(Path("peptides-ff14sb-obc1")).flow.to(torch.float32)
    target = Target.from_system(prepare(sequence="AG", implicit="obc1"))
    context = Context.of(target.features, 310.0, 300)
    with torch.no_grad():
        values, density = flow.sample(flow.embed(context), generator=torch.Generator().manual_seed(5))
        again = flow.log_prob(values, flow.embed(context))
        precise = flow.to(torch.float64)
        double = precise.log_prob(values, precise.embed(context))
    for other in (again, double):
        assert density.dtype == other.dtype == torch.float64
        assert 0.0 < float((other - density).abs().max()) < 2e-3
        assert float((other - density).std()) < 3e-4


def jacobian_of_encode(flow, target: Target, row: torch.Tensor, temperature: float) -> torch.Tensor:
    """(d, d) by autograd in one pass: copy i of the row gives the gradient of latent i."""
    copies = row.repeat(len(row), 1).requires_grad_()
    latents, _ = flow.encode(copies, flow.embed(Context.of(target.features, temperature, len(row))))
    return torch.autograd.grad(latents.diagonal().sum(), copies)[0]


@pytest.mark.parametrize("name", ["ring", "nitrile"])
def test_log_det_is_the_autograd_jacobian(name, targets):
    flow, target = random_flow(), targets[name]
    row = drawn(flow, target, 2)[0][1]
    jacobian = jacobian_of_encode(flow, target, row, 410.0)
    with torch.no_grad():
        embedding = flow.embed(Context.of(target.features, 410.0, 1))
        latents, log_det = flow.encode(row[None], embedding)
        again = flow.decode(latents, embedding)[0][0]
    assert float(log_det[0] - torch.linalg.slogdet(jacobian)[1]) == pytest.approx(0.0, abs=1e-7)
    turn = torch.where(target.features.circular, 2 * torch.sin((again - row) / 2), again - row)
    assert float(turn.abs().max()) < 1e-9


def test_conditional_of_the_last_atom_integrates_to_one(butane):
    """Quadrature over bond, angle and torsion of butane's last atom gives the density of the others.

    That one comes from the Jacobian of the others' latents alone, which ignore the last atom.
    """
    target, flow = Target.from_system(butane), random_flow(spread=0.06)
    own = geometry.atoms_of(target.features)[3].rows
    values = drawn(flow, target, 1)[0]
    bond, angle = (torch.linspace(*ends, dtype=torch.float64) for ends in ((0.13, 0.178, 25), (1.4, 2.6, 31)))
    torsion = torch.linspace(-math.pi, math.pi, 73, dtype=torch.float64)[:-1]
    grid = torch.cartesian_prod(bond, angle, torsion)
    rows = values.repeat(len(grid), 1)
    rows[:, list(own)] = grid
    with torch.no_grad():
        parts = rows.split(8000)
        joint = torch.cat(
            [flow.log_prob(x, flow.embed(Context.of(target.features, 310.0, len(x)))) for x in parts]
        )
    cell = math.prod(float(line[1] - line[0]) for line in (bond, angle, torsion))
    whole = float(torch.logsumexp(joint, 0)) + math.log(cell)
    assert whole == pytest.approx(marginal_of_earlier(flow, target, values, own), abs=5e-3)


def marginal_of_earlier(flow, target: Target, values: torch.Tensor, own: tuple[int, ...]) -> float:
    """Log density of the coordinates before the last atom's, from the log slopes of the map alone."""
    with torch.no_grad():
        embedding = flow.embed(Context.of(target.features, 310.0, 1))
        latents = flow.encode(values, embedding)[0][0]
    jacobian = jacobian_of_encode(flow, target, values[0], 310.0)
    earlier = [row for row in range(values.shape[1]) if row not in own]
    assert float(jacobian[earlier][:, list(own)].abs().max()) == 0.0  # earlier latents ignore later atoms
    latents = latents[earlier]
    base = -0.5 * float((latents**2).sum()) - 0.5 * len(earlier) * math.log(2 * math.pi)
    return base + float(torch.linalg.slogdet(jacobian[earlier][:, earlier])[1])


def test_density_of_a_model_system_integrates_to_one():
    """No atoms: each coordinate is drawn given the values of those before it."""
    features = model_features("model:two", IdentityCoordinates(2), 1.3)
    flow, line = random_flow(), torch.linspace(-12.0, 12.0, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        density = flow.log_prob(grid, flow.embed(Context.of(features, 330.0, len(grid))))
        values, own = flow.sample(
            flow.embed(Context.of(features, 330.0, 9)), generator=torch.Generator().manual_seed(2)
        )
        found = flow.log_prob(values, flow.embed(Context.of(features, 330.0, 9)))
    assert float(density.exp().sum() * (line[1] - line[0]) ** 2) == pytest.approx(1.0, abs=1e-3)
    assert torch.allclose(found, own, atol=1e-10)


@pytest.mark.parametrize("name", ["ring", "amide", "ACE-PRO-NME", "FH"])
def test_relabelling_changes_nothing(name):
    """Names and order of the atoms, and where the molecule lies in space, are nothing to the flow."""
    system = from_smiles(SMILES[name]) if name in SMILES else prepare(sequence=name, implicit="obc1")
    order = np.random.default_rng(4).permutation(system.n_atoms)
    first, second = (Target.from_system(s, isomers="free") for s in (system, relabelled(system, order)))
    flow = random_flow()
    values = drawn(flow, first, 6)[0]
    positions = first.coordinates.decode(values)[0]
    again, _ = second.coordinates.encode(positions[:, order])
    with torch.no_grad():
        expected = flow.log_prob(values, flow.embed(Context.of(first.features, 350.0, 6)))
        found = flow.log_prob(again, flow.embed(Context.of(second.features, 350.0, 6)))
    assert float((found - expected).abs().max()) < 1e-9


def test_samples_carry_gradients(targets):
    """Reverse KL needs them: one directional derivative against a difference of two samples."""
    flow, target = random_flow(), targets["nitrile"]
    context = Context.of(target.features, 350.0, 5)
    weight = flow.input_filter.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)

    def loss() -> torch.Tensor:
        values, density = flow.sample(flow.embed(context), generator=torch.Generator().manual_seed(4))
        return (density + (3.0 * values[:, 1:]).cos().sum(dim=1)).sum()

    slope = float((torch.autograd.grad(loss(), weight)[0] * direction).sum())
    ends = []
    with torch.no_grad():
        for step in (1e-5, -1e-5):
            weight.add_(step * direction)
            ends.append(float(loss()))
            weight.sub_(step * direction)
    assert abs(slope) > 0.1
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-4)


def test_it_sees_where_atoms_are_not_only_the_graph(targets):
    """A turned early torsion changes the conditional of a later atom; without positions it would not."""
    flow, target = random_flow(), targets["alanine"]
    blind = replace(target.features, placements=target.features.placements[:0])
    values = drawn(flow, target, 8)[0]
    with torch.no_grad():
        seen, unseen = (
            flow.log_prob(values, flow.embed(Context.of(features, 350.0, 8)))
            for features in (target.features, blind)
        )
    assert float((seen - unseen).abs().min()) > 1e-3


def test_training_lowers_the_held_out_likelihood(alanine):
    """Thirty steps on the shipped frames at 300 K gain four nats on frames from the end of the run."""
    with np.load(DATA / "frames.npz") as stored:
        cold = np.abs(stored["temperatures"] - 300.0) < 0.1
        positions = torch.as_tensor(stored["positions"][cold], dtype=torch.float64)
    values = alanine.coordinates.encode(positions)[0]
    train, held = values[:3000], values[-500:]
    flow = build_flow(AutoregressiveSettings(hidden=32, embedding=16, encoder_blocks=1), seed=2)
    optimizer = torch.optim.Adam(flow.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(6)

    def held_out() -> float:
        with torch.no_grad():
            return float(-flow.log_prob(held, flow.embed(Context.of(alanine.features, 300.0, 500))).mean())

    before = held_out()
    for _ in range(30):
        rows = train[torch.randint(len(train), (128,), generator=generator)]
        loss = -flow.log_prob(rows, flow.embed(Context.of(alanine.features, 300.0, len(rows)))).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
    assert held_out() < before - 4.0


def test_a_local_flow_knows_neither_the_size_nor_the_place():
    """What is beyond the reach of attention changes no embedding, nor does the place in the order."""
    molecule = Target.from_system(prepare(sequence="GGGGG", implicit="obc1")).features
    far = molecule.graph_distance[0] > REACH * SMALL.encoder_blocks
    assert 10 < int(far.sum()) < molecule.dimension - 10

    def first(local: bool, columns: range, rows: torch.Tensor) -> torch.Tensor:
        """How far the embedding of the first coordinate moves with features of `rows`."""
        encoder = build_flow(SMALL.model_copy(update={"local": local}), seed=5).double().encoder
        moved = molecule.tokens.clone()
        moved[rows, columns.start : columns.stop] += 1.0
        with torch.no_grad():
            before, after = (encoder(x, molecule.graph_distance)[0] for x in (molecule.tokens, moved))
        return (after - before).abs().max()

    everywhere = torch.ones_like(far)
    assert first(True, PHYSICS, far) == 0.0 and first(False, PHYSICS, far) > 1e-4
    assert first(True, ORDER, everywhere) == 0.0 and first(False, ORDER, everywhere) > 1e-4
    assert first(True, RINGS, everywhere) > 1e-4


def test_far_blocks_begin_as_nothing_and_then_see_what_is_far(alanine):
    """A flow that gets them has the density that it had; taught, they carry news across more bonds."""
    local = SMALL.model_copy(update={"local": True})
    flow, molecule = build_flow(local, seed=5).double(), alanine.features
    randomised(flow, 0.12)
    more = local.model_copy(update={"far_blocks": 2})
    grown = Model(flow, {"flow": local.model_dump()}).flow_of(more)
    coordinates, _, embedding = drawn(flow, alanine, 4)
    context = Context.of(molecule, torch.linspace(290.0, 610.0, 4, dtype=torch.float64))
    same = grown.log_prob(coordinates, grown.embed(context))
    torch.testing.assert_close(same, flow.log_prob(coordinates, embedding), rtol=0, atol=1e-12)
    far = molecule.graph_distance[0] > REACH * local.encoder_blocks
    moved = molecule.tokens.clone()
    moved[far, PHYSICS.start : PHYSICS.stop] += 1.0

    def first(encoder: torch.nn.Module) -> float:
        with torch.no_grad():
            before, after = (encoder(x, molecule.graph_distance)[0] for x in (molecule.tokens, moved))
        return float((after - before).abs().max())

    assert first(grown.encoder) == 0.0
    randomised(grown.encoder.far_blocks, 0.12)
    assert first(grown.encoder) > 1e-4
    assert first(build_flow(more, seed=5).double().encoder) == 0.0


def test_what_a_trained_flow_can_become():
    more = SMALL.model_copy(update={"far_blocks": 1})
    assert more.goes_on_from(SMALL) and SMALL.goes_on_from(SMALL) and not SMALL.goes_on_from(more)
    assert not more.goes_on_from(SMALL.model_copy(update={"hidden": 25}))
    assert not more.goes_on_from(CouplingSettings()) and CouplingSettings().goes_on_from(CouplingSettings())


def test_harmonics_obey_the_addition_theorem():
    """The sum over one degree of products for two directions is the Legendre polynomial of their angle."""
    drawn = torch.randn(2, 3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one, other = drawn / drawn.norm(dim=1, keepdim=True)
    cosine = (one * other).sum(0)
    found = [a * b for a, b in zip(geometry.harmonics(one, 2), geometry.harmonics(other, 2), strict=True)]
    for degree, legendre in enumerate((torch.ones_like(cosine), cosine, 1.5 * cosine**2 - 0.5)):
        torch.testing.assert_close(sum(found[degree**2 : (degree + 1) ** 2]), legendre)
    assert len(geometry.harmonics(one, 1)) == 4
    assert [geometry.n_basis(degree) for degree in (1, 2)] == [20, 45]
