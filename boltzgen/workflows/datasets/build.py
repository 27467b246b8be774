"""``dataset build``: molecules are prepared and simulated, one shard each, listed in one file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.config.devices import check_device
from boltzgen.config.settings import load_settings, nearest
from boltzgen.config.shipped import find_config
from boltzgen.data.convergence import convergence
from boltzgen.data.dataset import SPLITS, Dataset, DatasetMolecule
from boltzgen.data.dataset_record import SCHEMA, read_dataset_record, read_molecule_record, waiting_record
from boltzgen.data.trajectory import evaluations_of_folder, read_trajectory
from boltzgen.errors import BoltzgenError, InputError, PartialError, StoppedError
from boltzgen.files import make_folder, sha256_file, write_json
from boltzgen.folders import alone_for_a_moment_in, alone_in, each_alone, is_own_file
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.system.graph.graph_hash import graph_hash
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import SimulationSource
from boltzgen.workflows.datasets.packed import copy_frames, packed_frames
from boltzgen.workflows.datasets.settings import DatasetSettings, Place, seed_of
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.simulation.source import simulate_source
from boltzgen.workflows.timing.datasets import expected_dataset
from boltzgen.workflows.timing.expectation import Expect, Expectation

__all__ = ["Dataset", "DatasetMolecule", "build_dataset", "load_dataset"]

Record = dict[str, Any]


def build_dataset(
    config: str | PathLike[str] | DatasetSettings,
    output: str | PathLike[str],
    overrides: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
    split: Sequence[str] = (),
    systems_only: bool = False,
    rebuild: Sequence[str] = (),
    frames: str | PathLike[str] | None = None,
    device: str = "cpu",
    compile_energies: bool | None = None,
    seed: int | None = None,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> Dataset:
    """Prepare and simulate the molecules of `config` into the folder `output`; complete ones are kept.

    First all systems are prepared, so that a molecule in two splits is found before anything is simulated;
    then the data are made, in the order of the configuration.

    Parameters
    ----------
    config: a YAML file, the name of a shipped configuration, or settings. overrides: ``key=value``.
    only: names of the molecules to build; split: build those of these splits.
    systems_only: prepare without data, for molecules that are only sampled or trained on energies.
    rebuild: names of molecules to throw away and make anew, besides those of `only` and `split`.
    frames: folder that `pack_run` wrote; molecules whose frames it holds are not simulated.
    device: ``"cpu"`` or ``"cuda"``, of the simulations. compile_energies: None compiles where it pays.
    seed: instead of the configuration's. expect: told how long it will take before it begins.

    Returns
    -------
    Dataset: the content of ``dataset.json``: each molecule with its split, folders, frames and convergence.

    Raises
    ------
    InputError: the configuration cannot be used, one molecule (by its graph) stands in two splits, or
    `output` was built with other settings. StoppedError: `stop` asked to end; the same call goes on.
    PartialError: the dynamics of some molecules broke down; the data of the others were made.

    Example
    -------
    >>> import boltzgen as bg
    >>> words = ["test=[{smiles: CO, name: methanol}]"]
    >>> bg.build_dataset("two.yaml", "DATASET", words, systems_only=True).molecules[0].atoms
    6
    """
    words = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    settings = (
        config
        if isinstance(config, DatasetSettings)
        else load_settings(DatasetSettings, find_config(config, of_dataset=True), words)
    )
    check_device(device)
    taken = None if frames is None else packed_frames(frames)
    stop = stop or StopRequest()
    builder = _Builder(settings, Path(output), device, compile_energies, stop, progress, taken)
    anew = builder.selected(rebuild) if rebuild else []
    asked = builder.selected(only, split)
    wanted = [place for place in builder.places if place in asked or place in anew]
    builder.refuse_changes([place for place in wanted if place not in anew], systems_only)
    if expect is not None:
        expect(builder.expected(wanted, systems_only))
    make_folder(builder.folder)
    builder.remove(anew)
    builder.write()  # from now on the folder is that of this data set, also when the process is killed
    builder.build(wanted, systems_only)
    return Dataset.load(builder.folder)


def load_dataset(folder: str | PathLike[str], *, verify: bool = False) -> Dataset:
    """The data set in `folder` (DATASET), molecules in the order of its configuration.

    Parameters
    ----------
    verify: compare every file with its SHA-256 first.

    Returns
    -------
    Dataset: its molecules with split, folders, frames at each temperature and convergence.

    Raises
    ------
    InputError: `folder` is no data set; with `verify` the first file that is not as it was written.

    Example
    -------
    >>> import boltzgen as bg
    >>> [one.name for one in bg.load_dataset("DATASET", verify=True).molecules]
    ['methanol']
    """
    found = Dataset.load(Path(folder))
    if verify:
        found.verify()
    return found


@dataclass(frozen=True)
class _Builder:
    settings: DatasetSettings
    folder: Path
    device: str
    compile_energies: bool | None
    stop: StopRequest
    progress: Progress
    frames: Path | None = None

    @property
    def places(self) -> list[Place]:
        return [Place(split, one) for split, one in self.settings.molecules()]

    def selected(self, only: Sequence[str], splits: Sequence[str] = ()) -> list[Place]:
        """The molecules of these names and splits; all, where none are given."""
        for split in splits:
            if split not in SPLITS:
                raise InputError(f"`split={[split]}` is unknown; use {', '.join(SPLITS)}.")
        names = [place.name for place in self.places]
        for name in only:
            if name not in names:
                raise InputError(f"The configuration names no molecule {name!r}.{nearest(name, names)}")
        chosen = [p for p in self.places if not only or p.name in only]
        return [p for p in chosen if not splits or p.split in splits]

    def refuse_changes(self, wanted: list[Place], systems_only: bool) -> None:
        """InputError where the folder holds something else than what is asked."""
        former = read_dataset_record(self.folder)
        if former is None and (self.folder / "molecules").exists():
            raise InputError(f"{self.folder} holds other files and no data set; name another folder.")
        names = {place.name for place in self.places}
        for record in (former or {}).get("molecules", ()):
            if record["name"] not in names:
                raise InputError(
                    f"{self.folder} holds {record['name']}, which the configuration does not name; "
                    "add it there, or build into another folder."
                )
        for place in wanted:
            self._refuse_changed(place, systems_only)

    def _refuse_changed(self, place: Place, systems_only: bool) -> None:
        changed = self._changed(place, systems_only)
        if changed:
            raise InputError(
                f"{self.folder} holds {place.name} built with another {', '.join(changed)}; put the "
                f"setting back, build into another folder, or make it anew with `rebuild={[place.name]}`."
            )

    def expected(self, wanted: list[Place], systems_only: bool) -> Expectation:
        """What to expect of what the `wanted` molecules lack, by the energy of the first of them."""
        systems = [place for place in wanted if self.record(place)["fingerprint"] is None]
        data = [] if systems_only else [p for p in wanted if not self._has_data(self.record(p))]
        evaluations = [self.settings.simulation_of(place.split).evaluations for place in data]
        first = next(iter([*systems, *data]), None)
        asked = {} if first is None else {**self.settings.preparation_of(first.source), **first.source.words}
        return expected_dataset(asked, len(systems), evaluations, self.device)

    def remove(self, places: list[Place]) -> None:
        """Throw away what was built of `places`; the record first, so that it never promises what is gone."""
        for place in places:
            with alone_in(self.folder / place.folder) as folder:
                (folder / "molecule.json").unlink(missing_ok=True)
                for part in ("SYS", "MD"):
                    if (folder / part).exists():
                        with alone_in(folder / part):
                            shutil.rmtree(folder / part)

    def _changed(self, place: Place, systems_only: bool) -> list[str]:
        """Settings in which a molecule that was built, or begun, differs from the configuration."""
        record = self.record(place)
        if record["fingerprint"] is None:
            return []
        source = place.source
        asked: Record = {"source": source.words, "preparation": self.settings.preparation_of(source)}
        if record["simulation"] is not None and not systems_only:
            asked["simulation"] = self._simulation(place)
            usual = SimulationSource().model_dump(mode="json")  # for keys that are newer than the record
            record = {**record, "simulation": {**usual, **record["simulation"]}}
        changed = []
        for key, value in asked.items():
            if key == "source" or not isinstance(value, Mapping):
                changed += [key] if record[key] != value else []
            else:
                changed += [f"{key}.{k}" for k, v in value.items() if (record[key] or {}).get(k) != v]
        return changed

    def build(self, wanted: list[Place], systems_only: bool) -> None:
        """Systems of all `wanted` molecules, then their data.

        A molecule on which another process is at work comes last: it is waited for.
        """

        def prepared(number: int) -> None:
            place = wanted[number]
            self.progress(number, len(wanted), {"preparing": place.name})
            self._refuse_changed(place, systems_only)
            self._prepared(place, systems_only)

        each_alone([self.folder / place.folder for place in wanted], prepared, between=self._check_stop)
        missing = [] if systems_only else [p for p in wanted if not self._has_data(self.record(p))]
        failed: dict[str, str] = {}

        def simulated(number: int) -> None:
            place = missing[number]
            if self._has_data(self.record(place)):
                return  # another process made them meanwhile
            try:
                self._simulated(place, number, len(missing))
            except (StoppedError, InputError):
                raise
            except BoltzgenError as error:  # the others do not wait for it
                failed[place.name] = str(error)
                self._keep(place, {**self.record(place), "status": "failed"})

        each_alone([self.folder / place.folder for place in missing], simulated, between=self._check_stop)
        self.write()
        if failed:
            name, why = next(iter(failed.items()))
            raise PartialError(
                f"No data of {', '.join(failed)}; the other molecules asked for are complete. {name}: {why}"
            )

    def record(self, place: Place) -> Record:
        """What is known of a molecule: its ``molecule.json``, or that it waits."""
        path = self.folder / place.folder / "molecule.json"
        empty = waiting_record(place.name, place.split, place.source.words)
        if not path.is_file():
            return empty
        return {**empty, **read_molecule_record(self.folder, path), "split": place.split}

    def write(self) -> None:
        """``dataset.json`` from the records of all molecules.

        One process at a time; and again when another one changed a record meanwhile, so that the last of
        them writes all also where the file system knows no locks.
        """
        records: list[Record] = []
        with alone_for_a_moment_in(self.folder):
            while records != (now := [self.record(place) for place in self.places]):
                records = now
                self._write(records)

    def _write(self, records: list[Record]) -> None:
        complete = all(record["status"] == "complete" for record in records)
        write_json(
            self.folder / "dataset.json",
            {
                "schema": SCHEMA,
                "status": "complete" if complete else "partial",
                "config": self.settings.model_dump(mode="json"),
                "molecules": records,
            },
        )

    def _keep(self, place: Place, record: Record) -> None:
        write_json(self.folder / place.folder / "molecule.json", record)
        self.write()

    def _prepared(self, place: Place, systems_only: bool) -> None:
        """The system of one molecule, refused when another split holds the same graph."""
        record = self.record(place)
        if record["fingerprint"] is None:
            folder = f"{place.folder}/SYS"
            options = self.settings.preparation_of(place.source)
            asked: Record = {**options, **place.source.words, "name": place.name}
            target = self.folder / folder
            system = prepare(None, target, overwrite=True, stop=self.stop, **asked).system
            record.update(
                system=folder,
                fingerprint=system.fingerprint,
                graph=graph_hash(system),
                atoms=system.n_atoms,
                preparation=options,
                sha256=self._digests(folder),
            )
        self._refuse_two_splits(place, record["graph"])
        if systems_only and record["simulation"] is None:
            record["status"] = "complete"
        elif not systems_only and not self._has_data(record):
            record["status"] = "partial" if record["simulation"] else "waiting"
        self._keep(place, record)

    def _refuse_two_splits(self, place: Place, graph: str) -> None:
        for other in self.places:
            if other.split != place.split and self.record(other)["graph"] == graph:
                raise InputError(
                    f"{place.name} ({place.split}) and {other.name} ({other.split}) are the same molecule; "
                    "a molecule belongs to one split, take one of them out."
                )

    def _simulation(self, place: Place) -> Record:
        """The settings of the data of one molecule, its seed with them; JSON types only."""
        wanted = self.settings.simulation_of(place.split)
        return {**wanted.model_dump(mode="json"), "seed": seed_of(self.settings.seed, place.name)}

    def _simulated(self, place: Place, number: int, total: int) -> None:
        """The data of one molecule, and what they tell of their convergence."""
        wanted, record = self._simulation(place), self.record(place)
        folder = f"{place.folder}/MD"
        system = MolecularSystem.load(self.folder / record["system"])
        if self.frames is not None and (self.frames / place.name).is_dir():
            found = copy_frames(self.frames / place.name, self.folder / folder, system)
            record.update(simulation=wanted, data=folder, status="complete", **found)
            record["sha256"] = {**record["sha256"], **self._digests(folder)}
            self._keep(place, record)
            return
        record.update(simulation=wanted, status="partial")
        self._keep(place, record)

        def told(done: int, of: int | None, values: Mapping[str, float | str] | None = None, /) -> None:
            share = f"{100 * done / of:.0f} %" if of else "-"
            self.progress(number, total, {"simulating": place.name, "done": share, **(values or {})})

        try:
            result = simulate_source(
                SimulationSource.model_validate({k: v for k, v in wanted.items() if k != "seed"}),
                system,
                self.folder / folder,
                seed=wanted["seed"],
                device=self.device,
                compile_energies=self.compile_energies,
                stop=self.stop,
                progress=told,
            )
        except StoppedError as error:
            self._stopped(f"{place.name}: {error}")
        record.update(
            data=folder,
            status="complete",
            frames=result.frames,
            evaluations=evaluations_of_folder(result.folder),
            convergence=convergence(read_trajectory(result.folder, system), system, result.to_json()),
            sha256={**record["sha256"], **self._digests(folder)},
        )
        self._keep(place, record)
        self.progress(number + 1, total, {"simulated": place.name})

    def _has_data(self, record: Record) -> bool:
        return record["data"] is not None and record["status"] == "complete"

    def _digests(self, folder: str) -> dict[str, str]:
        """SHA-256 of each file below `folder`, by its path from the folder of the data set."""
        below = (self.folder / folder).rglob("*")
        files = sorted(path for path in below if path.is_file() and not is_own_file(path))
        return {path.relative_to(self.folder).as_posix(): sha256_file(path) for path in files}

    def _check_stop(self) -> None:
        if self.stop.requested:
            self._stopped(f"{self.stop.reason}.")

    def _stopped(self, sentence: str) -> None:
        self.write()
        done = sum(self.record(place)["status"] == "complete" for place in self.places)
        raise StoppedError(f"{sentence} {done} of {len(self.places)} molecules are complete.")
