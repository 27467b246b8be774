"""One molecule of the list: prepared twice, simulated twice, and the difference with its parts.

In its folder: A and B (prepared), A-MD and B-MD (replica exchange), with a model A-OUT and B-OUT (its
draws), and ``molecule.json``, which is written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.errors import BoltzgenError, StoppedError
from boltzgen.files import is_there, read_json, write_atomic, write_json
from boltzgen.folders import alone_in
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.transfer_split import TransferSplit, transfer_split
from boltzgen.interrupts import StopRequest
from boltzgen.loaders.records import Count, OpenRecord, read_record
from boltzgen.progress import Progress
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import ROTATABLE
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import SimulationSource
from boltzgen.workflows.datasets.settings import seed_of
from boltzgen.workflows.free_energy.ends import End, read_end
from boltzgen.workflows.free_energy.mbar_states import states_of, systems_of
from boltzgen.workflows.free_energy.pool import pooled
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.record import Simulation
from boltzgen.workflows.simulation.source import simulate_source
from boltzgen.workflows.timing.differences import polling
from boltzgen.workflows.two_energies.energies import Energy
from boltzgen.workflows.two_energies.entries import Entry
from boltzgen.workflows.two_energies.options import TransferListOptions

MOLECULE_SCHEMA = "boltzgen.transferred_molecule/1"

#: With a model, the share of the energies that simulations still take: they vouch for the draws' coverage.
BESIDE_A_MODEL = 0.25

#: ps of each replica at least. Walks of 2 ps from conformers left glycol 0.13 kcal/mol, four errors, from
#: where walks of 10 ps are: many short walks look independent of each other.
LEAST_WALK = 8.0

#: Frames kept at each temperature.
FRAMES = 3000

#: What the estimates of a split are called, in their order.
_KEYS = ("transfer", "solvation", "energy", "entropy", "fixed_in_a")


class _MoleculeRecord(OpenRecord):
    """``molecule.json``, as far as it is looked at."""

    number: Count
    name: str
    source: str
    status: str
    reason: str | None


@dataclass(frozen=True)
class Task:
    """One molecule, its folder, and what was asked."""

    entry: Entry
    folder: Path
    asked: TransferListOptions
    ends: tuple[Energy, Energy]

    def kept(self) -> dict[str, Any] | None:
        """Its record where it is complete."""
        path = self.folder / "molecule.json"
        if not is_there(path):
            return None
        remedy = f"remove {self.folder} and run `transfer()` again."
        of = "a molecule of `transfer()`"
        record = read_record(
            _MoleculeRecord, path, schema=MOLECULE_SCHEMA, missing="gone.", remedy=remedy, of=of
        )
        return record if record["status"] == "complete" else None

    def work(self, stop: StopRequest, progress: Progress) -> dict[str, Any]:
        """Its record, made and written; a molecule that cannot be done has the reason in it.

        StoppedError where `stop` asks to end: what there is stays, and the same call goes on.
        """
        with alone_in(self.folder):
            try:
                found = {**self._begun("complete", None), **self._difference(stop, progress)}
            except StoppedError:
                raise
            except BoltzgenError as error:
                found = self._begun("failed", str(error))
            write_json(self.folder / "molecule.json", found)
        return found

    def waiting(self) -> dict[str, Any]:
        return self._begun("waiting", None)

    def _begun(self, status: str, reason: str | None) -> dict[str, Any]:
        entry = self.entry
        return {
            "schema": MOLECULE_SCHEMA,
            "number": entry.number,
            "name": entry.name,
            "smiles": entry.smiles,
            "source": entry.source,
            "folder": entry.folder,
            "status": status,
            "reason": reason,
            "atoms": None,
            "verdict": None,
            "reasons": [],
            "estimates": {},
            "simulations": {},
        }

    def _difference(self, stop: StopRequest, progress: Progress) -> dict[str, Any]:
        molecules = {name: self._prepared(name, stop) for name in ("A", "B")}
        runs = {name: self._simulated(name, molecules[name], stop, progress) for name in molecules}
        folders = [str(self.folder / f"{name}-MD") for name in molecules]
        if self.asked.model is not None:
            folders = [*(str(self._drawn(name, stop, progress)) for name in molecules), *folders]
        split = self._split(folders, stop, progress)
        told = [
            replace(one, name=key, A=None, B=None) for key, one in zip(_KEYS, split.estimates, strict=True)
        ]
        return {
            "atoms": molecules["A"].n_atoms,
            "verdict": split.total.verdict,
            "reasons": list(split.total.reasons),
            "estimates": {one.name: one.to_json(self.asked.temperature) for one in told},
            "simulations": {
                name: {
                    "frames": run.frames,
                    "energy_evaluations": run.energy_evaluations,
                    "temperatures_K": list(run.temperatures),
                    "warnings": list(run.warnings),
                    "fingerprint": molecules[name].fingerprint,
                }
                for name, run in runs.items()
            },
        }

    def _prepared(self, name: str, stop: StopRequest) -> MolecularSystem:
        target = self.folder / name
        if is_there(target / "system.json"):
            return MolecularSystem.load(target)
        options: dict[str, Any] = {**self.ends["AB".index(name)].options, "name": self.entry.name}
        source = None
        if self.entry.block is None:
            options["smiles"] = self.entry.smiles
        else:
            source = self.folder / "molecule.sdf"
            write_atomic(source, f"{self.entry.block.rstrip()}\n$$$$\n")
        return prepare(source, target, overwrite=True, stop=stop, **options).system

    def _simulated(
        self, name: str, molecule: MolecularSystem, stop: StopRequest, progress: Progress
    ) -> Simulation:
        def told(done: int, of: int | None, values: Mapping[str, float | str] | None = None, /) -> None:
            progress(done, of, {"simulating": f"{self.entry.name} in {name}", **(values or {})})

        return simulate_source(
            self._source(molecule),
            molecule,
            self.folder / f"{name}-MD",
            seed=self._seed(f"{name} MD"),
            compile_energies=False,
            stop=stop,
            progress=told,
        )

    def _source(self, molecule: MolecularSystem) -> SimulationSource:
        """The simulation that suits the molecule, as `run` has it; the same for both ends of one size."""
        torsions = len(MolecularGraph.from_system(molecule).torsions(ROTATABLE))
        usual = defaults.simulation(molecule.n_atoms, self.asked.temperature, torsions)
        evaluations = evaluations_of(self.asked, torsions)
        if self.asked.model is not None:
            evaluations = max(int(BESIDE_A_MODEL * evaluations), 100)
        return SimulationSource(
            evaluations=evaluations,
            temperatures=list(usual.temperatures),
            ladders=_ladders(usual, evaluations),
            frames=FRAMES,
            timestep=defaults.TIMESTEP,
            hydrogen_mass=3.0,
            torsion_moves=usual.moves,
            exchange_interval=defaults.INTERVAL,
        )

    def _drawn(self, name: str, stop: StopRequest, progress: Progress) -> Path:
        """Draws of the model, anew where they are not all there."""
        out = self.folder / f"{name}-OUT"
        assert self.asked.model is not None
        if not _is_whole(out):
            sample(
                self.asked.model,
                self.folder / name,
                out,
                self.asked.samples,
                overwrite=True,
                temperature=self.asked.temperature,
                seed=self._seed(f"{name} OUT"),
                stop=stop,
                progress=progress,
            )
        return out

    def _split(self, folders: list[str], stop: StopRequest, progress: Progress) -> TransferSplit:
        systems = [str(self.folder / name) for name in ("A", "B")]
        statistics = Statistics(
            np.random.default_rng(self._seed("bootstrap")), n_bootstrap=self.asked.n_bootstrap
        )
        with ExitStack() as opened:
            ends: dict[str, End] = {}
            for folder in folders:
                if folder.endswith("-OUT"):
                    end = read_end(Path(folder), folder, device="cpu", need=True)
                    opened.callback(end.close)
                    ends[folder] = end
            known = systems_of(systems, list(ends.values()), "cpu", opened)
            states = states_of(folders, ends, known, [])
            rows = max([self.asked.samples, 1])
            pool = pooled(
                states,
                list(ends.values()),
                [],
                rows,
                polling(stop, partial(_told, progress, self.entry.name)),
            )
        result = pool.solved(statistics)
        u_kn, N_k = pool.rows()
        a, b = (f"{name}@{self.asked.temperature:g}K" for name in ("A", "B"))
        return transfer_split(result, u_kn, N_k, a, b, statistics)

    def _seed(self, word: str) -> int:
        return seed_of(self.asked.seed, f"{self.entry.number} {self.entry.source} {word}")


def evaluations_of(asked: TransferListOptions, torsions: int) -> int:
    """Energies of one simulation of a molecule with so many torsions that turn."""
    if asked.evaluations is not None:
        return asked.evaluations
    wanted = defaults.BASE_EVALUATIONS + defaults.EVALUATIONS_A_TORSION * torsions
    return min(wanted, defaults.MOST_EVALUATIONS)


def _ladders(usual: defaults.Simulated, evaluations: int) -> int:
    """As many as `usual`; fewer where each would be too short to forget where it began."""
    rungs = len(usual.temperatures)
    long_enough = int(evaluations * defaults.TIMESTEP / LEAST_WALK) // rungs
    return max(1, min(usual.replicas // rungs, long_enough))


def _told(
    progress: Progress,
    name: str,
    done: int,
    of: int | None,
    values: Mapping[str, float | str] | None = None,
    /,
) -> None:
    progress(done, of, {"weighing": name, **(values or {})})


def _is_whole(out: Path) -> bool:
    return is_there(out / "manifest.json") and read_json(out / "manifest.json").get("status") == "complete"
