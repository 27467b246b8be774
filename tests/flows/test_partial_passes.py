"""Passes that compute only what changes: the same numbers as a whole pass, for every flow."""

from __future__ import annotations

import pytest
import torch
from flow_cases import FLOWS, random_flow

from boltzgen.conditioning.context import Context
from boltzgen.generator import Target


@pytest.mark.parametrize("name", FLOWS)
def test_a_partial_pass_is_a_whole_one(name, alanine_dipeptide):
    """Blocks redrawn one after another, some rows accepted each time."""
    target, flow = Target.from_system(alanine_dipeptide), random_flow(name)
    generator = torch.Generator().manual_seed(4)
    temperature = torch.linspace(290.0, 510.0, 12, dtype=torch.float64)
    embedding = flow.embed(Context.of(target.features, temperature))
    latents, _ = flow.draw_latents(embedding, generator=generator)
    coordinates, log_det, kept = flow.decode_kept(latents, embedding)
    assert not coordinates.requires_grad
    for first in (17, 0, 33, 58, 41, latents.shape[1]):
        proposed = latents.clone()
        proposed[:, first:] = flow.draw_latents(embedding, generator=generator)[0][:, first:]
        found, change, news = flow.decode_changed(proposed, embedding, kept, first)
        expected, expected_change = flow.decode(proposed, embedding)
        assert torch.allclose(found, expected, rtol=0, atol=1e-9)
        assert torch.allclose(change, expected_change, rtol=0, atol=1e-9)
        accepted = torch.rand(len(latents), generator=generator) < 0.6
        kept = flow.keep(accepted, news, kept)
        latents = torch.where(accepted[:, None], proposed, latents)
        coordinates = torch.where(accepted[:, None], found, coordinates)
        log_det = torch.where(accepted, change, log_det)
    expected, expected_change = flow.decode(latents, embedding)
    assert torch.allclose(coordinates, expected, rtol=0, atol=1e-9)
    assert torch.allclose(log_det, expected_change, rtol=0, atol=1e-9)
