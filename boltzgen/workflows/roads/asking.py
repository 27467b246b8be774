"""Which states the answer is about: those of a file, or the wells that pilot and frames show.

They are settled before the answer's samples are drawn, which therefore decide nothing about them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.data.trajectory import read_trajectory_at
from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import StoppedError
from boltzgen.files import make_folder, write_atomic
from boltzgen.free_energy import parse_states, state_free_energies
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.variables import read_topology
from boltzgen.loaders.yaml_text import parse_yaml
from boltzgen.workflows.free_energy.states import FreeEnergyResult, free_energy_states
from boltzgen.workflows.roads.enough import number_for, number_with
from boltzgen.workflows.roads.look import COUNTS
from boltzgen.workflows.roads.mirrors import images
from boltzgen.workflows.roads.road import Scene, Source
from boltzgen.workflows.roads.walk import Walk
from boltzgen.workflows.roads.wells import Wells, find_wells, joint_states, states_of

#: Replicates of the bootstrap for each torsion, and for the states asked for.
REPLICATES, REPLICATES_ASKED = 300, 1000


@dataclass(frozen=True)
class Asked:
    """States files by the name of their result, in the order in which they are answered.

    files: result -> content. counts: result -> the differences whose error the precision is about.
    """

    files: Mapping[str, Any]
    counts: Mapping[str, Sequence[Sequence[str]]]

    def to_json(self) -> dict[str, Any]:
        return {
            "files": dict(self.files),
            "counts": {k: [list(p) for p in v] for k, v in self.counts.items()},
        }


#: The result of the states asked for, and of joint ones; those of single torsions stand in ``TORSIONS/``.
MAIN = "free_energy"


def asked_for(scene: Scene, source: Source, pilot: Ensemble | None) -> Asked:
    """The states of the question; decided once."""
    kept = scene.walk.plan.decided("states")
    if kept is None:
        found = _given(scene) if not scene.walk.question.finds_states else _found(scene, source, pilot)
        kept = scene.walk.plan.decide("states", found.to_json())
    return Asked(kept["files"], kept["counts"])


def _given(scene: Scene) -> Asked:
    """Those of the caller's file; all of its differences count."""
    text = scene.walk.question.states
    content = json.loads(text) if text.lstrip().startswith("{") else parse_yaml(text, source="states")
    topology = read_topology(scene.system.topology_pdb, n_atoms=scene.atoms)
    return Asked({MAIN: content}, {MAIN: parse_states(content, topology).differences})


def _found(scene: Scene, source: Source, pilot: Ensemble | None) -> Asked:
    """The wells of each torsion, and their combinations; what holds `COUNTS` of the weight counts."""
    positions, weights, opposite = _seen(scene, source, pilot)
    found = [find_wells(variable, positions, weights, opposite) for variable in scene.variables]
    wells = [one for one in found if one is not None]
    files: dict[str, Any] = {}
    if len(wells) > 1:
        joint, _ = joint_states(wells, positions, weights)
        if joint is not None:
            files[MAIN] = joint
        files |= {f"TORSIONS/{_plain(one)}": states_of(one, positions, weights) for one in wells}
    elif wells:
        files[MAIN] = states_of(wells[0], positions, weights)
    topology = read_topology(scene.system.topology_pdb, n_atoms=scene.atoms)
    counts = {}
    for name, content in files.items():
        states = parse_states(content, topology)
        masks = states.masks(positions)
        shares = {one: float(weights[mask].sum()) for one, mask in masks.items()}
        large = {one for one, share in shares.items() if share >= COUNTS and one != "all other"}
        counts[name] = [pair for pair in states.differences if set(pair) <= large]
    return Asked(files, counts)


def _plain(one: Wells) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", one.variable.name)


