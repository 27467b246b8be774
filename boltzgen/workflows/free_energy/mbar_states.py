"""The states of ``free-energy mbar``: systems at temperatures, and the independent frames of each.

Frames are those of simulations and rows of walkers, both so far apart that they count as independent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target, read_target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.rings import missing_in_frames
from boltzgen.workflows.free_energy.ends import (
    End,
    TargetSamples,
    independent_frames,
    require_one_molecule,
    walked_samples,
)


@dataclass(frozen=True, eq=False)
class StateSystem:
    """A system by the name that the user knows it by."""

    name: str
    molecule: MolecularSystem | None
    target: Target


@dataclass(eq=False)
class SampledState:
    """A system at `temperature` (K), its independent frames, where they came from, and cautions on them."""

    system: StateSystem
    temperature: float
    frames: list[np.ndarray] = field(default_factory=list)
    record: list[dict[str, Any]] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.system.name}@{self.temperature:g}K"

    @property
    def n(self) -> int:
        return sum(len(part) for part in self.frames)


def systems_of(
    given: Sequence[str | os.PathLike[str]], ends: list[End], device: str, opened: ExitStack
) -> dict[str, StateSystem]:
    """Every system by its fingerprint, those of the flows first; all are one molecule in one domain."""
    found: dict[str, StateSystem] = {}
    for end in ends:
        assert end.system is not None
        fingerprint = end.ensemble.system_fingerprint
        name = _name(found, str(end.record["system"]))
        found.setdefault(fingerprint, StateSystem(name, end.molecule, end.system.generator.target))
    isomers = {end.trained.record.get("isomers", "reference") for end in ends if end.trained is not None}
    if len(isomers) > 1:
        raise InputError("the flows differ in their isomers (reference and free), so that their domains do.")
    for source in given:
        molecule, target = read_target(str(source), isomers=next(iter(isomers), "reference"))
        opened.callback(target.close)
        name = _name(found, str(source))
        found.setdefault(target.fingerprint, StateSystem(name, molecule, target.to(device)))
    members = list(found.values())
    for member in members[1:]:
        require_one_molecule(
            (members[0].name, members[0].molecule, members[0].target),
            (member.name, member.molecule, member.target),
        )
    return found


def _name(found: dict[str, StateSystem], source: str) -> str:
    """The last part of the path `source`, or all of it where another system is called so."""
    short = Path(source).name
    return source if short in {system.name for system in found.values()} else short


def states_of(
    folders: Sequence[str], ends: dict[str, End], known: dict[str, StateSystem], temperatures: Sequence[float]
) -> list[SampledState]:
    """All states, those of the first folder first."""
    states: dict[tuple[str, float], SampledState] = {}

    def state(fingerprint: str, kelvin: float) -> SampledState:
        key = (fingerprint, round(float(kelvin), 6))
        return states.setdefault(key, SampledState(known[fingerprint], float(kelvin)))

    for folder in folders:
        if folder in ends:
            end = ends[folder]
            here = state(end.ensemble.system_fingerprint, end.temperature)
            if end.ensemble.walkers is not None:
                rows = walked_samples(end)
                _refuse_weighted(end, rows)
                here.frames.append(rows.positions)
                here.record.append(rows.record)
        else:
            _add_frames(folder, known, state)
    sampled = {fingerprint for fingerprint, _ in states}
    first = next(iter(states.values())).temperature
    for fingerprint in known:
        if fingerprint not in sampled and not temperatures:
            state(fingerprint, first)
        for kelvin in temperatures:
            state(fingerprint, kelvin)
    return list(states.values())


def _refuse_weighted(end: End, rows: TargetSamples) -> None:
    """InputError for walkers that were reweighted: their rows are samples of the target before."""
    if rows.log_w is not None:
        raise InputError(
            f"{end.folder} was reweighted from samples of walkers, and MBAR weighs by itself; name the "
            "folder that they were written to, and the new target as `systems` or `temperatures`."
        )


def _add_frames(
    folder: str, known: dict[str, StateSystem], state: Callable[[str, float], SampledState]
) -> None:
    """The independent frames of a simulation, at each of its temperatures, inside the domain."""
    fingerprint = read_trajectory(folder).system_fingerprint
    if fingerprint is None or fingerprint not in known:
        raise InputError(
            f"{folder}: frames of a system that was not given; name its prepared folder, `systems=[SYS]`."
        )
    system = known[fingerprint]
    whole = read_trajectory(folder, system.molecule)
    assert system.molecule is not None
    for kelvin in whole.temperature_ladder:
        frames = whole.at(float(kelvin))
        independent = independent_frames(frames, system.molecule, system.target)
        positions = np.array(independent.positions)
        inside = system.target.coordinates.inside(torch.as_tensor(positions, dtype=torch.float64)).cpu()
        here = state(fingerprint, float(kelvin))
        here.frames.append(positions[inside.numpy()])
        here.cautions += [f"{folder}: {one}" for one in frames.cautions]
        here.record.append(
            {
                "source": folder,
                "frames": len(frames),
                "independent": len(independent),
                "outside the domain": int((~inside).sum()),
                "sha256": frames.digest(),
            }
        )


def found_of_walkers(walked: list[End]) -> list[tuple[str, str]]:
    """What is found of the chains whose rows count as frames."""
    judged = [(end, end.ensemble.diagnostics()) for end in walked]
    return [(found.verdict, f"{end.name}: {reason}") for end, found in judged for reason in found.reasons]


def found_of_frames(states: list[SampledState]) -> list[tuple[str, str]]:
    """Cautions on the frames of `states`, each once; then states of rings that none of them shows."""
    told = dict.fromkeys(one for state in states for one in state.cautions)
    return [*(("caution", one) for one in told), *missing_rings(states)]


def missing_rings(states: list[SampledState]) -> list[tuple[str, str]]:
    """States of rings that none of the frames of a system shows, at any of its temperatures."""
    found = []
    for system in {id(state.system): state.system for state in states if state.n}.values():
        own = [state for state in states if state.system is system and state.n]
        frames = np.concatenate([part for state in own for part in state.frames])
        if system.molecule is not None:
            coldest = min(state.temperature for state in own)
            found += missing_in_frames(system.molecule, frames, coldest)
    return found
