"""From what `simulate` was asked to the settings of a run, with one engine or the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from boltzgen.config.devices import check_device
from boltzgen.dynamics.settings import BatchedSettings, SimulationSettings, usual_replicas
from boltzgen.errors import InputError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.simulation.options import SimulateOptions, parse_time

#: What `engine` may be; auto measures the two and takes the faster one.
ENGINES = ("openmm", "torch", "auto")

#: Arguments of the torch engine alone.
_OF_TORCH = ("replicas", "device", "hydrogen_mass", "torsion_moves", "precision")


def parse_temperatures(value: str | float | Sequence[float]) -> tuple[float, ...]:
    """The ladder in ``"300,366,446"`` (K), in a number or in a sequence of them."""
    if isinstance(value, int | float):
        return (float(value),)
    if not isinstance(value, str):
        return tuple(float(v) for v in value)
    try:
        return tuple(float(word.strip().removesuffix("K")) for word in value.split(","))
    except ValueError:
        raise InputError(
            f"`temperatures={value!r}` is not a list of numbers; write kelvin, such as 300,366,446."
        ) from None


def check_asked(asked: SimulateOptions) -> None:
    """InputError unless the engine is known and no argument of the other one was given."""
    if asked.engine not in ENGINES:
        raise InputError(f"`engine={asked.engine!r}` is unknown; use auto, openmm or torch.")
    given = [name for name in _OF_TORCH if getattr(asked, name) is not None]
    if asked.engine == "openmm" and given:
        raise InputError(f'`{given[0]}` is for the torch engine; add `engine="torch"`, or leave it out.')
    if asked.engine != "openmm" and asked.platform != "auto" and (given or asked.engine == "torch"):
        raise InputError(
            f"`platform={asked.platform!r}` is OpenMM's; "
            'with `engine="torch"` choose `device="cpu"` or `device="cuda"`.'
        )
    if asked.precision not in (None, "single", "double"):
        raise InputError(f"`precision={asked.precision!r}` is unknown; use single or double.")


def engines_of(asked: SimulateOptions, molecule: MolecularSystem | None = None) -> tuple[str, ...]:
    """The engines that may run: the one asked for, that of other arguments, else those that can.

    OpenMM alone cannot simulate a hybrid `molecule`.
    """
    check_asked(asked)
    if asked.engine != "auto":
        return (asked.engine,)
    if asked.platform != "auto":
        return ("openmm",)
    hybrid = molecule is not None and molecule.energy_model.region is not None
    of_torch = hybrid or any(getattr(asked, name) is not None for name in _OF_TORCH)
    return ("torch",) if of_torch else ("openmm", "torch")


def settings_of(asked: SimulateOptions, engine: str) -> SimulationSettings:
    """Checked settings of a run with `engine`; InputError where they cannot be run.

    Where either engine may run, torch gets as many replicas as OpenMM: one for each temperature, so that
    the frames are as many.
    """
    ladder = parse_temperatures(asked.temperatures)
    times = ("time", "timestep", "exchange_interval", "save_interval", "equilibration")
    common: dict[str, Any] = {
        "temperatures": ladder,
        **{name: parse_time(getattr(asked, name), name) for name in times},
        "friction": asked.friction,
        "seed": asked.seed,
        "ring_moves": asked.ring_moves,
    }
    settings = SimulationSettings(**common).checked()
    if engine == "openmm":
        return settings
    usual = len(ladder) if len(engines_of(asked)) > 1 else usual_replicas(len(ladder))
    check_device(asked.device or "cpu")
    return BatchedSettings(
        **common,
        hydrogen_mass=asked.hydrogen_mass,
        torsion_moves=asked.torsion_moves or 0,
        precision="double" if asked.precision == "double" else "single",
        replicas=usual if asked.replicas is None else asked.replicas,
    ).checked()


def as_before(asked: SimulateOptions, former: Mapping[str, Any]) -> SimulateOptions:
    """`asked` with the engine, replicas and platform of the run `former` where they were left open.

    A run of a time before moves of rings goes on without them.
    """
    settings = former["settings"]
    asked = asked if "ring_moves" in settings else replace(asked, ring_moves=0)
    engine = str(settings.get("engine", "openmm")) if asked.engine == "auto" else asked.engine
    if engine == "torch":
        replicas = settings.get("replicas") if asked.replicas is None else asked.replicas
        return replace(asked, engine=engine, replicas=replicas if asked.engine == "auto" else asked.replicas)
    platform = str(former["platform"]) if asked.platform == "auto" else asked.platform
    return replace(asked, engine=engine, platform=platform)
