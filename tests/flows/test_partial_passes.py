"""Passes that compute only what changes: the same numbers as a whole pass, for every flow."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FLOWS, random_flow
from helpers import randomised
from molecules import from_smiles

from boltzgen.conditioning.context import Context
from boltzgen.conditioning.features import model_features
from boltzgen.config.build import build_flow
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.flows import autoregressive
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare

#: A ring that closes, a bend, and a peptide with both sorts of torsions and a closing proline.
MOLECULES = {"ring": "C[C@H]1CCCO1", "nitrile": "CCC#N", "peptide": "GP"}


def follow(flow, context: Context, firsts: tuple[int, ...]) -> None:
    """Coordinates from each of `firsts` on redrawn in turn, some rows accepted: as whole passes have it."""
    generator = torch.Generator().manual_seed(4)
    embedding = flow.embed(context)
    latents, _ = flow.draw_latents(embedding, generator=generator)
    coordinates, log_det, kept = flow.decode_kept(latents, embedding)
    assert not coordinates.requires_grad
    for first in firsts:
        proposed = latents.clone()
        proposed[:, first:] = flow.draw_latents(embedding, generator=generator)[0][:, first:]
        before = coordinates.clone()
        found, change, news = flow.decode_changed(proposed, embedding, kept, first)
        expected, expected_change = flow.decode(proposed, embedding)
        assert torch.allclose(found, expected, rtol=0, atol=1e-9)
        assert torch.allclose(change, expected_change, rtol=0, atol=1e-9)
        again = flow.decode_changed(latents, embedding, kept, first)[0]  # `kept` is left as it is
        assert torch.allclose(again, before, rtol=0, atol=1e-9)
        accepted = torch.rand(len(latents), generator=generator) < 0.6
        assert 0 < int(accepted.sum()) < len(latents)
        kept = flow.keep(accepted, news, kept)
        latents = torch.where(accepted[:, None], proposed, latents)
        coordinates = torch.where(accepted[:, None], found, coordinates)
        log_det = torch.where(accepted, change, log_det)
    expected, expected_change = flow.decode(latents, embedding)
    assert torch.allclose(coordinates, expected, rtol=0, atol=1e-9)
    assert torch.allclose(log_det, expected_change, rtol=0, atol=1e-9)


def temperatures(rows: int) -> torch.Tensor:
    return torch.linspace(290.0, 510.0, rows, dtype=torch.float64)


@pytest.mark.parametrize("name", FLOWS)
def test_a_partial_pass_is_a_whole_one(name, alanine_dipeptide):
    target = Target.from_system(alanine_dipeptide)
    size = target.features.dimension
    follow(random_flow(name), Context.of(target.features, temperatures(12)), (17, 0, 33, 58, 41, size))


@pytest.fixture(scope="module")
def flow():
    settings = AutoregressiveSettings(
        hidden=24, depth=2, bins=6, embedding=16, encoder_blocks=1, degree=2, local=True
    )
    flow = build_flow(settings, seed=5).to(torch.float64)
    randomised(flow, 0.1)
    return flow


@pytest.mark.parametrize("name", MOLECULES)
def test_whatever_way_atoms_are_placed(name, flow):
    described = MOLECULES[name]
    system = prepare(sequence=described, implicit="obc1") if name == "peptide" else from_smiles(described)
    target = Target.from_system(system)
    size = target.features.dimension
    follow(flow, Context.of(target.features, temperatures(9)), (size // 2, 1, 3 * size // 4, size - 1, 4))


def test_two_molecules_and_a_model_without_atoms(flow, butane, alanine_dipeptide):
    """Rows of several molecules in turn; `first` is a row of each one's own table."""
    parts = [
        Context.of(Target.from_system(one).features, temperatures(4)) for one in (butane, alanine_dipeptide)
    ]
    context = Context.concatenate(parts)
    order = torch.tensor([6, 0, 3, 1, 5, 2, 7, 4])
    shuffled = Context(context.molecules, context.molecule[order], context.temperature[order])
    follow(flow, shuffled, (2, 40, 7))
    model = model_features("model:two", IdentityCoordinates(5), 1.3)
    follow(flow, Context.of(model, temperatures(6)), (3, 1, 4))


def test_only_later_atoms_are_drawn(flow, butane, monkeypatch):
    """The work: a pass from the last coordinate on draws one atom."""
    target = Target.from_system(butane)
    embedding = flow.embed(Context.of(target.features, temperatures(3)))
    latents, _ = flow.draw_latents(embedding, generator=torch.Generator().manual_seed(2))
    kept = flow.decode_kept(latents, embedding)[2]
    drawn, draw = [], autoregressive.draw_atom

    def noted(network, atom, *rest):
        drawn.append(atom.number)
        return draw(network, atom, *rest)

    monkeypatch.setattr(autoregressive, "draw_atom", noted)
    flow.decode_changed(latents, embedding, kept, latents.shape[1] - 1)
    assert drawn == [3]
    flow.decode_changed(latents, embedding, kept, latents.shape[1])
    assert drawn == [3]
