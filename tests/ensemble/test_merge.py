"""Ensembles in pieces and together again: no row counted twice, none without its weight."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from ensemble_cases import PDB, make, make_model
from helpers import assert_refused

import boltzgen
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.repeats import repeated_rows
from boltzgen.ensemble.store import join_folders, load_ensemble, save_ensemble
from boltzgen.errors import InputError
from boltzgen.workflows.sampling.merge import merge

COLUMNS = ("log_q", "u", "log_w", "valid", "reason")
COVERED = {"source": "CHECK", "verdict": "ok", "reasons": [], "forward_ess": 0.4}


def drawn(seed: int, *, model: str = "RUN", n: int = 40, **changes) -> Ensemble:
    provenance = {"seed": seed, "model": model, "requested": n, "energy_evaluations": n}
    return make(n, seed=seed, provenance=provenance, **changes)


def large(n: int, n_atoms: int, seed: int) -> Ensemble:
    rng = np.random.default_rng(seed)
    lines = [line for line in PDB.splitlines() if line.startswith("ATOM")]
    text = "".join(f"{lines[0][:6]}{i + 1:5d}{lines[0][11:]}\n" for i in range(n_atoms)) + "END\n"
    return Ensemble.from_densities(
        rng.normal(size=(n, n_atoms, 3)).astype(np.float32),
        rng.normal(4, 1.5, n),
        rng.normal(17, 2, n),
        temperature=310.0,
        measure="shape",
        system_fingerprint="f00d",
        domain="reference",
        topology_pdb=text,
    )


# shards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_shards_make_the_whole(rows):
    ensemble = drawn(3)
    shards = list(ensemble.shards(rows))
    assert [len(shard) for shard in shards][:-1] == [rows] * (len(shards) - 1)
    whole = concatenate(shards)
    assert np.array_equal(whole.positions, ensemble.positions, equal_nan=True)
    for name in COLUMNS:
        assert np.array_equal(getattr(whole, name), getattr(ensemble, name)), name
    assert whole.provenance["seed"] == 3


def test_a_shard_holds_at_least_one_row():
    with pytest.raises(InputError, match="at least one row"):
        next(make().shards(0))


def test_shards_on_disk_are_merged(tmp_path):
    ensemble = drawn(3)
    folders = [tmp_path / f"OUT{number}" for number in range(3)]
    for folder, shard in zip(folders, ensemble.shards(15), strict=True):
        save_ensemble(shard, folder)
    merge(folders, tmp_path / "OUT")
    whole = boltzgen.load_samples(tmp_path / "OUT")
    for name in COLUMNS:
        assert np.array_equal(getattr(whole, name), getattr(ensemble, name)), name
    one, other = (boltzgen.load_samples(folder) for folder in folders[:2])
    assert np.array_equal(whole.positions[15:30], other.positions, equal_nan=True) and len(one) == 15


# joining -----------------------------------------------------------------------------------------


def test_merged_folders_hold_every_row_with_its_weight(tmp_path):
    parts = [drawn(3, n=30), drawn(4, n=25), drawn(5, n=20)]
    for number, part in enumerate(parts):
        save_ensemble(part, tmp_path / str(number))
    summary = merge([tmp_path / "0", tmp_path / "1", tmp_path / "2"], tmp_path / "OUT")
    whole = load_ensemble(tmp_path / "OUT")
    for name in COLUMNS:
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    expected = np.concatenate([part.positions for part in parts])
    assert np.allclose(whole.positions, expected, rtol=1e-6, atol=0, equal_nan=True)
    assert (summary.requested, summary.energy_evaluations, summary.kept) == (75, 75, 66)
    manifest = json.loads((tmp_path / "OUT" / "manifest.json").read_text())
    assert manifest["seed"] == [3, 4, 5] and manifest["status"] == "complete" and manifest["model"] == "RUN"
    assert manifest["provenance"]["merged"] == [str(tmp_path / str(number)) for number in range(3)]


def test_a_merge_with_a_partial_folder_is_partial(tmp_path):
    save_ensemble(drawn(3), tmp_path / "A")
    save_ensemble(drawn(4), tmp_path / "B", status="partial")
    merge([tmp_path / "A", tmp_path / "B"], tmp_path / "OUT")
    assert json.loads((tmp_path / "OUT" / "manifest.json").read_text())["status"] == "partial"


def test_merging_once_more_lists_all_seeds():
    first = concatenate([drawn(3), drawn(4)])
    assert concatenate([first, drawn(5)]).provenance["seed"] == [3, 4, 5]


def test_a_model_system_is_merged(tmp_path):
    ensemble = make_model()
    save_ensemble(ensemble[:30], tmp_path / "A")
    save_ensemble(ensemble[30:], tmp_path / "B")
    merge([tmp_path / "A", tmp_path / "B"], tmp_path / "OUT")
    assert np.array_equal(load_ensemble(tmp_path / "OUT").positions, ensemble.positions)


def test_the_worst_coverage_record_of_one_flow_survives():
    poor = COVERED | {"verdict": "caution", "forward_ess": 0.2}
    records = [replace(drawn(3), coverage=COVERED), replace(drawn(4), coverage=poor)]
    assert concatenate(records).coverage == poor and concatenate(records[::-1]).coverage == poor
    elsewhere = replace(drawn(4), coverage=poor | {"source": "OTHER"})
    assert concatenate([records[0], elsewhere]).coverage is None
    assert concatenate([records[0], drawn(4)]).coverage is None
    assert concatenate([records[0], replace(drawn(4, model="RUN2"), coverage=poor)]).coverage is None


def test_models_and_notes_of_all_parts_are_kept():
    strange = drawn(4, model="RUN2")
    strange = replace(
        strange, provenance={**strange.provenance, "notes": ["the model was not trained on this"]}
    )
    joined = concatenate([drawn(3), strange])
    assert joined.provenance["models"] == ["RUN", "RUN2"] and "model" not in joined.provenance
    assert joined.provenance["notes"] == ["the model was not trained on this"]


# samples that would count twice ------------------------------------------------------------------


def test_repeated_rows_are_found_and_nothing_else():
    ensemble = large(20_000, 5, seed=1)
    assert len(repeated_rows([ensemble])) == 0
    copies = ensemble[[17, 4, 1999]]
    noisy = replace(
        copies, positions=copies.positions + np.float32(1e-6), log_q=copies.log_q + 1e-9, u=copies.u - 1e-9
    )
    found = repeated_rows([ensemble, noisy])
    assert {tuple(pair) for pair in found.tolist()} == {(17, 20_000), (4, 20_001), (1999, 20_002)}


def test_draws_of_two_or_three_atoms_come_close_by_chance():
    """Two bonds of a diatomic within 1e-5 nm are no copy; the same density, bit by bit, is."""
    rng = np.random.default_rng(5)
    first, second = (large(3000, 2, seed=seed) for seed in (1, 2))
    near = np.float32(0.11) + rng.uniform(-0.004, 0.004, (2, 3000)).astype(np.float32)
    parts = []
    for part, bond in zip((first, second), near, strict=True):
        positions = np.zeros((3000, 2, 3), dtype=np.float32)
        positions[:, 1, 0] = bond
        parts.append(replace(part, positions=positions))
    assert len(concatenate(parts)) == 6000
    with pytest.raises(InputError, match="share 1500 samples"):
        concatenate([parts[0], parts[0][:1500]])


def test_a_single_shared_sample_is_refused():
    other = drawn(4)
    shared = {
        name: np.concatenate([getattr(other, name), getattr(drawn(3), name)[7:8]])
        for name in ("positions", *COLUMNS)
    }
    with pytest.raises(InputError, match="ensemble 0 and ensemble 1 share 1 samples"):
        concatenate([drawn(3), replace(other, **shared)])


def test_the_same_seed_and_model_are_refused_by_rows(tmp_path):
    save_ensemble(drawn(3, model="A"), tmp_path / "A")
    save_ensemble(drawn(3, model="B"), tmp_path / "B")  # another name, the same rows
    message = assert_refused(
        ["merge", tmp_path / "A", tmp_path / "B", "-o", tmp_path / "C"], "share 39 samples"
    )
    assert str(tmp_path / "A") in message and "--seed" in message and not (tmp_path / "C").exists()


def test_the_same_seed_and_model_are_refused_by_record(tmp_path):
    save_ensemble(drawn(3), tmp_path / "A")
    other = drawn(4)
    save_ensemble(
        replace(other, provenance={**other.provenance, "seed": 3}), tmp_path / "B"
    )  # other batches, say
    assert_refused(["merge", tmp_path / "A", tmp_path / "B", "-o", tmp_path / "C"], "one seed (3)", "--seed")


def test_points_of_a_model_system_may_coincide_by_chance():
    x = np.repeat(np.linspace(-1, 1, 50), 2)[:, None].astype(np.float32)
    whole = Ensemble.from_densities(
        x,
        -(x[:, 0] ** 2),
        x[:, 0] ** 4,
        temperature=None,
        measure="lebesgue(1)",
        system_fingerprint="w",
        domain="",
        topology_pdb="",
    )
    assert len(concatenate([whole[:51], whole[51:]])) == 100  # one pair is cut in two
    with pytest.raises(InputError, match="share 50 samples"):
        concatenate([whole[::2], whole[1::2]])


# what cannot be merged ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"temperature": 300.0}, "temperature (310.0 and 300.0)"),
        ({"system_fingerprint": "beef"}, "system"),
        ({"domain": "free"}, "domain"),
    ],
)
def test_folders_that_differ_are_refused(tmp_path, change, word):
    save_ensemble(drawn(3), tmp_path / "A")
    save_ensemble(drawn(4, **change), tmp_path / "B")
    message = assert_refused(["merge", tmp_path / "A", tmp_path / "B", "-o", tmp_path / "C"], word)
    assert str(tmp_path / "B") in message


def test_bad_input_of_merge(tmp_path):
    save_ensemble(drawn(3), tmp_path / "A")
    save_ensemble(make_model(), tmp_path / "M")
    (tmp_path / "empty").mkdir()
    out = ["-o", tmp_path / "C"]
    assert_refused(["merge", tmp_path / "A", *out], "at least two")
    assert_refused(["merge", tmp_path / "A", tmp_path / "none", *out], "none", "no such folder")
    assert_refused(["merge", tmp_path / "A", tmp_path / "empty", *out], "manifest.json", "no such file")
    assert_refused(["merge", tmp_path / "A", tmp_path / "M", *out], "differ in measure")
    assert_refused(["merge", tmp_path / "A", tmp_path / "M", "-o", tmp_path / "A"], "is one of the folders")
    data = (tmp_path / "A" / "samples.dcd").read_bytes()
    (tmp_path / "A" / "samples.dcd").write_bytes(data[:-40])
    save_ensemble(drawn(4), tmp_path / "B")
    assert_refused(["merge", tmp_path / "A", tmp_path / "B", *out], "samples.dcd", "truncated")
    assert not (tmp_path / "C").exists()


def test_a_model_is_not_taken_for_samples(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    with pytest.raises(InputError, match="a model, not samples"):
        boltzgen.load_samples(tmp_path)


def test_folders_are_joined_without_a_second_copy(tmp_path):
    for number in range(2):
        save_ensemble(large(15_000, 30, seed=number), tmp_path / str(number))
    tracemalloc.start()
    joined, _ = join_folders([tmp_path / "0", tmp_path / "1"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(joined) == 30_000 and peak < 1.5 * joined.positions.nbytes
