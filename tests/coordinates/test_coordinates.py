"""Internal coordinates: round trip, the square Jacobian, the choice of root, labels and tables."""

from __future__ import annotations

from dataclasses import replace

import butane
import numpy as np
import pytest
import torch
from coordinate_cases import (
    MOLECULES,
    PEPTIDES,
    SMALL,
    coordinates,
    extreme,
    frames,
    inside_support,
    molecule,
    random_turns,
    superposed_rmsd,
)
from molecules import from_smiles, relabelled

from boltzgen.coordinates import IdentityCoordinates, InternalCoordinates
from boltzgen.coordinates.base import KINDS
from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare


@pytest.mark.parametrize("name", MOLECULES)
def test_round_trip_of_simulated_conformations(name):
    ic, x = coordinates(name), frames(name)
    assert ic.dimension == 3 * molecule(name).n_atoms - 6
    q, log_encode = ic.encode(x)
    y, log_decode = ic.decode(q)
    again, _ = ic.encode(y)
    assert q.shape == (len(x), ic.dimension)
    assert superposed_rmsd(x, y).max() < 1e-9
    assert (again - q).abs().max() < 1e-9
    assert (log_encode + log_decode).abs().max() < 1e-9
    assert ic.inside(x).all()
    assert inside_support(ic, q).all()


@pytest.mark.parametrize("name", MOLECULES)
def test_round_trip_of_extreme_coordinates(name):
    """Rows whose rings happen to close; for most rings these are near a real conformation."""
    ic = coordinates(name)
    wild = extreme(ic, 200)
    tame = random_turns(ic, ic.encode(frames(name))[0]).repeat(20, 1)[:400]
    q = torch.cat([wild, tame, ic.encode(frames(name))[0]])
    x, log_decode = ic.decode(q)
    assert torch.isfinite(x).all() and torch.isfinite(log_decode).all()
    closed = ic.domain(x) != ic.reasons.index("open ring")
    again, log_encode = ic.encode(x[closed])
    assert closed.sum() >= len(frames(name))
    if not ic.graph.rings:
        assert closed.all()
    assert (again - q[closed]).abs().max() < 1e-9
    assert (log_encode + log_decode[closed]).abs().max() < 1e-8


@pytest.mark.parametrize("name", MOLECULES)
def test_random_turns_stay_in_the_domain(name):
    """Bonds, angles and offsets of real conformations, torsions anywhere in their support."""
    ic = coordinates(name)
    q = random_turns(ic, ic.encode(frames(name))[0]).repeat(10, 1)
    found = {ic.reasons[k] for k in ic.domain(ic.decode(q)[0]).unique().tolist()}
    if not ic.graph.rings:
        assert found == {""}
    assert "not finite" not in found


def euler_rotation(angles: torch.Tensor) -> torch.Tensor:
    """Rz(alpha) Ry(beta) Rz(gamma)."""
    (ca, cb, cg), (sa, sb, sg) = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(ca), torch.ones_like(ca)

    def around_z(c, s):
        return torch.stack([c, -s, zero, s, c, zero, zero, zero, one]).reshape(3, 3)

    around_y = torch.stack([cb, zero, sb, zero, one, zero, -sb, zero, cb]).reshape(3, 3)
    return around_z(ca, sa) @ around_y @ around_z(cg, sg)


def square_jacobian_error(ic: InternalCoordinates, q: torch.Tensor) -> float:
    """|log|det d(Cartesian)/d(translation, Euler angles, q)| - (log_det of decode + ln sin beta)|."""
    outer = torch.tensor([0.3, -0.2, 0.7, 0.4, 1.1, -2.0], dtype=torch.float64)

    def cartesian(v: torch.Tensor) -> torch.Tensor:
        x = ic.decode(v[None, 6:])[0][0]
        return (x @ euler_rotation(v[3:6]).T + v[:3]).reshape(-1)

    jacobian = torch.autograd.functional.jacobian(cartesian, torch.cat([outer, q]), vectorize=True)
    analytic = ic.decode(q[None])[1][0] + outer[4].sin().log()
    return float((torch.linalg.slogdet(jacobian).logabsdet - analytic).abs())


@pytest.mark.parametrize("name", SMALL)
def test_log_det_is_that_of_the_square_jacobian(name):
    ic = coordinates(name)
    q = ic.encode(frames(name)[-2:])[0]
    rows = [*q, *random_turns(ic, q)] if not ic.graph.rings else [*q]
    closing = extreme(ic, 2000)
    closing = closing[ic.domain(ic.decode(closing)[0]) != ic.reasons.index("open ring")][:2]
    for row in [*rows, *closing]:
        assert square_jacobian_error(ic, row) < 1e-8


