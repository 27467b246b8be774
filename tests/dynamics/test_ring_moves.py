"""Moves that turn rings over: exact, keep what they must, found in every molecule that has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from boltzgen.coordinates.domain import Domain
from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics import batched_run
from boltzgen.dynamics.batched_langevin import PhasePoint
from boltzgen.dynamics.openmm_engine import ReplicaEngine, ReplicaState
from boltzgen.dynamics.ring_moves import Flip, Inversion, RingMoves, ring_move
from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.geometry import angles, dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.ring_states import torsions_around
from boltzgen.system.prepare import prepare
from boltzgen.workflows.simulation.simulate import simulate

#: SMILES, flips and inversions of nitrogens.
MOVED = {
    "methylcyclohexane": ("CC1CCCCC1", 1, 0),
    "isopropylcyclohexane": ("CC(C)C1CCCCC1", 1, 0),
    "cis-decalin": ("C1CC[C@@H]2CCCC[C@@H]2C1", 1, 0),
    "cis-hydrindane": ("C1CC[C@@H]2CCC[C@@H]2C1", 1, 0),
    "tetralin": ("c1ccc2CCCCc2c1", 1, 0),
    "cyclohexene oxide": ("C1CCC2OC2C1", 1, 0),
    "spiro[5.5]undecane": ("C1CCC2(CC1)CCCCC2", 2, 0),
    "two stereocentres": ("Cl[C@@H]1CCCC[C@H]1C", 1, 0),
    "piperidine": ("C1CCNCC1", 1, 1),
    "1,4-dimethylpiperidine": ("CN1CCC(C)CC1", 1, 1),
    "tetrahydropyran": ("C1CCOCC1", 1, 0),
    "cyclopentane": ("C1CCCC1", 1, 0),
    "cyclooctane": ("C1CCCCCCC1", 1, 0),
}

#: SMILES, and words of why.
UNMOVED = {
    "trans-decalin": ("C1CC[C@@H]2CCCC[C@H]2C1", "joined"),
    "norbornane": ("C1CC2CCC1C2", "bridged"),
    "adamantane": ("C1C2CC3CC1CC(C2)C3", "bridged"),
    "quinuclidine": ("C1CN2CCC1CC2", "bridged"),
    "quinolizidine": ("C1CCN2CCCCC2C1", "planar or inverts"),
    "perhydrophenalene": ("C1CC2CCCC3CCCC(C1)C23", "three of its rings"),
    "cyclotridecane": ("C1CCCCCCCCCCCC1", "more than 12"),
}

SHORT = {
    "temperatures": (300.0, 400.0),
    "equilibration": "0.04ps",
    "save_interval": "0.04ps",
    "exchange_interval": "0.02ps",
}


def made(smiles: str):
    return prepare(smiles=smiles, forcefield=("mmff94",))


def thermal(system, rows: int, *, width: float = 0.008, seed: int = 5) -> torch.Tensor:
    """(rows, N, 3) the reference and noise of some thermal size, nm."""
    noise = torch.randn(
        rows, system.n_atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return torch.tensor(system.reference_positions)[None] + width * noise


@pytest.mark.parametrize("name", MOVED)
def test_a_move_is_an_involution_that_keeps_the_volume_element_and_the_molecule(name):
    smiles, flips, nitrogens = MOVED[name]
    system = made(smiles)
    graph, moves = MolecularGraph.from_system(system), RingMoves.of(system)
    assert (moves.flips, len(moves) - moves.flips, moves.unmoved) == (flips, nitrogens, ())
    x = thermal(system, 4)
    bonds = np.array(system.bonds)
    for move in moves.moves:
        new = move(x)
        torch.testing.assert_close(move(new), x, rtol=0, atol=1e-12)
        jacobian = torch.autograd.functional.jacobian(lambda y, m=move: m(y[None])[0].ravel(), x[0])
        determinant = torch.linalg.det(jacobian.reshape(x[0].numel(), -1))
        assert abs(float(determinant)) == pytest.approx(1.0, abs=1e-9)
        lengths = [(y[:, bonds[:, 0]] - y[:, bonds[:, 1]]).norm(dim=-1) for y in (x, new)]
        torch.testing.assert_close(*lengths)
        assert (Domain(graph, "reference")(new) == 0).all(), "hands, labels and rings are those of the domain"
        assert (new - x).norm(dim=-1).max() > 0.02
        if isinstance(move, Flip):
            for ring in move.flip.rings:
                before, after = (dihedral_angles(y.numpy(), torsions_around(ring)) for y in (x, new))
                np.testing.assert_allclose(after, -before, atol=1e-9)
            torch.testing.assert_close(move.side(new), -move.side(x))


@pytest.mark.parametrize("name", UNMOVED)
def test_rings_that_have_no_move_are_named_with_the_reason(name):
    smiles, why = UNMOVED[name]
    moves = RingMoves.of(made(smiles))
    assert len(moves) == 0 and [why in one.why for one in moves.unmoved] == [True]


@pytest.mark.parametrize("smiles", ["c1ccccc1", "CCCC", "c1ccoc1", "c1cnc[nH]1", "C1CC1", "C1=CCC=C1"])
def test_what_is_flat_or_open_needs_no_move(smiles):
    moves = RingMoves.of(made(smiles))
    assert len(moves) == 0 and moves.unmoved == ()


@pytest.mark.parametrize(
    "name", ["methylcyclohexane", "tetrahydropyran", "two stereocentres", "cyclopentane"]
)
def test_a_ring_of_its_own_keeps_every_angle_but_for_what_leans(name):
    system = made(MOVED[name][0])
    graph, (move,) = MolecularGraph.from_system(system), RingMoves.of(system, leaning=False).moves
    bends = np.array([(a, c, p) for c, n in enumerate(graph.neighbours) for a in n for p in n if a < p])
    x = thermal(system, 3)
    np.testing.assert_allclose(angles(move(x).numpy(), bends), angles(x.numpy(), bends), atol=1e-9)
    (leaning,) = RingMoves.of(system).moves
    assert leaning.leans is not None
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(leaning.leans @ leaning.leans.mT, eye.expand_as(leaning.leans))
    assert 0.01 < (leaning.leans - eye).abs().max() < 0.2, "a few degrees"


def test_a_mirror_image_has_the_same_energy():
    """Six atoms of sulfur and nothing on them: the flip is the mirror image, to the last digits."""
    system = made("S1SSSSS1")
    (move,) = RingMoves.of(system, leaning=False).moves
    x, potential = thermal(system, 5), potential_of(system)
    torch.testing.assert_close(potential.energy(move(x)), potential.energy(x), rtol=1e-12, atol=1e-9)
    assert (move(x) - x).norm(dim=-1).max() > 0.05


def test_leaning_branches_bring_the_image_nearer_to_its_minimum():
    """Methylcyclohexane: 2.3 kT of the rise are the axial methyl's; leaning takes half of what is left."""
    system, energies = made("CC1CCCCC1"), []
    potential, x = potential_of(system), torch.tensor(system.reference_positions)[None]
    for leaning in (False, True):
        (move,) = RingMoves.of(system, leaning=leaning).moves
        energies.append(float(potential.energy(move(x)) - potential.energy(x)))
    assert 5.7 < energies[1] < energies[0] - 1.5


