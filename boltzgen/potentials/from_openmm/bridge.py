"""The bridge: any OpenMM System as a potential, evaluated by OpenMM itself in worker processes."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import unit

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.formats.openmm_xml import deserialize_system
from boltzgen.system.platforms import platform_names

if TYPE_CHECKING:
    from boltzgen.potentials.molecular_mechanics import MolecularMechanics
    from boltzgen.potentials.workers.external import ExternalPotential
    from boltzgen.system.molecular_system import MolecularSystem

#: Seconds of measurement for each platform that ``auto`` tries.
MEASUREMENT = 0.2

#: Reference alone calculates in double precision: ``auto`` takes it unless another is this much faster.
PREFERENCE = 1.5

#: Properties of the contexts: workers are single-threaded, and graphics cards add energies up in double.
PROPERTIES = {
    "CPU": {"Threads": "1"},
    "CUDA": {"Precision": "mixed"},
    "OpenCL": {"Precision": "mixed"},
    "HIP": {"Precision": "mixed"},
}


def bridge(system: MolecularSystem, platform: str = "auto", workers: int = 1) -> ExternalPotential:
    """The energy of `system` by OpenMM itself, on `platform` in `workers` processes.

    Nothing starts before the first energy; `pool.start` of the result finds out whether it can.

    Raises
    ------
    UnsupportedError: a periodic box, constraints or virtual sites.
    """
    from boltzgen.potentials.from_openmm.translate import refuse_boxes_and_constraints
    from boltzgen.potentials.workers.external import ExternalPotential  # torch; a worker does without
    from boltzgen.potentials.workers.pool import WorkerPool

    refuse_boxes_and_constraints(system.openmm_system())

    spec = {
        "kind": "openmm",
        "system": system.system_xml,
        "name": system.name,
        "platform": platform,
        "reference": system.reference_positions.tolist(),
    }
    potential = ExternalPotential(WorkerPool(spec, system.n_atoms, workers))
    potential.invariant = _is_invariant(system)
    return potential


def _is_invariant(system: MolecularSystem) -> bool:
    """Whether the energy of the reference positions is that of turned and of shifted ones."""
    from boltzgen.potentials.from_openmm.reference import reference_energies

    x = system.reference_positions
    turned = (x - x.mean(axis=0)) @ np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]).T / 3 + x.mean(axis=0)
    shifted = x + np.array([10.0, -7.0, 5.0])  # nm, out of any flat-bottomed well
    energies, forces = reference_energies(system.openmm_system(), np.stack([x, turned, shifted]))
    scale = max(1.0, np.abs(forces[0]).max())
    return bool(np.allclose(energies, energies[0], rtol=1e-6, atol=1e-6 * scale))


def translatable_part(system: MolecularSystem) -> MolecularMechanics:
    """The translation of `system` without the forces that cannot be translated; not its energy.

    Forces are tried in their order, each with those that were taken before it.
    """
    from boltzgen.potentials.from_openmm.translate import translate_openmm

    part = openmm.System()
    for mass in system.masses:
        part.addParticle(mass)
    for force in system.openmm_system().getForces():
        part.addForce(copy.deepcopy(force))
        try:
            translate_openmm(part, system.bonds)
        except UnsupportedError:
            part.removeForce(part.getNumForces() - 1)
    return translate_openmm(part, system.bonds)


def make_evaluator(spec: dict[str, Any]) -> OpenMMEvaluator:
    """The evaluator of ``spec["system"]`` (XML text) on ``spec["platform"]``; ``auto``: on the fastest here.

    ``spec["reference"]``: positions (N, 3) in nm on which platforms are compared.

    Raises
    ------
    InputError: the platform is not there, or cannot evaluate the System.
    UnsupportedError: a force would run code.
    """
    system = deserialize_system(spec["system"], f"the System of {spec['name']!r}")
    if spec["platform"] != "auto":
        return OpenMMEvaluator(system, spec["platform"])
    reference = np.array(spec["reference"])
    times = {}
    for name in platform_names():
        try:
            times[name] = _seconds(OpenMMEvaluator(system, name), reference)
        except (InputError, openmm.OpenMMException):
            continue  # no device or no driver for it
    if not times:
        raise InputError(f"No OpenMM platform can evaluate the System of {spec['name']!r}.")
    if times.get("Reference", np.inf) < PREFERENCE * min(times.values()):
        return OpenMMEvaluator(system, "Reference")
    return OpenMMEvaluator(system, min(times, key=lambda name: times[name]))


class OpenMMEvaluator:
    """Energy in kJ/mol and gradient (N, 3) in kJ/mol/nm of one conformation (N, 3) in nm."""

    def __init__(self, system: openmm.System, platform: str) -> None:
        if platform not in platform_names():
            raise InputError(
                f"OpenMM has no platform {platform!r} here, only {', '.join(platform_names())}; "
                "choose one of them as `platform`."
            )
        self.settled = {"platform": platform}
        self._integrator = openmm.VerletIntegrator(0.001)
        chosen = openmm.Platform.getPlatformByName(platform)
        try:
            self._context = openmm.Context(system, self._integrator, chosen, PROPERTIES.get(platform, {}))
        except openmm.OpenMMException as error:
            raise InputError(f"OpenMM's platform {platform} cannot evaluate this System: {error}.") from error

    def __call__(self, positions: np.ndarray) -> tuple[float, np.ndarray]:
        self._context.setPositions(positions)
        state = self._context.getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit_system(unit.md_unit_system)
        return energy, -state.getForces(asNumpy=True).value_in_unit_system(unit.md_unit_system)


def _seconds(evaluator: OpenMMEvaluator, positions: np.ndarray) -> float:
    """Seconds of one evaluation; the first, which may compile kernels, does not count."""
    evaluator(positions)
    begin, number = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < MEASUREMENT:
        evaluator(positions)
        number += 1
    return passed / max(1, number)
