"""Some coordinates drawn anew, all others as they are: against whole passes and their Jacobians."""

from __future__ import annotations

import math
from itertools import chain

import pytest
import torch
from flow_cases import random_flow
from helpers import randomised
from molecules import from_smiles

from boltzgen.conditioning.context import Context
from boltzgen.conditioning.features import model_features
from boltzgen.config.build import build_flow
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare

#: A ring that closes, a bend, and a peptide with both sorts of torsions and a closing proline.
MOLECULES = {"ring": "C[C@H]1CCCO1", "nitrile": "CCC#N", "peptide": "GP"}


def temperatures(rows: int) -> torch.Tensor:
    return torch.linspace(290.0, 510.0, rows, dtype=torch.float64)


@pytest.fixture(scope="module")
def flow():
    settings = AutoregressiveSettings(
        hidden=24, depth=2, bins=6, embedding=16, encoder_blocks=1, degree=2, local=True
    )
    flow = build_flow(settings, seed=5).to(torch.float64)
    randomised(flow, 0.1)
    return flow


def atoms_and_torsions(features) -> tuple[list[list[int]], list[int]]:
    """The coordinates of each atom, and those that are torsions on the whole circle."""
    if not len(features.placements):
        return [[row] for row in range(features.dimension)], []
    atoms = [[row for row in one[3:6] if row >= 0] for one in features.placements.tolist()]
    return [own for own in atoms if own], torch.nonzero(features.circular)[:, 0].tolist()


