"""What wells are made of: weighted samples, rows of walkers, frames of a simulation, or bare structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.checks import check_temperature
from boltzgen.contents import kind_of_folder, what_it_is
from boltzgen.data.foreign import FORMATS, read_structures
from boltzgen.data.manifest import doubts_of, read_manifest
from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory, require_temperature
from boltzgen.ensemble.chains.diagnostics import judge_crossings
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.diagnostics import COVERED
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.ensemble.thinning import PriorityOrder
from boltzgen.errors import InputError
from boltzgen.files import is_there, read_json
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import temperature_of
from boltzgen.system.examples import EXAMPLE
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.crossings import judge_starts, replicas_of
from boltzgen.trust.rings import RingWalks, missing_in_frames
from boltzgen.units import same_temperature, thermal_energy
from boltzgen.wells.populations import Judge
from boltzgen.workflows.reporting.calls import located

#: Files of structures, which have no weights.
STRUCTURES = (".sdf", ".mol", ".xyz")
#: Files that hold a molecule to be prepared.
MOLECULES = (".sdf", ".mol", ".mol2")
#: Why structures of a file have no populations.
NO_WEIGHTS = (
    "the structures of a file have no weights: populations, free energies and entropies need samples, "
    "as `run()` or `sample()` makes them"
)
#: Makes a system of a file with a molecule.
Prepared = Callable[[Path], MolecularSystem]
#: Temperature (K) where nothing says another.
USUAL = 300.0


@dataclass(frozen=True, eq=False)
class Conformations:
    """Conformations of `system` at `temperature` (K).

    kind: ``samples``, ``walkers``, ``frames`` or ``structures``. positions: (n, N, 3) nm. log_w: (n,), zeros
    where all count alike. u: (n,) reduced energies, NaN where the file has none. walkers: who made each row,
    of walkers and of frames. isomers: what the domain holds. verdict, reasons: on all of them. coverage,
    k_hat: of the samples.
    """

    system: MolecularSystem
    temperature: float
    kind: str
    positions: np.ndarray
    log_w: np.ndarray
    u: np.ndarray
    source: str
    walkers: Walkers | None = None
    isomers: str = "reference"
    verdict: str = "ok"
    reasons: tuple[str, ...] = ()
    ensemble: Ensemble | None = None
    k_hat: float | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def weighted(self) -> bool:
        return self.kind != "structures"

    def chosen(self, most: int, rng: np.random.Generator) -> tuple[Conformations, np.ndarray]:
        """At most `most` rows and their numbers: by weight without bias, of walkers and frames evenly.

        Rows that were not chosen by weight stay in the count: what is returned has all N rows of samples, of
        which those not chosen weigh nothing (`boltzgen.ensemble.thinning`); the numbers are of the others.
        """
        if self.kind == "samples":
            order = PriorityOrder.draw(self.log_w, np.isfinite(self.log_w), rng)
            rows = order.rows[:most]
            log_w = np.full(len(self), -np.inf)
            log_w[rows] = self.log_w[rows] - order.log_inclusion(most)
            return replace(self, log_w=log_w), np.sort(rows)
        if self.kind == "walkers" and self.walkers is not None:
            rows = np.arange(len(self))
            if len(self) > most:
                rows = self.walkers.spaced(len(self) / most)
            rows = rows[np.isfinite(self.log_w[rows])]
        else:
            rows = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(int))
        return self._of(rows), np.arange(len(rows))

    def _of(self, rows: np.ndarray) -> Conformations:
        own = self.walkers
        walkers = own and replace(own, walker=own.walker[rows], group=own.group[rows], step=own.step[rows])
        return replace(
            self, positions=self.positions[rows], log_w=self.log_w[rows], u=self.u[rows], walkers=walkers
        )

    def statistics(self, base: Statistics, codes: np.ndarray) -> Statistics:
        """How errors of rows in the wells `codes` (n,) are made."""
        if self.ensemble is not None:
            about = base.about(self.ensemble)
            return about if about.walkers is None else replace(about, walkers=self.walkers)
        series = [codes == well for well in np.unique(codes)]
        slowest = max(statistical_inefficiency(one.astype(float)) for one in series)
        return replace(base, coverage=COVERED, inefficiency=slowest)

    @property
    def judge(self) -> Judge:
        """Whether a state was entered and left often enough for its population to mean anything."""
        walkers, simulated = self.walkers, self.kind == "frames"

        def crossed(name: str, inside: np.ndarray) -> list[tuple[str, str]]:
            if walkers is None:
                return []
            entered, left = walkers.crossings(inside)
            if not simulated:
                return judge_crossings(f"the state {name}", entered, left)
            state = {"name": name, "share": float(inside.mean()), "entered": entered, "left": left}
            return [("caution", sentence) for sentence in judge_starts([state])]

        return crossed


def conformations(
    source: Path,
    system: str | None,
    temperature: float | None,
    prepared: Prepared,
) -> Conformations:
    """What `source` holds: OUT, the DIR of `run`, MD, or a file of frames or structures.

    system: SYS, a file with one molecule, or None. temperature: K, for what does not say it. prepared: makes
    a system of a file with a molecule.

    Raises InputError in one sentence where something given cannot be used.
    """
    if temperature is not None:
        check_temperature(temperature)
    place = source / "OUT" if (source / "run.json").is_file() else source
    kind = kind_of_folder(place)
    if kind == "ensemble":
        return _of_ensemble(place, system, temperature, prepared)
    if place.is_dir():
        return _of_simulation(place, kind, system, temperature, prepared)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; expected samples (OUT), an SDF or an XYZ file.")
    suffix = source.suffix.lower()
    if suffix not in (*STRUCTURES, *FORMATS):
        known = ", ".join((*STRUCTURES, *FORMATS))
        raise InputError(f"{source}: the format {suffix!r} is unknown; give OUT, MD, or one of {known}.")
    if system is None and suffix not in MOLECULES:
        raise InputError(
            f"`system`: {source} holds no bonds, and none are guessed from distances; give the molecule as "
            "`system=SYS`, or as an SDF file."
        )
    molecule = _molecule(str(source) if system is None else system, prepared)
    if suffix in FORMATS:
        told = "give it in K as `temperature`, for example `temperature=300`."
        require_temperature(source, temperature, told)
        return _of_frames(source, molecule, temperature, 1, None)
    positions = read_structures(source, molecule)
    count = len(positions)
    return Conformations(
        molecule,
        temperature or USUAL,
        "structures",
        positions,
        np.zeros(count),
        np.full(count, np.nan),
        str(source),
        verdict="caution",
        reasons=(NO_WEIGHTS,),
    )


def _molecule(given: str, prepared: Prepared) -> MolecularSystem:
    """The system in SYS, or of a file with a molecule."""
    path = Path(given)
    if not given.startswith(EXAMPLE) and path.suffix.lower() in MOLECULES and path.is_file():
        return prepared(path)
    return MolecularSystem.load(given)


def _of_ensemble(
    folder: Path, system: str | None, temperature: float | None, prepared: Prepared
) -> Conformations:
    ensemble = load_ensemble(folder)
    if not ensemble.is_molecular:
        raise InputError(f"{folder}: samples of a model system have no conformers; give those of a molecule.")
    kelvin = temperature_of(ensemble)
    if temperature is not None and not same_temperature(temperature, kelvin):
        raise InputError(
            f"`temperature={temperature:g}`: the samples in {folder} are at {kelvin:g} K; weigh them anew by "
            f"`reweight(OUT, output=HOT, temperature={temperature:g})`."
        )
    molecule = _sampled(folder, ensemble) if system is None else _molecule(system, prepared)
    if molecule.fingerprint != ensemble.system_fingerprint:
        raise InputError(
            f"{folder}: the samples belong to another molecule or force field than {system} holds; name the "
            "system that was sampled as `system=SYS`."
        )
    if not np.isfinite(ensemble.log_w).any():
        raise InputError(f"{folder}: every sample was rejected, so that there is nothing to gather.")
    judged = ensemble.diagnostics()
    return Conformations(
        molecule,
        kelvin,
        "samples" if ensemble.walkers is None else "walkers",
        np.asarray(ensemble.positions),
        np.asarray(ensemble.log_w),
        np.asarray(ensemble.u),
        str(folder),
        walkers=ensemble.walkers,
        isomers="free" if ensemble.domain.startswith("isomers: free") else "reference",
        verdict=judged.verdict,
        reasons=tuple(judged.reasons),
        ensemble=ensemble,
        k_hat=judged.k_hat,
    )


def _sampled(folder: Path, ensemble: Ensemble) -> MolecularSystem:
    """The molecule whose energy the weights in `folder` belong to, where the folder says it."""
    origin = ensemble.provenance
    task: dict[str, Any] = {}
    if is_there(folder / "reweight.json"):
        task = read_json(folder / "reweight.json").get("task") or {}
    names = [origin.get("system"), task.get("to"), (origin.get("drawn_by") or {}).get("system")]
    places = [located(name, folder) for name in names if isinstance(name, str)]
    for place in places:
        if place.startswith(EXAMPLE) or kind_of_folder(place) == "system":
            molecule = MolecularSystem.load(place)
            if molecule.fingerprint == ensemble.system_fingerprint:
                return molecule
    why = f"{', '.join(places)} is not it, or no longer there" if places else "it does not say which"
    raise InputError(f"`system`: the molecule of {folder} is not found ({why}); give it as `system=SYS`.")


def _of_simulation(
    folder: Path,
    kind: str,
    system: str | None,
    temperature: float | None,
    prepared: Prepared,
) -> Conformations:
    if kind != "simulation":
        raise InputError(
            f"{folder} holds neither samples, as `sample()` writes them, nor a simulation; give OUT, MD or a "
            f"file of structures.{what_it_is(folder)}"
        )
    if system is None:
        raise InputError(f"`system`: give the molecule of {folder} as `system=SYS`.")
    manifest = read_manifest(folder)
    walks = int((manifest.get("torch") or {}).get("walks", 1))
    return _of_frames(folder, _molecule(system, prepared), temperature, walks, doubts_of(manifest))


def _of_frames(
    path: Path,
    molecule: MolecularSystem,
    temperature: float | None,
    walks: int,
    doubts: tuple[str, ...] | None,
) -> Conformations:
    """Frames at one temperature, the coldest where none is asked, each replica a walker in order of time.

    doubts: on them; None where only the frames can tell.
    """
    whole = read_trajectory(path, molecule, temperature=temperature)
    kelvin = float(whole.temperature_ladder[0]) if temperature is None else temperature
    frames = whole.at(kelvin)
    if doubts is None:
        one = RingWalks.of_one(frames.positions)
        doubts = tuple(reason for _, reason in missing_in_frames(molecule, frames.positions, kelvin, one))
    return Conformations(
        molecule,
        kelvin,
        "frames",
        np.asarray(frames.positions, dtype=np.float64),
        np.zeros(len(frames)),
        frames.energies / thermal_energy(kelvin),
        str(path),
        walkers=replicas_of(frames, walks),
        verdict="caution" if doubts else "ok",
        reasons=doubts,
    )
