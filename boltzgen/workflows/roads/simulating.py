"""The simulations of a road: with which engine, by a measurement, and how long, in their share of time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from boltzgen.data.manifest import read_manifest
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.measures import fastest_engine
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import CHECK_SEED

#: Share of the time for the frames to check with, where nothing is trained.
CHECK_SHARE = 0.2


def simulation(scene: Scene) -> defaults.Simulated:
    """The simulation that suits the molecule, by the engine that is the faster one here."""
    how = defaults.simulation(scene.atoms, scene.walk.question.temperature, scene.torsions)
    engine = _engine(scene, how)
    return replace(how, engine=engine["engine"], platform=engine["platform"])


def seconds_of_energies(scene: Scene, *runs: defaults.Simulated) -> float:
    """Of all energies of `runs`, which were made of `simulation`."""
    each = _engine(scene, runs[0])["seconds_an_energy"]
    return float(each * sum(run.evaluations for run in runs))


def fitted(scene: Scene, how: defaults.Simulated, part: float) -> defaults.Simulated:
    """`how`, shorter where it would take more than `part` (a fraction) of the time."""
    seconds = scene.walk.share(part)
    return how if seconds is None else how.within(seconds / _engine(scene, how)["seconds_an_energy"])


def simulated_check(scene: Scene, part: float = CHECK_SHARE) -> Path | None:
    """CHECK, simulated from another seed than anything else, within `part` (a fraction) of the time.

    None where the time was over before a frame was saved.
    """
    walk = scene.walk
    kept = walk.plan.decided("check")
    how = fitted(scene, simulation(scene), part) if kept is None else defaults.Simulated.of(kept)
    walk.plan.decide("check", how.to_json())
    walk.simulate("CHECK", how, seed=walk.seed(CHECK_SEED), part=part)
    return frames_in(walk.path("CHECK"))


def frames_in(folder: Path) -> Path | None:
    """The MD folder `folder` where it holds frames, None otherwise."""
    there = (folder / "manifest.json").is_file() and read_manifest(folder).get("files")
    return folder if there else None


def _engine(scene: Scene, how: defaults.Simulated) -> dict[str, Any]:
    """The engine, measured on `how` and said once: engine, platform, threads, seconds_an_energy, why."""
    kept = scene.walk.plan.decided("engine")
    if kept is None:
        kept = scene.walk.plan.decide("engine", fastest_engine(scene.system, how))
        scene.walk.say(f"engine: {kept['engine']} ({kept['why']}).")
    return dict(kept)