class _Mixture:
    """Gaussians in Cartesian coordinates that can be drawn exactly, and their energy.

    About a conformer, and either about its images or, `pushed`, the image of a Gaussian about the conformer:
    the density there is that of the way back, for a move keeps the volume element.
    """

    def __init__(self, system, moves: RingMoves, *, pushed: bool) -> None:
        centre = torch.tensor(system.reference_positions)[None]
        self.moves, self.pushed, self.generator = moves, pushed, torch.Generator().manual_seed(7)
        self.centres = torch.cat([centre, *(centre if pushed else move(centre) for move in moves.moves)])
        self.widths = torch.tensor([0.0040, 0.0042, 0.0041])[: len(self.centres)].double()
        shares = torch.tensor([0.5, 0.2, 0.3])[: len(self.centres)].double()
        self.shares = shares / shares.sum()

    def drawn(self, rows: int) -> torch.Tensor:
        which = torch.multinomial(self.shares, rows, replacement=True, generator=self.generator)
        shape = (rows, *self.centres.shape[1:])
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        x = self.centres[which] + self.widths[which][:, None, None] * noise
        return torch.stack(self._back(x), dim=1)[torch.arange(rows), which]

    def _back(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, *(move(x) if self.pushed else x for move in self.moves.moves)]

    def components(self, x: torch.Tensor) -> torch.Tensor:
        squares = (torch.stack(self._back(x), dim=1) - self.centres).square().sum(dim=(2, 3)) / self.widths**2
        return self.shares.log() - 0.5 * squares - x[0].numel() * self.widths.log()

    def energy(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return -2.5 * torch.logsumexp(self.components(x), dim=1), torch.zeros_like(x)


@pytest.mark.parametrize(
    ("smiles", "pushed", "least"),
    [
        ("CN1CCC(C)CC1", True, 1.0),
        ("C1CC[C@@H]2CCCC[C@@H]2C1", True, 2.0),
        ("CC(C)C1CCCCC1", True, 1.0),
        ("CN1CCC1", False, 0.05),
    ],
)
def test_an_exact_distribution_stays_what_it_is(smiles, pushed, least):
    """Drawn, moved ten times, and compared with the shares and with fresh draws, by ranks.

    The last one would show a Jacobian that was left out, but few of its moves are taken: noise tilts planes.
    """
    system = made(smiles)
    moves = RingMoves.of(system)
    mixture, rows = _Mixture(system, moves, pushed=pushed), 4000 if pushed else 20_000
    x, taken = mixture.drawn(rows), 0.0
    kt = torch.full((rows,), 2.5, dtype=torch.float64)
    point = PhasePoint(x, torch.zeros_like(x), *mixture.energy(x))
    for _ in range(10):
        point, yes = ring_move(point, mixture.energy, moves, kt=kt, generator=mixture.generator)
        taken += float(yes.double().mean())
    assert taken > least, "enough moves are taken for the test to tell anything"
    fresh, now = mixture.drawn(rows), point.positions
    assert ks_2samp(mixture.energy(now)[0].numpy(), mixture.energy(fresh)[0].numpy()).pvalue > 1e-4
    found, wanted = (mixture.components(y) for y in (now, fresh))
    for column, share in enumerate(mixture.shares.tolist()):
        assert ks_2samp(found[:, column].numpy(), wanted[:, column].numpy()).pvalue > 1e-4
        counted = float((found.argmax(dim=1) == column).double().mean())
        assert counted == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / rows))
    assert (mixture.components(x).argmax(dim=1) != found.argmax(dim=1)).double().mean() > 0.005


