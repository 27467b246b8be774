"""Data that a training run makes itself: intervals, what is kept for a resumed run, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_cases import SIMULATION

from boltzgen.data.trajectory import evaluations_of_folder, read_trajectory, write_trajectory
from boltzgen.errors import InputError
from boltzgen.progress import silent
from boltzgen.training.settings import SimulationSource, TrainingSettings
from boltzgen.workflows.simulation.source import save_and_exchange_steps
from boltzgen.workflows.training.frames import targets_and_frames


def settings_for(system, **changes) -> TrainingSettings:
    return TrainingSettings.model_validate({"system": system, "seed": 3, **changes})


@pytest.mark.parametrize("frames", [7, 150, 2_000, 30_000])
@pytest.mark.parametrize("walks", [3, 256])
def test_exchanges_are_as_frequent_as_asked_however_rare_the_frames(frames, walks):
    """A large budget saves rarely; exchanges still come each 0.1 ps (50 steps), as far as frames let them."""
    wanted = SimulationSource(frames=frames, timestep=0.002, exchange_interval=0.1)
    steps = 60_000
    every, exchange_every = save_and_exchange_steps(wanted, steps, walks)
    assert max(every, exchange_every) % min(every, exchange_every) == 0
    assert 34 <= exchange_every <= 75
    kept = steps // every * walks
    assert max(frames, walks) - walks < kept <= 2 * max(frames, walks)


def test_a_run_keeps_its_data_and_counts_them_once(tmp_path, butane):
    """Two systems, each with data of its own; the second call reads what the first one wrote."""
    butane.save(tmp_path / "SYS")
    settings = settings_for([str(tmp_path / "SYS")] * 2, simulation=SIMULATION)
    _, first = targets_and_frames(settings, "cpu", tmp_path / "RUN", None, silent)
    _, again = targets_and_frames(settings, "cpu", tmp_path / "RUN", None, silent)
    folders = [tmp_path / "RUN" / "data" / str(number) for number in range(2)]
    assert first.evaluations == again.evaluations == sum(map(evaluations_of_folder, folders))
    assert 2 * 1200 <= first.evaluations < 2 * 1200 + 2 * 300
    assert first.digests == again.digests and len(first.digests) == 4
    for part in first.data:
        assert set(part.temperature.tolist()) == {300.0, 450.0} and len(part.held_out)
    for change in ({"seed": 4}, {"simulation": {**SIMULATION, "evaluations": 1400}}):
        other = settings.model_validate({**settings.model_dump(), **change})
        with pytest.raises(InputError, match="was begun with"):
            targets_and_frames(other, "cpu", tmp_path / "RUN", None, silent)


def test_what_cannot_be_simulated_is_refused(tmp_path, butane):
    butane.save(tmp_path / "SYS")
    with pytest.raises(InputError, match="model system"):
        targets_and_frames(
            settings_for("model:double-well", simulation=SIMULATION), "cpu", tmp_path / "RUN", None, silent
        )
    both = settings_for(str(tmp_path / "SYS"), simulation=SIMULATION, data="MD")
    with pytest.raises(InputError, match="not both"):
        targets_and_frames(both, "cpu", tmp_path / "RUN", None, silent)


def test_frames_without_an_energy_get_no_weight(tmp_path, butane):
    """One broken energy does not end a run; nothing but broken ones is told in a sentence."""
    butane.save(tmp_path / "SYS")
    settings = settings_for(str(tmp_path / "SYS"), simulation=SIMULATION)
    targets_and_frames(settings, "cpu", tmp_path / "RUN", None, silent)
    data = tmp_path / "RUN" / "data" / "0"
    whole = read_trajectory(data, butane).at(450.0)
    repeated = whole[np.tile(np.arange(len(whole)), 8)]  # enough for weights that are not all truncated
    energies = np.array(repeated.energies)
    energies[5] = np.inf
    for name, values in (("one", energies), ("all", np.full_like(energies, np.inf))):
        write_trajectory(tmp_path / name, replace(repeated, energies=values))
    weighted = {"data_system": str(tmp_path / "SYS"), "holdout": 0.0}
    _, frames = targets_and_frames(
        settings_for(str(tmp_path / "SYS"), data=str(tmp_path / "one"), **weighted),
        "cpu",
        tmp_path,
        None,
        silent,
    )
    share = frames.data[0].share
    assert share is not None and float(share[5]) == 0.0 and float(share.sum()) == pytest.approx(1.0)
    with pytest.raises(InputError, match="450 K has a finite energy"):
        targets_and_frames(
            settings_for(str(tmp_path / "SYS"), data=str(tmp_path / "all"), **weighted),
            "cpu",
            tmp_path,
            None,
            silent,
        )
