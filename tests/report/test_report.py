"""The Ramachandran figure: the map against its definition, and a picture that holds what it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.report.estimates import work_figure
from boltzgen.report.ramachandran import Panel, free_energy_map, panel, ramachandran_figure

PDB = (
    Path(__file__).resolve().parents[2]
    / "boltzgen"
    / "examples"
    / "alanine-dipeptide"
    / "alanine-dipeptide.pdb"
)


def torsions(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    right = rng.random(n) < 0.1
    phi = np.where(right, 60.0, -80.0) + 15 * rng.normal(size=n)
    psi = np.where(right, 40.0, 150.0) + 20 * rng.normal(size=n)
    return phi, (psi + 180) % 360 - 180


def test_the_map_is_minus_log_of_the_weights_in_each_bin():
    phi, psi = np.array([-170.0, -170.0, 100.0, 100.0]), np.array([170.0, 171.0, -50.0, -50.0])
    log_w = np.log([2.0, 3.0, 7.0, 0.5]) + 40.0
    f_xy = free_energy_map(phi, psi, log_w, bins=4)  # bins of 90 degrees: [phi, psi]
    assert f_xy.mask.sum() == 14
    assert f_xy[3, 1] == 0.0 and f_xy[0, 3] == pytest.approx(np.log(7.5 / 5.0))


def test_rows_without_weight_or_position_are_left_out():
    phi, psi = np.array([-170.0, np.nan, 100.0, 20.0]), np.array([170.0, 10.0, -50.0, 20.0])
    f_xy = free_energy_map(phi, psi, np.array([0.4, 0.4, 0.4, -np.inf]), bins=4)
    assert (~f_xy.mask).sum() == 2
    with pytest.raises(InputError, match="no sample"):
        free_energy_map(phi, psi, np.full(4, -np.inf))
    with pytest.raises(InputError, match="one length"):
        free_energy_map(phi, psi[:3])


def test_the_figure_has_three_panels_on_one_scale(tmp_path):
    import matplotlib.image

    phi, psi = torsions()
    log_w = np.where(phi > 0, -1.5, 0.2)
    panels = [
        Panel("simulation", phi, psi),
        Panel("flow", phi, psi, note="before"),
        Panel("reweighted flow", phi, psi, log_w),
    ]
    one, two = (ramachandran_figure(tmp_path / name, panels) for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()
    picture = matplotlib.image.imread(one)
    assert picture.shape[1] > 2 * picture.shape[0] > 800
    # viridis, reversed: the rarer, the darker; only the third panel lowers the state at phi > 0
    red, green, blue = (picture[:, :, i] for i in range(3))
    dark = (blue > red + 0.15) & (blue > 0.3) & (green < 0.62)
    wide = picture.shape[1] // 3
    first, second, third = (dark[:, i * wide : (i + 1) * wide].sum() for i in range(3))
    assert third > 1.5 * max(first, second) and abs(first - second) < 0.05 * first
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".png"] == []


def test_a_panel_from_positions(tmp_path):
    import mdtraj

    frames = mdtraj.load(str(PDB))
    noise = np.random.default_rng(4).normal(0, 0.02, (200, frames.n_atoms, 3)).astype(np.float32)
    made = panel("flow", frames.xyz + noise, PDB.read_text(), np.zeros(200), note="200 samples")
    expected = np.degrees(mdtraj.compute_phi(mdtraj.Trajectory(frames.xyz + noise, frames.topology))[1][:, 0])
    assert np.allclose(made.phi, (expected + 180) % 360 - 180, atol=0.02)
    assert ramachandran_figure(tmp_path / "r.png", [made], line_at_phi=None).stat().st_size > 5000


def test_no_panels_and_no_folder(tmp_path):
    with pytest.raises(InputError, match="at least one panel"):
        ramachandran_figure(tmp_path / "r.png", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another output folder"):
        ramachandran_figure(tmp_path / "file" / "r.png", [Panel("x", *torsions(50))])


def test_a_figure_of_works_that_are_all_infinite(tmp_path):
    works = {"no map": (np.full(5, np.inf), np.full(5, np.inf))}
    path = work_figure(tmp_path / "w.png", [], works, answer=None, label="x")
    assert path.read_bytes().startswith(b"\x89PNG")
