"""Samples in the formats of other programs: each read back by an independent reader, weights beside rows."""

from __future__ import annotations

import csv
import json
import resource
import signal
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_cases import PDB, make, make_model, molecule, spoiled
from helpers import assert_refused

import boltzgen
from boltzgen.ensemble import Ensemble, weighted_frames
from boltzgen.ensemble.export_trajectory import mdtraj_trajectory, write_frames_dcd, write_hdf5, write_xtc
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.units import thermal_energy
from boltzgen.workflows.sampling.export import FORMATS, export
from boltzgen_cli.main import main

GOLDEN = Path(__file__).parents[1] / "golden"
TRAJECTORIES = ("mdtraj-hdf5", "dcd", "xtc", "pdb")


@pytest.fixture
def out(tmp_path):
    save_ensemble(spoiled(), tmp_path / "OUT")
    return tmp_path / "OUT"


def weights_beside(path: Path) -> dict[str, np.ndarray]:
    with open(path.with_name(path.name + ".weights.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def read_trajectory(path: Path, out: Path, format: str):
    import mdtraj

    if format == "mdtraj-hdf5":
        return mdtraj.load_hdf5(str(path))
    return mdtraj.load(str(path), top=str(out / "topology.pdb"))


# trajectories ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "suffix", "grid"),
    [("mdtraj-hdf5", "h5", 0), ("dcd", "dcd", 0), ("xtc", "xtc", 1e-3), ("pdb", "pdb", 1e-4)],
)
@pytest.mark.parametrize("equal_weight", [None, 50])
def test_mdtraj_reads_each_frame_at_the_row_of_its_weight(out, format, suffix, grid, equal_weight):
    ensemble, path = load_ensemble(out), out.parent / f"frames.{suffix}"
    result = export(out, path, format, equal_weight=equal_weight, seed=4)
    frames = read_trajectory(path, out, format)
    if format == "mdtraj-hdf5":
        import h5py

        with h5py.File(path) as file:
            rows, log_w, weight = (file[name][()] for name in ("row", "log_weight", "weight"))
    else:
        table = weights_beside(path)
        rows, log_w, weight = table["row"].astype(int), table["log_w"], table["weight"]
        assert np.array_equal(table["frame"], np.arange(len(frames)))
    assert len(frames) == len(rows) == result.frames == (equal_weight or 37)
    assert np.abs(frames.xyz - ensemble.positions[rows]).max() <= 0.51 * grid + 1e-6
    assert [a.name for a in frames.topology.atoms][:3] == ["H1", "CH3", "H2"]
    expected = ensemble.log_w[rows] if equal_weight is None else np.zeros(equal_weight)
    assert np.array_equal(log_w, expected)
    assert np.allclose(weight, np.exp(expected) / np.exp(expected).sum(), rtol=1e-12)
    if equal_weight is None:
        assert np.array_equal(rows, np.flatnonzero(ensemble.valid))


def test_what_a_reader_should_know_is_said(out):
    notes = {
        format: " ".join(export(out, out.parent / f"frames.{format}", format).notes) for format in FORMATS
    }
    assert all("3 of 40 samples were rejected" in text for text in notes.values())
    assert all("left out" in notes[name] for name in (*TRAJECTORIES, "colvar"))
    assert "log_w -inf" in notes["csv"] and "infinite energy" in notes["u_nk"]
    assert "0.001 nm" in notes["xtc"] and "0.8 kT" in notes["xtc"] and "0.8 kT" not in notes["dcd"]
    assert all("the flow's distribution, not Boltzmann's" in notes[name] for name in ("dcd", "xtc", "pdb"))
    few = export(out, out.parent / "few.dcd", "dcd", equal_weight=5)
    many = export(out, out.parent / "many.dcd", "dcd", equal_weight=500)
    assert "too small" in " ".join(many.notes) and "too small" not in " ".join(few.notes)
    assert few.distinct <= 5 and many.distinct <= 37 and many.frames == 500


def test_hdf5_matches_the_golden_file(out):
    import h5py

    def plain(value):
        return (
            value.decode() if isinstance(value, bytes) else value.item() if hasattr(value, "item") else value
        )

    export(out, out.parent / "frames.h5", "mdtraj-hdf5")
    with h5py.File(out.parent / "frames.h5") as file:
        found = {
            "attributes": {
                key: plain(value) for key, value in sorted(file.attrs.items()) if key != "programVersion"
            },
            "datasets": {
                name: [str(data.dtype.kind), list(data.shape), plain(data.attrs.get("units", b""))]
                for name, data in file.items()
            },
        }
        topology = json.loads(file["topology"][0])
    assert found == json.loads((GOLDEN / "export_hdf5.json").read_text())
    assert len(topology["bonds"]) == 21 and len(topology["chains"][0]["residues"]) == 3


def test_energies_in_hdf5_are_in_kj_per_mol(out):
    import h5py

    ensemble = load_ensemble(out)
    export(out, out.parent / "frames.h5", "mdtraj-hdf5")
    with h5py.File(out.parent / "frames.h5") as file:
        kj = file["potentialEnergy"][()]
        assert np.allclose(kj, ensemble.u[ensemble.valid] * 8.31446261815324e-3 * 310.0, rtol=1e-12)
        assert np.array_equal(file["log_q"][()], ensemble.log_q[ensemble.valid])
        assert (file.attrs["boltzgen_samples_drawn"], file.attrs["boltzgen_samples_rejected"]) == (40, 3)


def test_a_notebook_gets_a_trajectory_and_its_weights(out):
    ensemble = boltzgen.load_samples(out)
    frames, weights = mdtraj_trajectory(ensemble)
    assert frames.n_frames == len(weights) == 37 and weights.sum() == pytest.approx(1.0)
    assert np.array_equal(frames.time, np.flatnonzero(ensemble.valid))
    assert np.array_equal(weights, ensemble.weights()[ensemble.valid])
    assert ensemble.weights()[[5, 11, 20]].tolist() == [0, 0, 0]


def test_exports_need_no_second_copy_of_the_positions(tmp_path):
    n, n_atoms = 40_000, 22
    rng = np.random.default_rng(2)
    positions = rng.random((n, n_atoms, 3), dtype=np.float32)
    ensemble = Ensemble.from_densities(
        positions,
        np.zeros(n),
        rng.normal(size=n),
        temperature=300.0,
        measure="shape",
        system_fingerprint="x",
        domain="reference",
        topology_pdb="",
    )
    frames = weighted_frames(ensemble)
    topology = {"chains": [], "bonds": []}
    for write in (write_frames_dcd, lambda e, f, p: write_hdf5(e, f, p, topology), write_xtc):
        tracemalloc.start()
        write(ensemble, frames, tmp_path / "frames")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.8 * positions.nbytes  # blocks of 10 000 frames, columns of weights as text


# tables ------------------------------------------------------------------------------------------


def read_colvar(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As PLUMED's IFile reads it: fields named by the header, constants by SET, one value a field."""
    fields, constants, rows = [], {}, []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:2] == ["#!", "FIELDS"]:
            fields = words[2:]
        elif words[:2] == ["#!", "SET"]:
            constants[words[2]] = words[3]
        else:
            assert len(words) == len(fields), line
            rows.append([float(word) for word in words])
    assert np.isfinite(rows).all()
    return dict(zip(fields, np.array(rows).T, strict=True)), constants


def test_colvar_holds_what_plumed_would_calculate(out):
    import mdtraj

    ensemble = load_ensemble(out)
    export(out, out.parent / "COLVAR", "colvar")
    columns, constants = read_colvar(out.parent / "COLVAR")
    assert list(columns) == ["time", "phi", "psi", "importance.bias", "logw", "row"]
    assert constants == {"min_phi": "-pi", "max_phi": "pi", "min_psi": "-pi", "max_psi": "pi"}
    frames, _ = mdtraj_trajectory(ensemble)
    for name, compute in (("phi", mdtraj.compute_phi), ("psi", mdtraj.compute_psi)):
        turns = (columns[name] - compute(frames)[1][:, 0]) / (2 * np.pi)
        assert np.abs(turns - np.round(turns)).max() < 1e-5 and np.abs(columns[name]).max() <= np.pi
    assert np.array_equal(columns["time"], np.arange(37))
    assert np.array_equal(columns["row"], np.flatnonzero(ensemble.valid))
    # REWEIGHT_BIAS: exp(bias / kT) is the weight
    recovered = columns["importance.bias"] / thermal_energy(310.0)
    assert np.allclose(recovered, ensemble.log_w[ensemble.valid], rtol=1e-10)
    assert np.allclose(columns["logw"], ensemble.log_w[ensemble.valid], rtol=1e-10)


def test_plumed_reads_colvar(out):
    """With PLUMED's own Python module, where it is installed (it needs no kernel for this)."""
    plumed = pytest.importorskip("plumed")
    export(out, out.parent / "COLVAR", "colvar")
    frame = plumed.read_as_pandas(str(out.parent / "COLVAR"))
    columns, _ = read_colvar(out.parent / "COLVAR")
    assert list(frame.columns) == list(columns)
    assert all(np.allclose(frame[name], columns[name], rtol=1e-12) for name in columns)
    limits = {name: value for name, value, *_ in frame.plumed_constants}
    assert limits["min_phi"] == "-pi" and limits["max_psi"] == "pi"


def test_colvar_takes_declared_and_numbered_variables(out):
    declared = out.parent / "coordinates.yaml"
    declared.write_text("coordinates:\n  O-H: {distance: [5, 17]}\n  turn: {torsion: [4, 6, 8, 14]}\n")
    export(out, out.parent / "A", "colvar", variables=declared)
    columns, constants = read_colvar(out.parent / "A")
    assert list(columns)[1:3] == ["O_H", "turn"] and list(constants) == ["min_turn", "max_turn"]
    x = load_ensemble(out).positions[columns["row"].astype(int)]
    assert np.allclose(columns["O_H"], np.linalg.norm(x[:, 5] - x[:, 17], axis=1), atol=1e-6)
    export(out, out.parent / "B", "colvar", variables="phi:2, psi:2")
    assert list(read_colvar(out.parent / "B")[0])[1:3] == ["phi_2", "psi_2"]


def test_colvar_of_a_model_system_has_no_energy_column(tmp_path):
    save_ensemble(make_model(), tmp_path / "OUT")
    export(tmp_path / "OUT", tmp_path / "COLVAR", "colvar")
    columns, constants = read_colvar(tmp_path / "COLVAR")
    assert list(columns) == ["time", "x0", "x1", "logw", "row"] and constants == {}
    assert np.allclose(columns["x1"], make_model().positions[:, 1], rtol=1e-10)


def test_csv_holds_every_row_exactly(out):
    ensemble = load_ensemble(out)
    export(out, out.parent / "samples.csv", "csv", variables=["phi"])
    with open(out.parent / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "log_q", "u", "log_w", "valid", "reason", "phi"]
    for name in ("log_q", "u", "log_w"):
        assert np.array_equal([float(row[name]) for row in rows], getattr(ensemble, name))
    assert [row["reason"] for row in rows] == ensemble.reason.tolist()
    assert np.array_equal([row["valid"] == "1" for row in rows], ensemble.valid)
    assert rows[11]["phi"] == "nan" and rows[11]["log_w"] == "-inf"


def test_resampled_csv_names_the_row_of_each_frame(out):
    ensemble = load_ensemble(out)
    export(out, out.parent / "frames.csv", "csv", equal_weight=30, seed=1)
    with open(out.parent / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["u"]) for row in rows] == [ensemble.u[int(row["row"])] for row in rows]
    assert (
        len(rows) == 30
        and {row["log_w"] for row in rows} == {"0.0"}
        and {row["valid"] for row in rows} == {"1"}
    )