def test_a_nitrogen_inverts_by_itself():
    system = made("CN1CCC(C)CC1")
    (inversion,) = [move for move in RingMoves.of(system).moves if isinstance(move, Inversion)]
    nitrogen, (before, after), head = inversion.flip.nitrogen, inversion.flip.beside, inversion.flip.atoms[0]
    x = thermal(system, 3)
    new = inversion(x)

    def volume(y: torch.Tensor) -> torch.Tensor:
        arms = torch.stack([y[:, atom] - y[:, nitrogen] for atom in (before, after, head)], dim=1)
        return torch.linalg.det(arms)

    torch.testing.assert_close(volume(new), -volume(x))
    staying = [atom for atom in range(system.n_atoms) if atom not in inversion.flip.atoms]
    torch.testing.assert_close(new[:, staying], x[:, staying])


@pytest.mark.parametrize("engine", ["torch", "openmm"])
def test_runs_with_moves_resume_and_count_them(tmp_path, monkeypatch, engine):
    system = made("C1CCOC1")
    monkeypatch.setattr(batched_run, "BLOCK_WORK", 1.0)  # a block for each save
    of_engine = {"replicas": 4, "compile_energies": False} if engine == "torch" else {"platform": "Reference"}
    asked = {**SHORT, **of_engine, "engine": engine, "time": "0.2ps"}
    whole = simulate(system, tmp_path / "whole", ring_moves=3, **asked)
    stop = StopRequest()
    stop.ask()
    if engine == "torch":
        with pytest.raises(StoppedError):
            simulate(system, tmp_path / "parts", ring_moves=3, resume="auto", stop=stop, **asked)
    resumed = simulate(system, tmp_path / "parts", ring_moves=3, resume="auto", **asked)
    first, second = (read_trajectory(result.folder, system) for result in (whole, resumed))
    np.testing.assert_array_equal(first.positions, second.positions)
    moves, replicas = whole.ring_moves, 4 if engine == "torch" else 2
    assert moves == resumed.ring_moves and (moves.flips, moves.nitrogens) == (1, 0)
    assert moves.tried == replicas * 12 * 3 and 0 < moves.taken < moves.tried
    none = simulate(system, tmp_path / "none", ring_moves=0, **asked)
    assert none.ring_moves is None and none.to_json()["ring_moves"] is None


def test_openmm_takes_what_metropolis_takes():
    """Downhill always, uphill by chance, and what is not taken stays with its velocities."""
    system = made("C1CCOC1")
    engine = ReplicaEngine(
        system.openmm_system(), (300.0, 900.0), timestep=1e-3, friction=2.0, platform="Reference"
    )
    low = engine.minimized(np.array(system.reference_positions))
    high = low * 1.01
    velocities = np.full((2, system.n_atoms, 3), 0.25)
    engine.begin(ReplicaState(np.stack([high, low]), velocities, np.array([0, 1])), np.random.SeedSequence(1))
    rise = float(np.diff(engine.energies()[::-1])[0])
    kt = 8.314462618e-3 * 900.0
    assert engine.moved(np.stack([low, high]), np.array([0.99, 1.01 * np.exp(-rise / kt)])) == 1
    np.testing.assert_allclose(engine.state().positions, np.stack([low, low]), atol=1e-12)
    assert engine.moved(np.stack([low, high]), np.array([0.99, 0.99 * np.exp(-rise / kt)])) == 2
    np.testing.assert_allclose(engine.state().positions, np.stack([low, high]), atol=1e-12)
    np.testing.assert_array_equal(engine.state().velocities, velocities)