@pytest.mark.parametrize("name", SMALL)
def test_density_does_not_depend_on_the_root(name):
    """d(q of one root)/d(q of another), by autograd, is the ratio of their analytic volumes."""
    ic, x = coordinates(name), frames(name)
    roots = [a for a in range(molecule(name).n_atoms)][:: max(1, molecule(name).n_atoms // 4)]
    compared = 0
    for root in roots:
        try:
            other = coordinates(name, root)
        except InputError:
            continue  # next to a nitrile every choice is straight
        assert other.placements[0].atom == root
        q, log_encode = ic.encode(x[-1:])
        r, log_other = other.encode(x[-1:])

        def change(v, other=other):
            return other.encode(ic.decode(v[None])[0])[0][0]

        jacobian = torch.autograd.functional.jacobian(change, q[0], vectorize=True)
        got = torch.linalg.slogdet(jacobian).logabsdet
        assert float((got - (log_other - log_encode)).abs()) < 1e-8
        assert torch.equal(other.domain(x), ic.domain(x))
        assert inside_support(other, r).all()
        compared += 1
    assert compared >= min(3, len(roots))


@pytest.mark.parametrize("name", ["alanine", "amber-proline", "drug", "sulfoxide", "alkyne", "macrocycle"])
def test_relabelling_changes_nothing(name):
    system, ic = molecule(name), coordinates(name)
    order = np.random.default_rng(5).permutation(system.n_atoms)
    if name in PEPTIDES:  # nonbonded terms are not relabelled by the helper: compare without them
        system = without_nonbonded(system)
        ic = InternalCoordinates(system)
    other = InternalCoordinates(relabelled(system, order))
    assert other.table.kind == ic.table.kind
    assert np.allclose(other.table.lower, ic.table.lower) and np.allclose(other.table.upper, ic.table.upper)
    q, log_det = ic.encode(frames(name))
    r, other_log_det = other.encode(frames(name)[:, order])
    assert (q - r).abs().max() < 1e-9
    assert (log_det - other_log_det).abs().max() < 1e-9


def without_nonbonded(system: MolecularSystem) -> MolecularSystem:
    import openmm

    bare = openmm.XmlSerializer.deserialize(system.system_xml)
    for index in reversed(range(bare.getNumForces())):
        if isinstance(bare.getForce(index), (openmm.NonbondedForce, openmm.GBSAOBCForce)):
            bare.removeForce(index)
    return replace(system, system_xml=openmm.XmlSerializer.serialize(bare))


def test_rigid_motion_changes_nothing():
    ic, x = coordinates("amber-phenylalanine"), frames("amber-phenylalanine")
    rotation = euler_rotation(torch.tensor([0.3, 1.2, -0.8], dtype=torch.float64))
    q, log_det = ic.encode(x)
    r, moved_log_det = ic.encode(x @ rotation.T + 1.5)
    assert (q - r).abs().max() < 1e-9
    assert (log_det - moved_log_det).abs().max() < 1e-9


def test_coordinates_agree_with_mdtraj():
    import mdtraj

    ic, x = coordinates("amber-proline"), frames("amber-proline")
    trajectory = mdtraj.Trajectory(x.numpy(), None)
    q = ic.encode(x)[0].numpy()
    for kind, measure, width in (
        ("bond", mdtraj.compute_distances, 2),
        ("angle", mdtraj.compute_angles, 3),
        ("distance", mdtraj.compute_distances, 2),
        ("torsion", mdtraj.compute_dihedrals, 4),
        ("offset", mdtraj.compute_dihedrals, 4),
    ):
        rows = [k for k, other in enumerate(ic.table.kind) if other == kind]
        expected = measure(trajectory, ic.table.atoms[rows][:, :width])
        gap = q[:, rows] - expected
        gap = gap if kind in ("bond", "distance") else (gap + np.pi) % (2 * np.pi) - np.pi
        assert len(rows) and np.abs(gap).max() < 2e-5  # mdtraj works in float32


@pytest.mark.parametrize("name", MOLECULES)
def test_table(name):
    ic, table = coordinates(name), coordinates(name).table
    assert set(table.kind) <= set(KINDS)
    assert (table.lower < table.upper).all()
    assert ((table.reference >= table.lower) & (table.reference <= table.upper)).all()
    turns = np.array([kind == "torsion" for kind in table.kind], dtype=bool)
    assert not (table.circular & ~turns).any()
    width = table.upper - table.lower
    assert np.allclose(width[table.circular], 2 * np.pi) and np.allclose(table.lower[table.circular], -np.pi)
    hands = {hand.centre for hand in ic.graph.hands}
    offsets = [k for k, kind in enumerate(table.kind) if kind == "offset"]
    for k in offsets:
        assert np.isclose(width[k], np.pi if int(table.atoms[k, 1]) in hands else 2 * np.pi)
    placed = {int(a) for a in table.atoms[:, 0]} | {ic.placements[0].atom}
    assert placed == set(range(molecule(name).n_atoms))


@pytest.mark.parametrize("name", [name for name in MOLECULES if name not in ("allene", "carbon_dioxide")])
def test_no_angle_among_references_is_near_linear(name):
    """In the reference, no angle coordinate and no torsion's plane is within 15 degrees of a line."""
    ic = coordinates(name)
    x = molecule(name).reference_positions
    rows = [tuple(row) for row, kind in zip(ic.table.atoms, ic.table.kind) if kind in ("angle",)]
    rows += [tuple(row[1:]) for row in ic.table.atoms if row[3] >= 0]
    for a, c, p in (row[:3] for row in rows):
        u, v = x[a] - x[c], x[p] - x[c]
        sine = np.linalg.norm(np.cross(u, v)) / np.linalg.norm(u) / np.linalg.norm(v)
        assert sine > np.sin(np.deg2rad(14.9))


def test_torsions_of_the_backbone_are_its_own():
    """phi and psi of alanine dipeptide are coordinates, on the whole circle; omega is not circular."""
    system, table = molecule("alanine"), coordinates("alanine").table
    names = {(name.residue, name.atom): k for k, name in enumerate(system.atom_names)}
    phi = [names["ACE", "C"], names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"]]
    psi = [names["ALA", "N"], names["ALA", "CA"], names["ALA", "C"], names["NME", "N"]]
    omega = [names["ALA", "CA"], names["ALA", "C"], names["NME", "N"], names["NME", "C"]]
    rows = {tuple(row): k for k, row in enumerate(table.atoms.tolist()) if table.kind[k] == "torsion"}
    found = [rows.get(tuple(t), rows.get(tuple(t[::-1]))) for t in (phi, psi, omega)]
    assert None not in found
    assert table.circular[found].tolist() == [True, True, False]
    assert table.upper[found[2]] - table.lower[found[2]] == pytest.approx(np.pi)
    assert not table.circular[[k for k, kind in enumerate(table.kind) if kind == "offset"]].any()


def test_one_bad_row_spoils_no_other():
    ic = coordinates("amber-proline")
    x = frames("amber-proline")[:3].clone()
    good, log_good = ic.encode(x)
    x[1] = 0.0
    x[2, 4, 1] = torch.inf
    x.requires_grad_()
    q, log_det = ic.encode(x)
    assert torch.equal(q[0], good[0]) and torch.equal(log_det[0], log_good[0])
    log_det.sum().backward()
    assert torch.isfinite(x.grad[0]).all()


@pytest.mark.parametrize("name", ["alanine", "amber-proline", "alkyne"])
def test_float32_and_gradients(name):
    ic, x = coordinates(name), frames(name)
    q, log_det = ic.encode(x)
    single, log_single = ic.encode(x.float())
    assert single.dtype == log_single.dtype == torch.float32
    assert (single - q).abs().max() < 1e-4
    assert (log_single - log_det).abs().max() < 1e-3
    y, log_y = ic.decode(single)
    assert y.dtype == log_y.dtype == torch.float32
    assert superposed_rmsd(x, y.double()).max() < 1e-5
    rows = q[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(ic.decode, (rows,), atol=1e-5)
    rows = x[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(ic.encode, (rows,), atol=1e-3, rtol=1e-4)


def test_beyond_a_long_rod_the_hydrogens_behind_are_a_reference_still():
    """2,4-hexadiyne: from its far end no atom stands more than 15 degrees off the line."""
    ic, x = coordinates("rod"), frames("rod")
    q, log_encode = ic.encode(x)
    y, log_decode = ic.decode(q)
    assert ic.dimension == 3 * 12 - 6 and ic.table.kind.count("bend") == 8
    assert superposed_rmsd(x, y).max() < 1e-9 and (log_encode + log_decode).abs().max() < 1e-9
    assert square_jacobian_error(ic, q[-1]) < 1e-8


def test_straight_bend_is_no_singularity():
    """A nitrile that is exactly straight has finite coordinates, volume and gradients."""
    ic = coordinates("nitrile")
    q = ic.encode(frames("nitrile")[:1])[0]
    bends = torch.tensor([kind == "bend" for kind in ic.table.kind])
    assert bends.sum() == 2
    straight = torch.where(bends, torch.zeros_like(q), q)
    x = ic.decode(straight)[0].requires_grad_()
    again, log_det = ic.encode(x)
    assert (again - straight).abs().max() < 1e-12
    (again.sum() + log_det.sum()).backward()
    assert torch.isfinite(x.grad).all()


def test_refusals():
    with pytest.raises(InputError, match="isomers"):
        InternalCoordinates(molecule("alanine"), isomers="cis")
    with pytest.raises(UnsupportedError, match="line"):
        InternalCoordinates(from_smiles("C#C"))
    system = molecule("cyclopropane")
    stretched = system.reference_positions * 1.5
    with pytest.raises(InputError, match="open ring"):
        InternalCoordinates(replace(system, reference_positions=stretched))


def test_one_and_two_atoms():
    for smiles, dimension in (("[He]", 0), ("[H][H]", 1)):
        ic = InternalCoordinates(from_smiles(smiles))
        x = torch.tensor(molecule(smiles).reference_positions)[None].repeat(3, 1, 1)
        q, log_det = ic.encode(x)
        assert q.shape == (3, dimension) and log_det.shape == (3,)
        y, log_decode = ic.decode(q)
        assert superposed_rmsd(x, y).max() < 1e-9
        assert torch.allclose(log_det, -2 * q.log().sum(1)) and torch.allclose(log_decode, -log_det)
        assert ic.inside(x).all()


@pytest.mark.parametrize("root", [None, 1])
def test_partition_function_of_butane(root, tmp_path):
    """ln Z over the shape measure of the bonded-only butane, by importance sampling, is the exact one."""
    xml, pdb = butane.write_butane(tmp_path)
    ic = InternalCoordinates(prepare(xml, coordinates=pdb), root=root)
    temperature, rows = 300.0, 40_000
    kt = 8.31446261815324e-3 * temperature
    widths = {
        "bond": (butane.BOND_LENGTH, np.sqrt(kt / butane.BOND_CONSTANT)),
        "angle": (butane.ANGLE, np.sqrt(kt / butane.ANGLE_CONSTANT)),
    }
    q, log_q = torch.empty(rows, 6, dtype=torch.float64), torch.zeros(rows, dtype=torch.float64)
    for k, kind in enumerate(ic.table.kind):
        if kind in widths:
            normal = torch.distributions.Normal(*widths[kind])
            q[:, k] = normal.sample((rows,))
            log_q += normal.log_prob(q[:, k])
        else:
            assert kind == "torsion" and ic.table.circular[k]
            q[:, k] = 2 * np.pi * torch.rand(rows, dtype=torch.float64) - np.pi
            log_q -= np.log(2 * np.pi)
    x, log_det = ic.decode(q)
    log_w = -torch.as_tensor(butane_energy(x.numpy())) / kt + log_det - log_q
    ln_z = float(torch.logsumexp(log_w, 0) - np.log(rows))
    assert ln_z == pytest.approx(butane.EXACT[temperature][0], abs=0.03)


def butane_energy(x: np.ndarray) -> np.ndarray:
    """kJ/mol, from positions (rows, 4, 3) alone."""
    steps = np.diff(x, axis=1)
    length = np.linalg.norm(steps, axis=-1)
    energy = 0.5 * butane.BOND_CONSTANT * ((length - butane.BOND_LENGTH) ** 2).sum(1)
    for k in range(2):
        cosine = -(steps[:, k] * steps[:, k + 1]).sum(1) / length[:, k] / length[:, k + 1]
        energy += 0.5 * butane.ANGLE_CONSTANT * (np.arccos(cosine) - butane.ANGLE) ** 2
    first, second = np.cross(steps[:, 0], steps[:, 1]), np.cross(steps[:, 1], steps[:, 2])
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    phi = np.arccos(np.clip(cosine, -1, 1))
    v1, v2, v3 = (4.184 * value for value in butane.OPLS_TORSION)
    return energy + 0.5 * (v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi)))


def test_identity_coordinates():
    ic = IdentityCoordinates(3, reference=np.array([1.0, 2.0, 3.0]))
    x = torch.randn(5, 3)
    x[2, 1] = torch.nan
    assert ic.measure == "lebesgue(3)" and ic.dimension == 3
    assert ic.table.kind == ("free",) * 3 and ic.table.reference.tolist() == [1, 2, 3]
    for move in (ic.encode, ic.decode):
        value, log_det = move(x)
        assert torch.equal(value, x.clone()) or torch.isnan(value[2, 1])
        assert torch.equal(log_det, torch.zeros(5))
    assert ic.domain(x).tolist() == [0, 0, 1, 0, 0]