@pytest.mark.parametrize(
    "name", ["export.colvar", "export.csv", "export_u_nk.csv", "export.pdb", "export.weights.csv"]
)
def test_text_formats_match_the_golden_files(tmp_path, name):
    save_ensemble(small(), tmp_path / "OUT")
    distance = tmp_path / "coordinates.json"
    distance.write_text('{"coordinates": {"ends": {"distance": [0, 2]}}}')
    format = {"export.colvar": "colvar", "export.csv": "csv", "export_u_nk.csv": "u_nk"}.get(name, "pdb")
    export(
        tmp_path / "OUT",
        tmp_path / "file",
        format,
        variables=distance if format in ("colvar", "csv") else None,
        temperatures=[400.0] if format == "u_nk" else (),
    )
    written = tmp_path / ("file.weights.csv" if name == "export.weights.csv" else "file")
    assert_same_text(written.read_text(), (GOLDEN / name).read_text())


def assert_same_text(found: str, golden: str) -> None:
    """The same lines and words; numbers may differ in the last digits, where processors do."""
    assert len(found.splitlines()) == len(golden.splitlines())
    for line, expected in zip(found.splitlines(), golden.splitlines(), strict=True):
        words, others = (text.replace(",", " , ").split(" ") for text in (line, expected))
        assert len(words) == len(others), line
        for word, other in zip(words, others, strict=True):
            assert word == other or float(word) == pytest.approx(float(other), rel=1e-11), line


