"""u_nk for alchemlyb and pymbar, and frames of equal weight: what the numbers of other programs then mean."""

from __future__ import annotations

import numpy as np
import pytest
from ensemble_cases import PDB, spoiled

from boltzgen.ensemble import Ensemble, equal_weight_frames, read_u_nk, u_nk, weighted_frames
from boltzgen.ensemble.resample import equal_weight_rows
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.errors import InputError
from boltzgen.workflows.sampling.export import export


@pytest.fixture
def out(tmp_path):
    save_ensemble(spoiled(), tmp_path / "OUT")
    return tmp_path / "OUT"


# u_nk --------------------------------------------------------------------------------------------


def gaussian(n: int = 4000, seed: int = 5) -> Ensemble:
    """One 'atom' x of a harmonic well, drawn from a wider Gaussian; every tenth row is rejected."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.3, n)
    positions = np.zeros((n, 3, 3), dtype=np.float32)
    positions[:, 0, 0] = x
    log_q = -(x**2) / (2 * 1.69) - np.log(1.3 * np.sqrt(2 * np.pi))
    reason = np.where(np.arange(n) % 10 == 3, "other isomer", "")
    return Ensemble.from_densities(
        positions,
        log_q,
        x**2 / 2,
        reason=reason,
        temperature=300.0,
        measure="shape",
        system_fingerprint="well",
        domain="reference",
        topology_pdb=PDB,
    )


def absolute(ensemble: Ensemble, kelvin: float) -> tuple[float, float]:
    """-ln Z at `kelvin` and its standard error by importance sampling, written out here."""
    u = np.where(ensemble.valid, ensemble.u * 300.0 / kelvin, np.inf)
    w = np.exp(-u - ensemble.log_q)
    return -np.log(w.mean()), w.std() / w.mean() / np.sqrt(len(w))


def test_mbar_on_u_nk_is_importance_sampling():
    """The flow is a state, so that pymbar finds -ln Z and its error, rejected rows and all, to 1e-6."""
    import pymbar

    ensemble = gaussian()
    table = u_nk(ensemble, weighted_frames(ensemble), [350.0])
    assert table.index.names == ["time", "flow", "temperature"] and len(table) == 4000
    assert list(table.columns) == [(1.0, 300.0), (0.0, 300.0), (0.0, 350.0)]
    assert table.attrs == {"temperature": 300.0, "energy_unit": "kT"}
    found = pymbar.MBAR(table.to_numpy().T, [4000, 0, 0]).compute_free_energy_differences()
    for number, kelvin in ((1, 300.0), (2, 350.0)):
        value, error = absolute(ensemble, kelvin)
        assert found["Delta_f"][0, number] == pytest.approx(value, abs=1e-6)
        assert found["dDelta_f"][0, number] == pytest.approx(error, abs=1e-6)
    exact = -0.5 * np.log(2 * np.pi) - np.log(0.9)
    assert abs(found["Delta_f"][0, 1] - exact) < 4 * found["dDelta_f"][0, 1] < 0.1


def test_alchemlyb_reads_u_nk(tmp_path):
    pytest.importorskip("alchemlyb")
    from alchemlyb.estimators import MBAR
    from alchemlyb.parsing.parquet import extract_u_nk

    ensemble = gaussian()
    save_ensemble(ensemble, tmp_path / "OUT")
    export(tmp_path / "OUT", tmp_path / "u_nk.csv", "u_nk", temperatures=[350.0])
    export(tmp_path / "OUT", tmp_path / "u_nk.parquet", "u_nk", temperatures=[350.0])
    for table in (read_u_nk(tmp_path / "u_nk.csv"), extract_u_nk(str(tmp_path / "u_nk.parquet"), T=300.0)):
        fitted = MBAR().fit(table)
        for kelvin in (300.0, 350.0):
            value, error = absolute(ensemble, kelvin)
            assert fitted.delta_f_.loc[[(1.0, 300.0)], [(0.0, kelvin)]].iloc[0, 0] == pytest.approx(
                value, abs=1e-6
            )
            found = fitted.d_delta_f_.loc[[(1.0, 300.0)], [(0.0, kelvin)]].iloc[0, 0]
            assert found == pytest.approx(error, abs=1e-6)
    export(tmp_path / "OUT", tmp_path / "r.csv", "u_nk", temperatures=[350.0], equal_weight=2000)
    export(tmp_path / "OUT", tmp_path / "r.parquet", "u_nk", temperatures=[350.0], equal_weight=2000)
    tables = (read_u_nk(tmp_path / "r.csv"), extract_u_nk(str(tmp_path / "r.parquet"), T=300.0))
    for fitted in (MBAR().fit(table) for table in tables):
        difference = fitted.delta_f_.iloc[0, 1]
        expected = absolute(ensemble, 350.0)[0] - absolute(ensemble, 300.0)[0]
        assert abs(difference - expected) < 4 * fitted.d_delta_f_.iloc[0, 1] < 0.1


def test_resampled_u_nk_are_samples_of_the_target():
    ensemble = gaussian()
    frames = equal_weight_frames(ensemble, 500, seed=2)
    table = u_nk(ensemble, frames, [350.0, 300.0])
    assert table.index.names == ["time", "temperature"] and list(table.columns) == [300.0, 350.0]
    assert np.array_equal(table[300.0], ensemble.u[frames.rows])
    assert np.allclose(table[350.0], ensemble.u[frames.rows] * 300 / 350, rtol=1e-15)
    assert set(table.index.get_level_values("temperature")) == {300.0}


@pytest.mark.parametrize("equal_weight", [None, 20])
def test_u_nk_in_csv_is_read_back_exactly(out, equal_weight):
    ensemble = load_ensemble(out)
    export(out, out.parent / "u.csv", "u_nk", temperatures="350,400", equal_weight=equal_weight)
    frames = weighted_frames(ensemble) if equal_weight is None else equal_weight_frames(ensemble, 20, 0)
    table, found = u_nk(ensemble, frames, [350.0, 400.0]), read_u_nk(out.parent / "u.csv")
    assert found.attrs == table.attrs and list(found.columns) == list(table.columns)
    assert found.index.equals(table.index) and np.array_equal(found.to_numpy(), table.to_numpy())
    assert np.isfinite(found.iloc[:, 0]).all()  # a row without a density has none to give, and weight zero


def test_a_broken_table_is_no_u_nk(out):
    export(out, out.parent / "u.csv", "u_nk")
    whole = (out.parent / "u.csv").read_text()
    for text in ("", "a,b\n1,2\n", whole.splitlines()[0]):
        (out.parent / "u.csv").write_text(text)
        with pytest.raises(InputError, match=r"u\.csv"):
            read_u_nk(out.parent / "u.csv")
    with pytest.raises(InputError, match="no such file"):
        read_u_nk(out.parent / "none.csv")


# resampling --------------------------------------------------------------------------------------


def test_systematic_resampling_takes_floor_or_ceil():
    log_w = np.random.default_rng(6).normal(0, 2, 300)
    log_w[::7] = -np.inf
    w = np.exp(log_w) / np.exp(log_w).sum()
    for seed in range(20):
        counts = np.bincount(equal_weight_rows(log_w, 1000, np.random.default_rng(seed)), minlength=300)
        assert counts.sum() == 1000
        assert np.all((counts >= np.floor(1000 * w - 1e-9)) & (counts <= np.ceil(1000 * w + 1e-9)))


def test_resampling_is_unbiased():
    """Every row comes ``N w_n`` times on average: 20 rows, 4000 seeds, largest |z| below 4.4.

    A count of systematic resampling varies by p (1 - p), p being the fraction of N w_n. By Bonferroni
    a sound sampler fails with probability 2e-4. A comb at a fixed place puts some row at |z| > 30; a
    most frequent row that is taken 1 % too often at |z| > 6.5, found with a power above 0.98; the
    last lines hold both numbers.
    """
    log_w = np.random.default_rng(7).normal(0, 1, 20)
    expected = 15 * np.exp(log_w) / np.exp(log_w).sum()
    replicates = 4000
    counts = np.zeros(20)
    for seed in range(replicates):
        counts += np.bincount(equal_weight_rows(log_w, 15, np.random.default_rng([8, seed])), minlength=20)
    fraction = expected - np.floor(expected)
    error = np.sqrt(fraction * (1 - fraction) / replicates)
    assert np.abs((counts / replicates - expected) / error).max() < 4.4
    fixed = np.diff(np.floor(np.cumsum([0, *expected]) + 0.5))
    assert np.abs((fixed - expected) / error).max() > 30
    assert (0.01 * expected / error)[np.argmax(expected)] > 6.5


def test_rows_come_in_random_order_and_the_same_for_one_seed(out):
    ensemble = load_ensemble(out)
    rows = ensemble.equal_weight_rows(200, seed=3)
    assert np.array_equal(rows, ensemble.equal_weight_rows(200, seed=3))
    assert not np.array_equal(rows, ensemble.equal_weight_rows(200, seed=4))
    ranks = np.corrcoef(rows[:-1], rows[1:])[0, 1]
    assert abs(ranks) < 4 / np.sqrt(200) and ensemble.valid[rows].all()
