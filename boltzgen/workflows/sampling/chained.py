"""Samples of walkers: what `sample` asks of `boltzgen.refine.chains`, and the ensemble of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from boltzgen.checks import check_number
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.refine.chains.run import ChainSamples, Store, run_chains
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.system.formats.pdb_text import parse_names
from boltzgen.trust.judgement import TorsionColumn, state_columns
from boltzgen.workflows.sampling.options import SampleOptions

#: What is asked of chains alone, and the least that it may be; the most is that of `ChainSettings`.
_OF_CHAINS = {"walkers": 1, "groups": 2, "stride": 1, "warm_up": 1, "pilot": 1, "ladder": None}

#: What a ladder may be.
LADDERS: tuple[str, ...] = get_args(ChainSettings.model_fields["ladder"].annotation)

#: What has no meaning beside chains.
_WITHOUT = {
    "proposal_temperatures": "walkers move at one temperature",
    "refine": "walkers are moved already",
    "refine_budget": "walkers are moved already",
}


def chain_settings(asked: SampleOptions) -> ChainSettings | None:
    """What `asked` means for chains, None where it asks for independent draws; InputError for nonsense."""
    given: dict[str, Any] = {
        name: value for name in _OF_CHAINS if (value := getattr(asked, name)) is not None
    }
    if not asked.chains:
        for name in given:
            raise InputError(f"`{name}` is for chains; add `chains=True`.")
        return None
    for name, why in _WITHOUT.items():
        if getattr(asked, name):
            raise InputError(f"`{name}` has no meaning with `chains=True`: {why}; leave one of them out.")
    if asked.batch_size != "auto":
        raise InputError(
            "`batch_size` has no meaning with `chains=True`: all walkers move at once; give `walkers`."
        )
    for name, least in _OF_CHAINS.items():
        if least is not None and name in given:
            check_number(given[name], name, least=least, most=_most(name))
    if given.get("ladder", LADDERS[0]) not in LADDERS:
        raise InputError(f"`ladder={asked.ladder!r}` is not known; use {', '.join(LADDERS)}.")
    groups = given.get("groups", ChainSettings().groups)
    if "walkers" in given:
        walkers = given.pop("walkers")
        if walkers % groups:
            raise InputError(
                f"`walkers={walkers}`: they form {groups} groups that never talk, which are compared; "
                f"give a multiple of {groups}."
            )
        given["walkers_a_group"] = walkers // groups
    return ChainSettings(**given)


def _most(name: str) -> int:
    """The largest number that `ChainSettings` takes for `name`."""
    field = ChainSettings.model_fields["walkers_a_group" if name == "walkers" else name]
    return next(int(bound.le) for bound in field.metadata if hasattr(bound, "le"))


def require_rows(number: int, settings: ChainSettings) -> None:
    """InputError where `number` rows leave a walker without one."""
    walkers = settings.walkers
    if number < walkers:
        raise InputError(
            f"`number={number}` samples of {walkers} walkers leave some without one; give at least as many, "
            "or fewer `walkers`."
        )


def chain_task(
    number: int,
    temperature: float,
    asked: SampleOptions,
    settings: ChainSettings,
    target: Target,
    model: Mapping[str, Any],
    rings: RingMoves | None,
) -> dict[str, Any]:
    """What chains in a folder belong to: they go on with the same alone."""
    turned = {} if rings is None else {"ring_moves": len(rings)}
    return {
        **turned,
        "number": number,
        "temperature": temperature,
        "seed": asked.seed,
        "dtype": asked.dtype,
        "settings": settings.model_dump(),
        "system": target.fingerprint,
        "model": model.get("content_sha256"),
    }


def walked_or_failed(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    settings: ChainSettings,
    seed: int,
    rings: RingMoves | None,
    stop: StopRequest | None,
    progress: Progress,
    store: Store,
) -> tuple[ChainSamples, BoltzgenError | None]:
    """What the chains sampled, and the error that ended them, if they had sampled anything before it."""
    try:
        found = run_chains(
            generator,
            number,
            temperature,
            settings=settings,
            seed=seed,
            rings=rings,
            stop=stop,
            progress=progress,
            store=store,
        )
    except BoltzgenError as error:
        if not isinstance(error.result, ChainSamples):
            raise
        return error.result, error
    return found, None


def ensemble_of(
    samples: ChainSamples, generator: BoltzmannGenerator, temperature: float, settings: ChainSettings
) -> Ensemble:
    """The rows of `samples` with their walkers, weights ``log_w = ln Z`` (0 where it is not known).

    ``step`` is the sweep after the warm-up at whose end a row was taken.
    """
    target = generator.target
    log_w = np.full(len(samples), samples.log_z or 0.0)
    spent = {name: int(count) for name, count in samples.energy_evaluations.items()}
    record = {
        "log_z": samples.log_z,
        "log_z_standard_error": samples.log_z_error,
        "stride": samples.stride,
        "sweeps": samples.sweeps,
        "acceptance": {
            kind: {"accepted": int(yes), "tried": int(tried)}
            for kind, (yes, tried) in samples.acceptance.items()
        },
        "energy_evaluations": spent,
        "largest_drift": float(samples.largest_drift),
        "ladders": list(samples.ladders),
        "settings": settings.model_dump(),
        "torsions": torsions_that_count(target),
    }
    u = np.asarray(samples.u, dtype=np.float64)
    return Ensemble.from_densities(
        samples.positions,
        -u - log_w,
        u,
        temperature=temperature if target.is_molecular else None,
        measure=target.coordinates.measure,
        system_fingerprint=target.fingerprint,
        domain=target.domain,
        topology_pdb=target.topology_pdb,
        provenance={"energy_evaluations": sum(spent.values()), "chains": record},
        walker=samples.walker,
        group=samples.group,
        step=(samples.step + 1) * samples.stride,
    )


def torsions_that_count(target: Target) -> list[dict[str, Any]]:
    """The torsions that decide the verdict: the open ones, and those of rings that have states.

    Of rings the torsions count as variables alone: their states are those of the whole ring.
    """
    if not isinstance(target.coordinates, InternalCoordinates):
        return []
    names = parse_names(target.topology_pdb)
    columns = state_columns(target, names)
    atoms = target.coordinates.table.atoms
    found = [
        {"name": one.name, "atoms": [int(atom) for atom in atoms[one.column]], "states": True}
        for one in columns
        if isinstance(one, TorsionColumn)
    ]
    if len(found) < len(columns):  # a ring has states
        for torsion in target.coordinates.graph.torsions():
            if torsion.kind == "ring" and torsion.heavy:
                name = "-".join(str(names[atom].atom) for atom in torsion.atoms)
                found.append({"name": f"of a ring {name}", "atoms": list(torsion.atoms), "states": False})
    return found