def small() -> Ensemble:
    """Six rows of numbers that are exact in binary, two of them rejected."""
    positions = (np.arange(54, dtype=np.float32).reshape(6, 3, 3) * 7 % 11) / 8
    reason = np.array(["", "", "other isomer", "", "", ""])
    return Ensemble.from_densities(
        positions,
        np.array([1.5, 2.25, 3.0, 0.125, 4.0, 2.0]),
        np.array([-3, -2.5, 8, np.inf, -1, 0.25]),
        reason=reason,
        temperature=310.0,
        measure="shape",
        system_fingerprint="f00d",
        domain="reference",
        topology_pdb=PDB,
    )


def test_the_same_export_has_the_same_bytes(out):
    for format in FORMATS:
        for name in ("a", "b"):
            export(out, out.parent / name, format, equal_weight=25, seed=9)
        if format != "mdtraj-hdf5":  # HDF5 keeps no promise about bytes
            assert (out.parent / "a").read_bytes() == (out.parent / "b").read_bytes(), format


# the command, and bad input ----------------------------------------------------------------------


def test_the_command(out, capsys):
    path = out.parent / "f.xtc"
    assert main(["export", str(out), "--format", "xtc", "-o", str(path), "--equal-weight", "20"]) == 0
    printed = capsys.readouterr()
    assert "0.001 nm" in printed.err and "f.xtc.weights.csv" in printed.err and "effective" in printed.out
    assert len(weights_beside(path)["row"]) == 20