def _seen(
    scene: Scene, source: Source, pilot: Ensemble | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Conformations (n, N, 3) nm and weights (n,) that sum to one: pilot and frames, in equal shares.

    Where the molecule is its own mirror image both hands are among them, and the images of all are the third.
    """
    kelvin = scene.walk.question.temperature
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    if pilot is not None:
        parts.append((np.asarray(pilot.positions), normalised_weights(pilot.log_w)))
    if source.frames is not None and source.frames.exists():
        frames = read_trajectory_at(source.frames, scene.system, kelvin)
        parts.append((np.asarray(frames.positions), np.full(len(frames), 1.0 / len(frames))))
    if not parts:
        raise StoppedError("the time was over before anything was seen to find states in.")
    positions = np.concatenate([part[0] for part in parts])
    weights = np.concatenate([part[1] for part in parts])
    weights, kept = weights / weights.sum(), weights > 0
    opposite = images(scene.system, positions[kept])
    if opposite is None:
        return positions, weights, None
    both = np.concatenate([positions[kept], opposite]), np.concatenate([opposite, positions[kept]])
    return both[0], np.concatenate([weights[kept], weights[kept]]) / 2, both[1]


def wanted_by(asked: Asked, pilot: Ensemble, precision: float) -> int | None:
    """Samples for `precision` (kT) in each difference that counts, with enough effective ones in each state.

    As the `pilot` says; None where it has nothing of a state.
    """
    topology = read_topology(pilot.topology_pdb, n_atoms=pilot.positions.shape[1])
    found: list[int | None] = [number_with(pilot.diagnostics().n_effective, len(pilot))]
    for name, content in asked.files.items():
        pairs = [(str(a), str(b)) for a, b in asked.counts[name]]
        if not pairs:
            continue
        masks = parse_states(content, topology).masks(pilot.positions)
        statistics = Statistics(np.random.default_rng(0), n_bootstrap=100).about(pilot)
        for estimate in state_free_energies(pilot.log_w, masks, pairs, statistics):
            found.append(number_for(estimate.standard_error, len(pilot), precision))
            found.append(number_with(estimate.n_effective or 0.0, len(pilot)))
    known = [number for number in found if number is not None]
    return max(known) if len(known) == len(found) else None


def answered(walk: Walk, asked: Asked) -> dict[str, FreeEnergyResult]:
    """Each states file with its free energies from OUT, written beside it."""
    found = {}
    for name, content in asked.files.items():
        states = walk.path("states.yaml" if name == MAIN else f"{name}.yaml")
        result = walk.path(f"{name}.json")
        _write_states(states, content, walk.question.states if name == MAIN else "auto")
        replicates = REPLICATES_ASKED if name == MAIN else REPLICATES
        words: list[object] = ["boltzgen", "free-energy", "states", walk.path("OUT"), "--states", states]
        words += ["-o", result, "--bootstrap", replicates, "--seed", walk.seed()]
        work = partial(free_energy_states, walk.path("OUT"), states, output=result)
        again = partial(work, n_bootstrap=replicates, seed=walk.seed())
        found[name] = walk.step(name, words, again, again=True)
    return found


def _write_states(path: Path, content: Any, text: str) -> None:
    """The states file `path`: as it was given, or as it was found."""
    make_folder(path.parent)
    write_atomic(path, text if text != "auto" else states_text(content))


def states_text(content: Mapping[str, Any]) -> str:
    """A states file as people write it: one line a coordinate and a state (flow style, which JSON is)."""
    lines = []
    if content.get("coordinates"):
        lines.append("coordinates:")
        lines += [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in content["coordinates"].items()]
    lines.append("states:")
    lines += [f"  - {json.dumps(state)}" for state in content["states"]]
    lines.append(f"differences: {json.dumps(content['differences'])}")
    return "\n".join(lines) + "\n"


def largest_error(asked: Asked, found: Mapping[str, FreeEnergyResult]) -> float | None:
    """The largest standard error (kT) among the differences that count; None where one is not known."""
    largest = 0.0
    for name, result in found.items():
        counted = {(str(a), str(b)) for a, b in asked.counts[name]}
        for estimate in result.estimates:
            if (estimate.A, estimate.B) in counted:
                if estimate.standard_error is None:
                    return None
                largest = max(largest, estimate.standard_error)
    return largest
