"""The ensemble: rows and weights that never part, and the OUT folder."""

from __future__ import annotations

import json
import os
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_cases import PDB, make, make_model

from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.store import load_ensemble, save_ensemble, summary
from boltzgen.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"


# rows ------------------------------------------------------------------------------------------


def test_weights_and_reasons_of_a_new_ensemble():
    ensemble = make()
    assert ensemble.rejected() == {"energy not finite": 1, "other isomer": 1, "position not finite": 1}
    assert np.array_equal(np.flatnonzero(~ensemble.valid), [5, 9, 11])
    assert np.all(np.isneginf(ensemble.log_w[[5, 9, 11]]))
    assert ensemble.log_w[7] == -ensemble.u[7] - ensemble.log_q[7]


@pytest.mark.parametrize("rows", [slice(3, 20, 2), [12, 5, 30], np.arange(40) % 3 == 1, 7])
def test_selection_never_separates_a_row_from_its_weight(rows):
    ensemble = make()
    part, index = ensemble[rows], np.atleast_1d(np.arange(40)[rows])
    for name in ("positions", "log_q", "u", "log_w", "valid", "reason"):
        assert np.array_equal(
            getattr(part, name), getattr(ensemble, name)[index], equal_nan=name == "positions"
        )
    assert part.temperature == 310.0 and "requested" not in part.provenance


def test_concatenation_keeps_order_and_adds_counts():
    a, b = make(30, seed=3), make(25, seed=4)
    both = concatenate([a, b])
    assert len(both) == 55 and np.array_equal(both.log_w, np.concatenate([a.log_w, b.log_w]))
    assert both.provenance == {"command": "boltzgen sample", "requested": 55, "seed": [3, 4]}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"temperature": 300.0}, "temperature"),
        ({"system_fingerprint": "beef"}, "system"),
        ({"domain": "isomers free"}, "domain"),
        ({"topology_pdb": PDB.replace("OH ", "SH ")}, "topology"),
    ],
)
def test_mixing_is_refused(change, word):
    with pytest.raises(InputError, match=word):
        concatenate([make(), make(), make(**change)])
    with pytest.raises(InputError, match="measure"):
        concatenate([make(), make_model()])
    with pytest.raises(InputError, match="empty"):
        concatenate([])


def test_the_record_cannot_be_changed():
    ensemble = make()
    with pytest.raises(FrozenInstanceError):
        ensemble.u = ensemble.log_q  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        ensemble.log_w[0] = 0.0


def test_what_does_not_fit_together_is_refused():
    ensemble = make()
    with pytest.raises(InputError, match="rows were swapped"):
        replace(ensemble, log_w=np.where(ensemble.valid, ensemble.log_w[::-1], -np.inf))
    with pytest.raises(InputError, match="must have log_w = -inf"):
        replace(ensemble, log_w=np.zeros(40))
    with pytest.raises(InputError, match="u has shape"):
        replace(ensemble, u=ensemble.u[:-1])
    with pytest.raises(InputError, match="reason is empty"):
        replace(ensemble, reason=np.full(40, ""))
    with pytest.raises(InputError, match="temperature must be positive"):
        make(temperature=-300.0)
    with pytest.raises(InputError, match="measure"):
        replace(ensemble, measure="lebesgue(9)")


# files -----------------------------------------------------------------------------------------


def test_round_trip_of_a_molecule(tmp_path):
    ensemble = replace(make(), coverage={"verdict": "ok", "reasons": [], "forward_ess": 0.37})
    save_ensemble(ensemble, tmp_path / "OUT")
    loaded = load_ensemble(tmp_path / "OUT")
    for name in ("log_q", "u", "log_w", "valid", "reason"):
        assert np.array_equal(getattr(loaded, name), getattr(ensemble, name))
    assert np.allclose(loaded.positions, ensemble.positions, rtol=3e-7, atol=0, equal_nan=True)
    assert (loaded.temperature, loaded.domain, loaded.topology_pdb) == (310.0, "reference", PDB)
    assert loaded.provenance == ensemble.provenance and loaded.coverage == ensemble.coverage
    assert json.loads((tmp_path / "OUT" / "summary.json").read_text())["forward_ess"] == 0.37


def test_round_trip_of_a_model_system(tmp_path):
    ensemble = make_model()
    save_ensemble(ensemble, tmp_path, status="partial")
    loaded = load_ensemble(tmp_path)
    assert np.array_equal(loaded.positions, ensemble.positions) and loaded.temperature is None
    assert not (tmp_path / "samples.dcd").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "partial"


