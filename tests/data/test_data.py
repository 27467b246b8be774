"""`data/`: what is written can be read, and what was made elsewhere is checked first."""

from __future__ import annotations

import json
import warnings

import mdtraj
import numpy as np
import pytest
from toy_molecules import chain, halopropane

from boltzgen.data import statistics
from boltzgen.data.checks import constrained_bonds, rounding_grid, wrong_hands
from boltzgen.data.constrained import resampled_bonds, thermal_bond_lengths
from boltzgen.data.foreign import read_foreign
from boltzgen.data.record import Trajectory, joined, spaced_rows
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.errors import InputError
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.terms.bond_parameters import harmonic_bonds
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.simulation.simulate import simulate

FORMATS = ("dcd", "xtc", "trr", "h5", "nc")


@pytest.fixture(scope="module")
def molecule():
    return halopropane()


@pytest.fixture(scope="module")
def frames(molecule, tmp_path_factory):
    """60 thermal frames at 300 K, nm."""
    folder = tmp_path_factory.mktemp("halo") / "MD"
    simulate(molecule, folder, time="12ps", save_interval="0.2ps", equilibration="2ps", platform="Reference")
    return read_trajectory(folder, molecule).positions.astype(float)


@pytest.fixture
def write(molecule, tmp_path):
    """Write positions as another program would: no fingerprint, no energies."""

    def written(positions, suffix="dcd", topology=None, **cell):
        path = tmp_path / f"elsewhere.{suffix}"
        mdtraj.Trajectory(
            np.asarray(positions, np.float32), topology or molecule.mdtraj_topology(), **cell
        ).save(str(path))
        return path

    return written


