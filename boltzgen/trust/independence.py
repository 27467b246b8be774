"""How many frames of a simulation are independent, with the energies that its file may lack."""

from __future__ import annotations

from dataclasses import replace

from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import slowest_inefficiencies
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.training_data import energies_of_frames


def with_inefficiency(frames: Trajectory, molecule: MolecularSystem, target: Target) -> Trajectory:
    """`frames` with their statistical inefficiency, measured here where it is not stored with them.

    Energies that the file lacks are those of `target`, one evaluation a frame: of a stiff molecule the energy
    is often the slowest of all that is looked at.
    """
    if frames.statistical_inefficiency:
        return frames
    whole, _ = energies_of_frames(target, frames, known=True)
    return replace(frames, statistical_inefficiency=slowest_inefficiencies(whole, molecule))