def test_mdtraj_reads_the_trajectory(tmp_path):
    import mdtraj

    ensemble = make()
    save_ensemble(ensemble, tmp_path)
    frames = mdtraj.load(str(tmp_path / "samples.dcd"), top=str(tmp_path / "topology.pdb"))
    assert np.allclose(frames.xyz, ensemble.positions, rtol=1e-6, equal_nan=True)
    assert [atom.name for atom in frames.topology.atoms] == ["CH3", "CH2", "OH"]


def test_same_samples_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save_ensemble(make(), tmp_path / folder)
    for name in ("samples.npz", "samples.dcd", "topology.pdb", "summary.json", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_summary_matches_the_golden_file():
    found, golden = summary(make()), json.loads((GOLDEN / "summary.json").read_text())
    assert list(found) == list(golden)
    for key, value in golden.items():
        assert found[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key


def test_manifest_says_what_it_must(tmp_path):
    save_ensemble(make(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest) == json.loads((GOLDEN / "manifest_keys.json").read_text())
    assert manifest["seed"] == 3 and manifest["status"] == "complete" and manifest["versions"]["numpy"]
    assert manifest["files"]["samples.dcd"]["bytes"] == (tmp_path / "samples.dcd").stat().st_size


def _cut(name: str, keep: float):
    def damage(out: Path) -> None:
        data = (out / name).read_bytes()
        (out / name).write_bytes(data[: int(keep * len(data))])

    return damage


def _edit_manifest(**changes):
    def damage(out: Path) -> None:
        manifest = json.loads((out / "manifest.json").read_text())
        (out / "manifest.json").write_text(json.dumps(manifest | changes))

    return damage


def _swap_weights(out: Path) -> None:
    with np.load(out / "samples.npz") as archive:
        columns = dict(archive)
    columns["log_w"] = np.where(columns["valid"], np.roll(columns["log_w"], 1), -np.inf)
    np.savez(out / "samples.npz", **columns)


DAMAGE = {
    "no manifest": lambda out: (out / "manifest.json").unlink(),
    "manifest cut": _cut("manifest.json", 0.5),
    "foreign manifest": _edit_manifest(schema="somebody/7"),
    "failed run": _edit_manifest(status="failed"),
    "negative temperature": _edit_manifest(temperature_K=-5.0),
    "no samples": lambda out: (out / "samples.npz").unlink(),
    "samples cut": _cut("samples.npz", 0.6),
    "samples empty": _cut("samples.npz", 0.0),
    "column missing": lambda out: np.savez(out / "samples.npz", log_q=np.zeros(40)),
    "pickled": lambda out: np.savez(out / "samples.npz", log_q=np.array([{}], dtype=object)),
    "weights swapped": _swap_weights,
    "no trajectory": lambda out: (out / "samples.dcd").unlink(),
    "trajectory cut": _cut("samples.dcd", 0.7),
    "trajectory empty": _cut("samples.dcd", 0.0),
    "trajectory is text": lambda out: (out / "samples.dcd").write_text("not a trajectory " * 200),
    "no topology": lambda out: (out / "topology.pdb").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_broken_folder_gives_one_sentence(tmp_path, damage):
    save_ensemble(make(), tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=str(tmp_path)) as caught:
        load_ensemble(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_save_that_dies_half_way_leaves_the_old_ensemble(tmp_path, monkeypatch):
    """Whole, while files are written; and no manifest once they take their places."""
    save_ensemble(make(seed=3), tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("boltzgen.ensemble.store.write_dcd", die)
    with pytest.raises(KeyboardInterrupt):
        save_ensemble(make(seed=4), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert np.array_equal(load_ensemble(tmp_path).log_q, make(seed=3).log_q)
    monkeypatch.undo()
    place = os.replace

    def die_at_the_second(source, target):
        if target.name == "samples.dcd":
            raise KeyboardInterrupt
        place(source, target)

    monkeypatch.setattr("os.replace", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        save_ensemble(make(seed=4), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*files} - {"manifest.json"})
    with pytest.raises(InputError, match=r"manifest\.json"):
        load_ensemble(tmp_path)


def test_saving_nothing_and_unknown_status_are_refused(tmp_path):
    with pytest.raises(InputError, match="no samples"):
        save_ensemble(make()[:0], tmp_path)
    with pytest.raises(InputError, match="status"):
        save_ensemble(make(), tmp_path, status="nearly")