def read_quietly(path, system, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read_foreign(path, system, temperature=300.0, **options)


# formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_foreign_formats(suffix, write, molecule, frames):
    path = write(frames, suffix)
    trajectory = read_quietly(path, molecule)
    tolerance = 0.00051 if suffix == "xtc" else 2e-6
    np.testing.assert_allclose(trajectory.positions, frames, atol=tolerance)
    assert np.isnan(trajectory.energies).all()
    assert (trajectory.temperatures == 300.0).all()
    assert trajectory.system_fingerprint is None
    again = read_trajectory(path, molecule, temperature=300.0) if suffix != "xtc" else trajectory
    np.testing.assert_array_equal(again.positions, trajectory.positions)


@pytest.mark.parametrize("suffix", FORMATS)
def test_truncated_files_are_refused(suffix, write, molecule, frames):
    """Cut at several places, in the header and inside frames: never read as if whole."""
    path = write(frames, suffix)
    whole = path.read_bytes()
    for fraction in (0.0, 0.011, 0.503, 0.91, 0.993):
        path.write_bytes(whole[: int(len(whole) * fraction)])
        with pytest.raises(InputError, match=r"truncated|cannot be read|no frames"):
            read_quietly(path, molecule)


def test_unknown_format_and_missing_file(tmp_path, molecule):
    (tmp_path / "a.docx").write_text("no")
    with pytest.raises(InputError, match="unknown"):
        read_quietly(tmp_path / "a.docx", molecule)
    with pytest.raises(InputError, match="no such"):
        read_quietly(tmp_path / "a.dcd", molecule)
    (tmp_path / "b.dcd").write_text("not a trajectory at all, but long enough to be taken for a header" * 4)
    with pytest.raises(InputError, match="cannot be read"):
        read_quietly(tmp_path / "b.dcd", molecule)


# checks ---------------------------------------------------------------------------------------


def test_atom_count(write, molecule, frames):
    with pytest.raises(InputError, match="atoms"):
        read_quietly(write(frames, "dcd"), chain())
    with pytest.raises(InputError, match=r"11 atoms, the system 'chain' has 5"):
        read_quietly(write(frames, "h5"), chain())


def test_atom_order_without_names(write, molecule, frames):
    """DCD has no names: fluorine and hydrogen exchanged shows in the bond lengths only."""
    order = [0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10]
    with pytest.raises(InputError, match="another order"):
        read_quietly(write(frames[:, order], "dcd"), molecule)


def test_atom_order_with_names(write, molecule, frames, tmp_path):
    order = [0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10]
    other = molecule.mdtraj_topology().subset(range(11))
    atoms = list(other.atoms)
    atoms[2].element, atoms[3].element = atoms[3].element, atoms[2].element
    with pytest.raises(InputError, match="atom 2 is F, in 'halopropane' it is H"):
        read_quietly(write(frames[:, order], "h5", other), molecule)
    pdb = tmp_path / "elsewhere.pdb"
    mdtraj.Trajectory(frames[:1, order], other).save(str(pdb))
    with pytest.raises(InputError, match="atom 2 is F"):
        read_quietly(write(frames[:, order], "dcd", other), molecule, topology=pdb)


def test_torn_molecule(write, molecule, frames):
    """One atom put into the next periodic image, in one frame and in all, with and without a cell."""
    edge = 3.0
    cell = {"unitcell_lengths": np.full((60, 3), edge), "unitcell_angles": np.full((60, 3), 90.0)}
    torn = frames.copy()
    torn[17, 10, 1] += edge
    with pytest.raises(InputError, match=r"in frame 17 the bond .* torn over a periodic boundary"):
        read_quietly(write(torn, "dcd"), molecule)
    torn[:, 10, 1] += edge
    for options in ({}, cell):
        with pytest.raises(InputError, match="torn over a periodic boundary"):
            read_quietly(write(torn, "xtc", **options), molecule)
    torn[:, 5, 0] -= edge
    with pytest.raises(InputError, match="torn over a periodic boundary"):
        read_quietly(write(torn, "dcd", **cell), molecule)


def test_handedness(write, molecule, frames):
    mirrored = frames.copy()
    mirrored[40:] *= [1, 1, -1]
    with pytest.raises(InputError, match=r"C1 \(0\) has the other hand.* in 20 of 60"):
        read_quietly(write(mirrored), molecule)
    exchanged = frames.copy()
    exchanged[:, [5, 6]] = exchanged[:, [6, 5]]
    with pytest.raises(
        InputError, match=r"C2 \(1\) has its equivalent neighbours interchanged.* in 60 of 60"
    ):
        read_quietly(write(exchanged), molecule)
    assert wrong_hands(frames, molecule) is None


def test_nan_frames(write, molecule, frames):
    broken = frames.copy()
    broken[[3, 9], 2] = np.nan
    with pytest.raises(InputError, match="2 frames, the first of them 3"):
        read_quietly(write(broken), molecule)


def test_rounding_is_warned_of(write, molecule, frames):
    with pytest.warns(UserWarning, match=r"rounded to 0.001 nm"):
        read_foreign(write(frames, "xtc"), molecule, temperature=300.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_foreign(write(frames, "dcd"), molecule, temperature=300.0)
    assert rounding_grid(np.round(frames, 4)) == 1e-4
    assert rounding_grid(np.round(frames, 2)) == 1e-2
    assert rounding_grid(frames) is None


def test_temperature_is_needed(write, molecule, frames):
    with pytest.raises(InputError, match="does not say its temperature"):
        read_foreign(write(frames), molecule)
    with pytest.raises(InputError, match="positive"):
        read_foreign(write(frames), molecule, temperature=-3.0)


def test_few_frames_are_warned_of(write, molecule, frames):
    with pytest.warns(UserWarning, match="too few"):
        read_foreign(write(frames[:4]), molecule, temperature=300.0)


# constrained bonds ----------------------------------------------------------------------------


HYDROGENS = ((0, 2), (1, 5), (1, 6), (7, 8), (7, 9))


def with_rigid_hydrogens(molecule, frames):
    """`frames` as SHAKE would leave them: bonds to hydrogen at their equilibrium length."""
    rigid = frames.copy()
    for heavy, hydrogen in HYDROGENS:
        vector = rigid[:, hydrogen] - rigid[:, heavy]
        rigid[:, hydrogen] = rigid[:, heavy] + vector * (0.109 / np.linalg.norm(vector, axis=-1))[:, None]
    return rigid


@pytest.mark.parametrize("suffix", ["dcd", "xtc"])
def test_constrained_bonds_are_found(suffix, write, molecule, frames):
    """Also under XTC's rounding, and no bond of a free run is taken for one."""
    rigid = with_rigid_hydrogens(molecule, frames)
    path = write(rigid, suffix)
    with pytest.raises(InputError, match=r"5 bonds were constrained, the first .*H3 \(2\)"):
        read_quietly(path, molecule)
    stored = mdtraj.load(str(path), top=molecule.mdtraj_topology()).xyz
    assert constrained_bonds(stored, molecule, 300.0).tolist() == [list(pair) for pair in HYDROGENS]
    assert len(constrained_bonds(frames, molecule, 300.0)) == 0


def test_resampled_on_request(write, molecule, frames):
    rigid = with_rigid_hydrogens(molecule, frames)
    path = write(rigid)
    free = read_quietly(path, molecule, resample_constrained_bonds=True, seed=5)
    again = read_quietly(path, molecule, resample_constrained_bonds=True, seed=5)
    np.testing.assert_array_equal(free.positions, again.positions)
    length = np.linalg.norm(free.positions[:, 2] - free.positions[:, 0], axis=-1)
    width = np.sqrt(GAS_CONSTANT * 300.0 / 250000.0)
    assert length.std() == pytest.approx(width, rel=0.35)
    angles = mdtraj.compute_angles(
        mdtraj.Trajectory(free.positions, molecule.mdtraj_topology()), [[2, 0, 1], [5, 1, 0]]
    )
    former = mdtraj.compute_angles(
        mdtraj.Trajectory(rigid, molecule.mdtraj_topology()), [[2, 0, 1], [5, 1, 0]]
    )
    np.testing.assert_allclose(angles, former, atol=1e-4)


def test_resampling_a_middle_bond_moves_the_smaller_side(molecule, frames):
    rng = np.random.default_rng(0)
    moved = resampled_bonds(frames, np.array([[0, 1]]), molecule, np.full(60, 300.0), rng)
    for pair in ((0, 2), (0, 4), (1, 5), (1, 7)):
        before = np.linalg.norm(frames[:, pair[0]] - frames[:, pair[1]], axis=-1)
        after = np.linalg.norm(moved[:, pair[0]] - moved[:, pair[1]], axis=-1)
        np.testing.assert_allclose(after, before, atol=1e-6)
    assert not np.allclose(np.linalg.norm(moved[:, 0] - moved[:, 1], axis=-1), 0.153, atol=1e-4)


def test_bond_lengths_have_the_exact_distribution():
    """A soft bond: mean and variance by quadrature.

    Power: without the b^2 the mean would be off by more than 40 standard errors.
    """
    length, constant, count = 0.12, 4000.0, 40_000
    drawn = thermal_bond_lengths(length, constant, np.full(count, 400.0), np.random.default_rng(1))
    b = np.linspace(1e-5, 0.5, 100_001)
    p = b**2 * np.exp(-0.5 * constant * (b - length) ** 2 / (GAS_CONSTANT * 400.0))
    p /= p.sum()
    mean, variance = b @ p, (b**2) @ p - (b @ p) ** 2
    error = np.sqrt(variance / count)
    assert abs(length - mean) > 40 * error
    assert abs(drawn.mean() - mean) < 4 * error
    assert drawn.var() == pytest.approx(variance, rel=0.03)


def test_harmonic_bonds_add_up():
    import openmm

    molecule = chain()
    system = openmm.XmlSerializer.deserialize(molecule.system_xml)
    extra = openmm.HarmonicBondForce()
    extra.addBond(1, 0, 0.19, 1000.0)
    extra.addBond(3, 4, 0.2, 0.0)
    system.addForce(extra)
    doubled = type(molecule)(
        "doubled",
        molecule.atomic_numbers,
        molecule.masses,
        molecule.bonds,
        molecule.reference_positions,
        openmm.XmlSerializer.serialize(system),
        molecule.topology_pdb,
    )
    terms = harmonic_bonds(doubled)
    assert terms[(0, 1)] == pytest.approx(((0.15 * 3000 + 0.19 * 1000) / 4000, 4000.0))
    assert terms[(3, 4)] == pytest.approx((0.16, 3600.0))


# the record and its folders -------------------------------------------------------------------


@pytest.fixture
def record():
    rng = np.random.default_rng(2)
    return Trajectory(
        rng.normal(size=(12, 5, 3)),
        rng.normal(size=12),
        np.repeat([300.0, 450.0], 6),
        rng.integers(0, 2, size=12),
        chain().fingerprint,
        {"energy@300K": 1.4, "torsions@300K": 2.5, "energy@450K": 1.0},
    )


def test_compact_form(tmp_path, record):
    write_trajectory(tmp_path / "MD", record, seed=3)
    loaded = read_trajectory(tmp_path / "MD", chain())
    for name in ("positions", "energies", "temperatures", "replicas"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(record, name))
    assert loaded.positions.dtype == np.float32
    assert loaded.statistical_inefficiency == record.statistical_inefficiency
    assert json.loads((tmp_path / "MD" / "manifest.json").read_text())["seed"] == 3


def test_slices_keep_rows_together(record):
    cold = record.at(300)
    assert len(cold) == 6
    assert cold.statistical_inefficiency == {"energy@300K": 1.4, "torsions@300K": 2.5}
    chosen = record[np.array([7, 2])]
    np.testing.assert_array_equal(chosen.energies, record.energies[[7, 2]])
    np.testing.assert_array_equal(chosen.positions, record.positions[[7, 2]])
    with pytest.raises(InputError, match="has 300, 450 K"):
        record.at(310)
    with pytest.raises(InputError, match="as many energies"):
        Trajectory(np.zeros((3, 2, 3)), np.zeros(2), np.zeros(3), np.zeros(3))
    np.testing.assert_array_equal(joined([cold, record.at(450)]).energies, record.energies)


@pytest.mark.parametrize("count", [4100, 4196, 4352, 3999])
def test_spaced_rows_stay_inside(count):
    """4100 rows in steps of 4100 / 4000 end at 4100 by rounding; an index beyond the last row is none."""
    rows = spaced_rows(count, count / 4000)
    assert rows[0] == 0 and rows[-1] < count and len(rows) in (count, 4000)


def test_decorrelated_rows(record):
    rows = record.decorrelated()
    np.testing.assert_array_equal(rows.energies, record.energies[[0, 2, 5, 6, 7, 8, 9, 10, 11]])


def test_bad_folders(tmp_path, record):
    with pytest.raises(InputError, match="no such trajectory"):
        read_trajectory(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no manifest\.json"):
        read_trajectory(tmp_path / "empty")
    folder = write_trajectory(tmp_path / "MD", record)
    with pytest.raises(InputError, match="5 atoms, the system 'halopropane' has 11"):
        read_trajectory(folder, halopropane())
    manifest = json.loads((folder / "manifest.json").read_text())

    def rewritten(**changes):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        return folder

    with pytest.raises(InputError, match="another system or force field"):
        read_trajectory(rewritten(system={"fingerprint": "0" * 64}), chain())
    with pytest.raises(InputError, match=r"promises 7 frames at 300 K, the files hold 6"):
        read_trajectory(rewritten(frames={"300": 7}))
    with pytest.raises(InputError, match="schema"):
        read_trajectory(rewritten(schema="boltzgen.trajectory/99"))
    with pytest.raises(InputError, match="failed"):
        read_trajectory(rewritten(status="failed", reason="it blew up"))
    rewritten()
    packed = (folder / "frames.npz").read_bytes()
    (folder / "frames.npz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="truncated"):
        read_trajectory(folder)


def test_pickles_are_refused(tmp_path, record):
    folder = write_trajectory(tmp_path / "MD", record)
    np.savez(folder / "frames.npz", positions=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_trajectory(folder)


# statistics -----------------------------------------------------------------------------------


def test_statistical_inefficiency_of_a_known_process():
    """An autoregressive series of correlation r has g = (1 + r) / (1 - r) exactly."""
    rng, count = np.random.default_rng(4), 150_000
    for r in (0.0, 0.6, 0.9):
        noise = rng.normal(size=count)
        series = np.empty(count)
        series[0] = noise[0]
        for t in range(1, count):
            series[t] = r * series[t - 1] + np.sqrt(1 - r * r) * noise[t]
        g = statistics.statistical_inefficiency(series)
        assert g == pytest.approx((1 + r) / (1 - r), rel=0.15)
        rows = statistics.decorrelated_rows(np.stack([series, rng.normal(size=count)]))
        assert 0.9 * count / g < len(rows) <= count / g + 1
    assert statistics.statistical_inefficiency(np.ones(100)) == 1.0
    assert statistics.statistical_inefficiency(np.arange(4.0)) == 4.0


def test_torsions(molecule, frames):
    atoms = statistics.slow_torsions(molecule)
    assert atoms.tolist() == [[3, 0, 1, 7], [0, 1, 7, 10]], "hydrogens define no torsion"
    expected = mdtraj.compute_dihedrals(mdtraj.Trajectory(frames, molecule.mdtraj_topology()), atoms)
    np.testing.assert_allclose(dihedral_angles(frames, atoms), expected, atol=1e-4)