def command(out: Path, *more: str | Path, format: str = "csv", name: str = "file") -> list[str | Path]:
    return ["export", out, "--format", format, "-o", out.parent / name, *more]


def test_bad_input_is_one_sentence(out):
    assert_refused(command(out, format="xtcc"), "unknown format 'xtcc'", "did you mean xtc?", "colvar")
    assert_refused(command(out, "--variables", "phy"), "phy", "did you mean phi?")
    assert_refused(command(out, "--variables", "chi1"), "no torsion chi1")
    assert_refused(command(out, "--variables", "none.yaml"), "none.yaml", "no such file")
    assert_refused(command(out, "--variables", "phi,phi"), "two columns are called phi")
    assert_refused(command(out, "--variables", "phi", format="dcd"), "--variables is for colvar and csv")
    assert_refused(command(out, "--temperatures", "300"), "--temperatures is for u_nk")
    assert_refused(command(out, "--temperatures", "300,-5", format="u_nk"), "-5.0 is not a temperature")
    assert_refused(command(out, "--temperatures", "warm", format="u_nk"), "warm")
    assert_refused(command(out, "--equal-weight", "0"), "equal-weight")
    assert_refused(command(out, name="OUT"), "is a folder")
    assert_refused(command(out, name="OUT/samples.dcd", format="dcd"), "belongs to the samples")
    assert not (out.parent / "file").exists()


def test_folders_that_hold_no_samples_are_refused(out, tmp_path):
    assert_refused(command(tmp_path / "none"), "no such folder")
    (tmp_path / "MD").mkdir()
    (tmp_path / "MD" / "manifest.json").write_text('{"schema": "boltzgen.trajectory/1"}')
    assert_refused(command(tmp_path / "MD"), "holds no samples")
    for name in ("samples.npz", "samples.dcd"):
        whole = (out / name).read_bytes()
        (out / name).write_bytes(whole[: len(whole) // 2])
        assert_refused(command(out), name, "truncated")
        (out / name).write_bytes(whole)
    assert not (tmp_path / "file").exists()


def test_samples_without_weight_are_refused(tmp_path):
    whole = spoiled()
    other = np.full(40, "other isomer")
    bare = replace(whole, valid=np.zeros(40, bool), reason=other, log_w=np.full(40, -np.inf))
    save_ensemble(bare, tmp_path / "OUT")
    for format in FORMATS:
        assert_refused(command(tmp_path / "OUT", format=format), "every sample was rejected")
    assert_refused(command(tmp_path / "OUT", "--equal-weight", "5"), "no sample carries weight")


@pytest.mark.parametrize("format", [*TRAJECTORIES, "u_nk"])
def test_a_model_system_has_no_trajectory(tmp_path, format):
    save_ensemble(make_model(), tmp_path / "OUT")
    word = "temperature" if format == "u_nk" else "no atoms"
    assert_refused(command(tmp_path / "OUT", format=format), "model system", word)


def test_a_molecule_without_phi_must_name_its_variables(tmp_path):
    save_ensemble(make(), tmp_path / "OUT")
    assert_refused(command(tmp_path / "OUT", format="colvar"), "no phi and psi", "--variables")


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_the_old_file(tmp_path, format):
    """The kernel refuses every byte beyond 30 kB, as a full disk would: one sentence, exit code 1."""
    save_ensemble(molecule(2000), tmp_path / "OUT")
    target = tmp_path / "file"
    target.write_text("what was there before")

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        assert_refused(command(tmp_path / "OUT", format=format), str(target), "cannot be written", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["OUT", "file"]
