"""The domain: hands, labels, isomers and closed rings, from positions and from coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from coordinate_cases import RINGS, coordinates, extreme, frames, inside_support, molecule

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.coordinates.table import OPEN_RING


@pytest.mark.parametrize("name", ["alanine", "amber-proline", "cystine", "sulfoxide", "butadiene", "alkyne"])
def test_domain_lies_in_every_roots_support(name):
    """Whatever is inside the domain has a density: in distorted geometry too, and from any root."""
    x = frames(name)
    wild = torch.cat([x + scale * torch.randn_like(x) for scale in (0.01, 0.02, 0.03) for _ in range(20)])
    ic = coordinates(name)
    inside = ic.inside(wild)
    assert inside.any() and not inside.all()
    for root in (None, 0, 3, 7):
        other = coordinates(name, root)
        assert torch.equal(other.inside(wild), inside)
        q = other.encode(wild[inside])[0]
        assert inside_support(other, q).all()


@pytest.mark.parametrize("name", ["alanine", "cystine", "steroid", "sulfoxide", "phosphate"])
def test_mirror_image_has_another_hand(name):
    ic = coordinates(name)
    mirrored = frames(name) * torch.tensor([-1.0, 1.0, 1.0])
    assert (ic.domain(mirrored) == ic.reasons.index("handedness")).all()
    q, log_det = ic.encode(mirrored)
    assert torch.isfinite(q).all() and torch.isfinite(log_det).all()
    assert not inside_support(ic, q).any()


def test_swapped_hydrogens_have_another_hand():
    system, ic = molecule("alanine"), coordinates("alanine")
    names = {(name.residue, name.atom): k for k, name in enumerate(system.atom_names)}
    one, two = names["ALA", "HB1"], names["ALA", "HB2"]
    swapped = frames("alanine").clone()
    swapped[:, [one, two]] = swapped[:, [two, one]]
    assert (ic.domain(swapped) == ic.reasons.index("handedness")).all()


@pytest.mark.parametrize(
    "name",
    ["alanine", "amber-proline", "amber-phenylalanine", "tryptophan", "histidine", "drug", "butadiene"],
)
def test_isomers_are_chosen_by_construction(name):
    """From any root the torsion that defines an isomer is a coordinate, on its half of the circle."""
    for root in (None, 0, 2, 5, 9, 11):
        ic = coordinates(name, root)
        rows = {tuple(row): k for k, row in enumerate(ic.table.atoms.tolist())}
        assert ic.graph.isomer_bonds
        for bond in ic.graph.isomer_bonds:
            row = rows.get((bond.a, bond.c, bond.p, bond.g), rows.get((bond.g, bond.p, bond.c, bond.a)))
            assert row is not None, (name, root, bond)
            middle = 0.5 * (ic.table.lower[row] + ic.table.upper[row])
            assert ic.table.upper[row] - ic.table.lower[row] == pytest.approx(np.pi)
            assert np.cos(middle) == pytest.approx(np.cos(bond.planar))


@pytest.mark.parametrize("isomers", ["reference", "free"])
def test_cis_amide_is_another_isomer(isomers):
    ic = coordinates("alanine", isomers=isomers)
    strict = coordinates("alanine")
    omega = next(
        k for k, kind in enumerate(strict.table.kind) if kind == "torsion" and not strict.table.circular[k]
    )
    q = strict.encode(frames("alanine"))[0]
    q[:, omega] -= np.pi
    x = strict.decode(q)[0]
    expected = "other isomer" if isomers == "reference" else ""
    assert {ic.reasons[k] for k in ic.domain(x).tolist()} == {expected}
    assert torch.isfinite(ic.encode(x)[1]).all()
    assert bool(ic.table.circular[omega]) == (isomers == "free")


@pytest.mark.parametrize("name", RINGS)
def test_rings_that_cannot_close_come_out_open(name):
    ic = coordinates(name)
    q = ic.encode(frames(name))[0].repeat(40, 1)
    turns = torch.tensor([kind in ("torsion", "distance", "angle") for kind in ic.table.kind])
    q = torch.where(turns, extreme(ic, len(q)), q).requires_grad_()
    x, log_det = ic.decode(q)
    assert torch.isfinite(x).all() and torch.isfinite(log_det).all()
    (x.square().sum() + log_det.sum()).backward()
    assert torch.isfinite(q.grad).all()
    closed = ic.domain(x) != ic.reasons.index("open ring")
    assert not closed.all()
    rings = torch.tensor(list(ic.graph.ring_bonds))
    length = (x[:, rings[:, 0]] - x[:, rings[:, 1]]).norm(dim=-1)
    centre = torch.tensor([ic.graph.centres.bonds[tuple(pair)] for pair in rings.tolist()])
    assert torch.equal(closed, ((length - centre).abs() <= OPEN_RING).all(1))
    again = ic.encode(x.detach())[0]
    differs = (again - q.detach()).abs().amax(1) > 1e-6
    assert not (differs & closed).any(), "a clamped row passed for a closed one"


def test_open_ring_is_reported_for_positions():
    ic, x = coordinates("amber-proline"), frames("amber-proline").clone()
    first = ic.graph.rings[0][0]
    outside = next(a for a in range(molecule("amber-proline").n_atoms) if a not in ic.graph.rings[0])
    assert ic.inside(x).all()
    x[0, first] += 0.05 * torch.tensor([1.0, 0, 0])
    x[1, outside, 0] = torch.nan
    reasons = [ic.reasons[k] for k in ic.domain(x)[:3].tolist()]
    assert reasons == ["open ring", "not finite", ""]


@pytest.mark.parametrize("name", ["alanine", "amber-proline", "cystine", "steroid", "sulfoxide", "butadiene"])
def test_the_label_tells_domains_apart_and_nothing_else(name):
    """Any frame of a domain gives its label, whatever siblings are chosen; a mirror image does not."""
    system, ic, x = molecule(name), coordinates(name), frames(name).numpy()
    for frame in x[:4]:
        assert InternalCoordinates(replace(system, reference_positions=frame)).domain_label == ic.domain_label
    free = InternalCoordinates(system, isomers="free").domain_label
    assert free.startswith("isomers: free") and free != ic.domain_label
    mirrored = InternalCoordinates(replace(system, reference_positions=x[0] * [-1.0, 1.0, 1.0])).domain_label
    assert (mirrored == ic.domain_label) == (not ic.graph.hands)


def test_the_label_of_e_and_z_differs():
    from boltzgen.system.prepare import prepare

    labels = [
        InternalCoordinates(prepare(smiles=smiles)).domain_label
        for smiles in ("C/C=C/C", r"C/C=C\C", r"C\C=C\C")
    ]
    assert labels[0] != labels[1] and labels[0] == labels[2]