def cases(features) -> list[list[int]]:
    """Single torsions and atoms, torsions far apart, atoms with gaps, both, a run, an end, and all."""
    atoms, torsions = atoms_and_torsions(features)
    size, count = features.dimension, len(atoms)
    middle = atoms[count // 2]
    found = [middle, atoms[-1], atoms[0], list(range(size))]
    several = [atoms[count // 3 :: 3], atoms[: count // 2], atoms[count // 2 :], atoms[2:6]]
    found += [list(chain(*some)) for some in several]
    if torsions:
        apart = [own for own in atoms[count // 2 :] if torsions[0] not in own]
        found += [torsions[:1], torsions[-1:], torsions[::2], torsions]
        found.append([*atoms[0], *torsions[:1], *chain(*apart[::2])])
    return [sorted(set(rows)) for rows in found]


def jacobians(flow, coordinates: torch.Tensor, embedding) -> torch.Tensor:
    """(B, D, D) d(latents)/d(coordinates) of whole passes, row by row of the batch."""
    x = coordinates.clone().requires_grad_()
    latents, _ = flow.encode(x, embedding)
    columns = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0] for one in latents.T]
    return torch.stack(columns, dim=1)


def follow(flow, context: Context, circular: torch.Tensor, sets: list[list[int]]) -> None:
    generator = torch.Generator().manual_seed(4)
    embedding = flow.embed(context)
    coordinates, log_q = (one.detach() for one in flow.sample(embedding, generator=generator))
    whole, _ = flow.encode(coordinates, embedding)
    slopes = jacobians(flow, coordinates, embedding)
    at = flow.encode_kept(coordinates, embedding)[2]
    begun = flow.place_kept(coordinates, embedding)
    for rows in sets[:3]:
        for one, two in zip(
            *(flow.encode_rows(embedding, kept, rows)[:2] for kept in (at, begun)), strict=True
        ):
            assert torch.equal(one, two)

    def base(latents: torch.Tensor, rows: list[int]) -> torch.Tensor:
        linear = latents[:, [row for row in rows if not circular[row]]]
        return -0.5 * (linear**2).sum(dim=1) - (
            0.5 * linear.shape[1] + sum(circular[row] for row in rows)
        ) * math.log(2 * math.pi)

    for rows in sets:
        assert flow.can_redraw(embedding, rows)
        latents, log_det, begun = flow.encode_rows(embedding, at, rows)
        assert not latents.requires_grad
        assert torch.allclose(latents[:, rows], whole[:, rows], rtol=0, atol=1e-9)
        exact = torch.linalg.slogdet(slopes[:, rows][:, :, rows])[1]
        assert torch.allclose(log_det, exact, rtol=0, atol=1e-9)
        again, change, _ = flow.decode_rows(latents, embedding, begun, rows)
        assert torch.allclose(again, coordinates, rtol=0, atol=1e-9)
        assert torch.allclose(change, -log_det, rtol=0, atol=1e-9)
        drawn, _ = flow.draw_latents(embedding, generator=generator)
        new, change, kept = flow.decode_rows(drawn, embedding, begun, rows)
        others = [row for row in range(coordinates.shape[1]) if row not in rows]
        assert torch.equal(new[:, others], coordinates[:, others])
        assert not bool((new[:, rows] == coordinates[:, rows]).any())
        found, _ = flow.encode(new, embedding)
        assert torch.allclose(found[:, rows], drawn[:, rows], rtol=0, atol=1e-8)
        back = flow.encode_rows(embedding, kept, rows)[1]
        assert torch.allclose(back, -change, rtol=0, atol=1e-9)
        anew = flow.encode_rows(embedding, flow.encode_kept(new, embedding)[2], sets[0])
        for one, two in zip(flow.encode_rows(embedding, kept, sets[0])[:2], anew[:2], strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-9)  # the kept pass knows where all atoms are
        unchanged = flow.encode_rows(embedding, at, rows)  # nothing was written into
        assert torch.equal(unchanged[1], log_det)
        if rows[0] + len(rows) == coordinates.shape[1]:  # an end: no other factor of the density changes
            gain = base(drawn, rows) - change - base(latents, rows) - log_det
            assert torch.allclose(flow.log_prob(new, embedding) - log_q, gain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [*MOLECULES, "alanine dipeptide"])
def test_rows_are_drawn_from_their_conditional_densities(name, flow, alanine_dipeptide):
    described = MOLECULES.get(name, "")
    if name == "peptide":
        system = prepare(sequence=described, implicit="obc1")
    else:
        system = from_smiles(described) if described else alanine_dipeptide
    features = Target.from_system(system).features
    follow(flow, Context.of(features, temperatures(5)), features.circular, cases(features))


def test_rows_of_a_model_system_and_of_more_rows_than_a_block(flow, monkeypatch):
    features = model_features("model:two", IdentityCoordinates(5), 1.3)
    follow(flow, Context.of(features, temperatures(6)), features.circular, [[1], [0, 3], [4], [2, 3, 4]])
    monkeypatch.setattr("boltzgen.flows.autoregressive.BLOCK_PLAIN", 4)
    features = Target.from_system(from_smiles(MOLECULES["ring"])).features
    follow(flow, Context.of(features, temperatures(9)), features.circular, cases(features)[3:7])


def test_an_encoded_pass_is_gone_on_from(flow, butane, alanine_dipeptide):
    """`encode_kept` keeps what `decode_kept` of the same latents keeps; rows of two molecules in turn."""
    parts = [
        Context.of(Target.from_system(one).features, temperatures(3)) for one in (butane, alanine_dipeptide)
    ]
    context = Context.concatenate(parts)
    order = torch.tensor([4, 0, 3, 1, 5, 2])
    embedding = flow.embed(Context(context.molecules, context.molecule[order], context.temperature[order]))
    generator = torch.Generator().manual_seed(4)
    coordinates, _ = flow.sample(embedding, generator=generator)
    expected, expected_change = flow.encode(coordinates, embedding)
    latents, log_det, kept = flow.encode_kept(coordinates, embedding)
    assert torch.allclose(latents, expected, rtol=0, atol=1e-9)
    assert torch.allclose(log_det, expected_change, rtol=0, atol=1e-9)
    for first in (2, 5, 40, latents.shape[1]):
        proposed = latents.clone()
        proposed[:, first:] = flow.draw_latents(embedding, generator=generator)[0][:, first:]
        found, change, _ = flow.decode_changed(proposed, embedding, kept, first)
        for one, two in zip((found, change), flow.decode(proposed, embedding), strict=True):
            assert torch.allclose(one, two, rtol=0, atol=1e-9)


def test_a_bad_row_harms_no_other(flow, butane):
    features = Target.from_system(butane).features
    embedding = flow.embed(Context.of(features, temperatures(4)))
    coordinates, _ = flow.sample(embedding, generator=torch.Generator().manual_seed(4))
    right = flow.encode_rows(embedding, flow.encode_kept(coordinates, embedding)[2], [3, 4, 5])[1]
    coordinates[1, 0], coordinates[2, 3] = math.nan, -1.0
    latents, log_det, begun = flow.encode_rows(
        embedding, flow.encode_kept(coordinates, embedding)[2], [3, 4, 5]
    )
    assert torch.equal(log_det[[0, 3]], right[[0, 3]])
    assert not bool(torch.isfinite(log_det[1:3]).any())
    found, *_ = flow.decode_rows(latents, embedding, begun, [3, 4, 5])
    assert torch.allclose(found[[0, 3]], coordinates[[0, 3]], rtol=0, atol=1e-9)


def test_what_cannot_be_drawn_alone(flow, alanine_dipeptide):
    """The bond or the angle of an atom, and any rows of a flow that draws all at once."""
    features = Target.from_system(alanine_dipeptide).features
    embedding = flow.embed(Context.of(features, temperatures(2)))
    atoms, torsions = atoms_and_torsions(features)
    own = next(own for own in atoms if torsions[1] in own)
    for rows in (own[:1], own[:2], own[1:], [torsions[0], own[1]]):
        assert not flow.can_redraw(embedding, rows)
    coupling = random_flow("coupling")
    embedding = coupling.embed(Context.of(features, temperatures(2)))
    assert not coupling.can_redraw(embedding, torsions[:1])
    with pytest.raises(NotImplementedError, match="CouplingFlow cannot"):
        coupling.encode_rows(embedding, None, torsions[:1])
