"""``benchmark transfer``: how well a model knows molecules that it never saw, one after the other.

    BENCH/molecules/NAME.json    figures of one molecule, written as soon as a stage of it is measured
    BENCH/adapted/NAME           the model adapted to it, when a budget was given
    BENCH/transfer.json, transfer.csv, transfer.md, transfer.png    all of them, after each molecule

An interrupted run goes on with the first molecule whose file lacks a stage that is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from boltzgen.checks import MOST_EVALUATIONS, check_dtype, check_number, check_seed, check_temperature
from boltzgen.config.devices import check_device
from boltzgen.config.model import Model, load_model
from boltzgen.config.settings import nearest
from boltzgen.data.dataset import Dataset, DatasetMolecule
from boltzgen.errors import BoltzgenError, InputError, PartialError, StoppedError
from boltzgen.files import csv_text, write_atomic, write_json
from boltzgen.folders import alone_in
from boltzgen.free_energy.efficiency import REPLICATES, weight_figures
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.progress import Progress, silent
from boltzgen.report.axes import Subject
from boltzgen.report.transfer import transfer_figure
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.determinant import require_determinants
from boltzgen.workflows.options import takes
from boltzgen.workflows.timing.datasets import expected_transfer
from boltzgen.workflows.timing.expectation import Expect
from boltzgen.workflows.transfer.adapted import adapted_model
from boltzgen.workflows.transfer.draws import draw, figures_of_speed, read_reference
from boltzgen.workflows.transfer.molecule_record import MOLECULE_SCHEMA, read_molecule
from boltzgen.workflows.transfer.options import TransferKeywords, TransferOptions
from boltzgen.workflows.transfer.record import TransferBenchmark
from boltzgen.workflows.transfer.reference import W2_SAMPLES, reference_figures
from boltzgen.workflows.transfer.table import (
    DEFINITIONS,
    STAGES,
    familiarity_auroc,
    growth,
    markdown,
    rows_of,
    summarise,
)

#: Samples below which an effective sample size means nothing.
FEWEST_SAMPLES = 100

SCHEMA = "boltzgen.transfer/1"


@dataclass(frozen=True)
class TransferSettings:
    """What decides the figures of a molecule; a file made with other settings is refused.

    Attributes
    ----------
    model: SHA-256 of its weights. samples: drawn of each molecule. temperature_K. seed: of the draws.
    dtype: arithmetic of the flow. torus_samples: samples, at most, for distances on the torus.
    device: where it was computed.
    """

    model: str
    samples: int
    temperature_K: float
    seed: int
    dtype: str
    torus_samples: int
    device: str


@takes(TransferOptions)
def benchmark_transfer(
    model: str | PathLike[str],
    dataset: str | PathLike[str],
    output: str | PathLike[str],
    *,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    **options: Unpack[TransferKeywords],
) -> TransferBenchmark:
    """Measure `model` on the molecules of one split of `dataset` and write the folder `output`.

    Parameters
    ----------
    model: a run, a model folder or the name of a shipped model. dataset: DATASET of `build_dataset`.
    expect: told how long it will take before it begins.
    options: the fields of `TransferOptions`: split, samples, temperature (K), adapt, molecules, seed, dtype,
        torus_samples, device.

    Returns
    -------
    TransferBenchmark: the content of ``transfer.json``; docs/transfer.md says what the figures are.

    Raises
    ------
    InputError: something given cannot be used, or `output` holds figures of other settings.
    StoppedError: `stop` asked to end; the same call goes on. PartialError: some molecules failed.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.benchmark_transfer("RUN", "DATASET", "BENCH", samples=100, temperature=300.0)
    >>> found.molecules, len(found.figures)
    (('methanol',), 1)
    """
    asked = TransferOptions(**options)
    check_device(asked.device)
    stop = stop or StopRequest()
    trained, data = load_model(Path(model)), Dataset.load(Path(dataset))
    settings = TransferSettings(
        model=weights_digest(trained),
        samples=asked.samples,
        temperature_K=trained.temperature if asked.temperature is None else float(asked.temperature),
        seed=asked.seed,
        dtype=asked.dtype,
        torus_samples=asked.torus_samples,
        device=asked.device,
    )
    _check(settings, asked.adapt)
    chosen = _chosen(data, asked.split, asked.molecules)
    with alone_in(output) as folder:
        bench = _Bench(Path(model), trained, settings, asked.adapt, folder, stop, progress)
        header = {
            "schema": SCHEMA,
            "model": str(model),
            "dataset": str(dataset),
            "split": asked.split,
            "settings": asdict(settings),
            "adapt": asked.adapt,
            "wanted": len(chosen),
        }
        if expect is not None:
            left = [one for one in chosen if not bench.complete(bench.known(one))]
            kelvin, device = settings.temperature_K, asked.device
            found = expected_transfer(trained, str(model), left, asked.samples, kelvin, asked.adapt, device)
            expect(found)
        return bench.measure_all(chosen, header)


def weights_digest(trained: Model) -> str:
    """SHA-256 over the names and bytes of the weights, sorted by name."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(trained.flow.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _Bench:
    """A model, and where and how its figures are taken."""

    model: Path
    trained: Model
    settings: TransferSettings
    budget: float | None
    folder: Path
    stop: StopRequest
    progress: Progress

    @property
    def wanted(self) -> tuple[str, ...]:
        return STAGES if self.budget is not None else STAGES[:1]

    def path(self, one: DatasetMolecule) -> Path:
        return self.folder / "molecules" / f"{one.name}.json"

    def measure_all(self, chosen: Sequence[DatasetMolecule], header: dict[str, Any]) -> TransferBenchmark:
        """What the figures of `chosen` lack, and the documents of all after each of them."""
        # All files are looked at before anything is measured.
        records = {one.name: self.known(one) for one in chosen}
        failed: dict[str, str] = {}
        for one in chosen:
            if not self.complete(records[one.name]):
                try:
                    records[one.name] = self.measure(one, records[one.name])
                except (StoppedError, InputError):
                    raise
                except BoltzgenError as error:  # the others do not wait for it
                    failed[one.name] = str(error)
                    records[one.name] = self.known(one)
                complete = all(self.complete(record) for record in records.values())
                measured = [record for record in records.values() if record["stages"]]
                if measured:
                    _write(self.folder, header, measured, complete)
        if failed:
            name, why = next(iter(failed.items()))
            raise PartialError(
                f"{', '.join(failed)} not measured; the others are in {self.folder}. {name}: {why}"
            )
        return _write(self.folder, header, list(records.values()), complete=True)

    def known(self, one: DatasetMolecule) -> dict[str, Any]:
        """What the file of the molecule holds, or a record without stages; InputError for other settings."""
        fresh = {
            "schema": MOLECULE_SCHEMA,
            "name": one.name,
            "split": one.split,
            "source": dict(one.source),
            "fingerprint": one.fingerprint,
            "atoms": one.atoms,
            "settings": asdict(self.settings),
            "stages": {},
        }
        if not self.path(one).is_file():
            return fresh
        record = read_molecule(self.path(one))
        for key, value in {**asdict(self.settings), "fingerprint": one.fingerprint}.items():
            before = record["fingerprint"] if key == "fingerprint" else record["settings"].get(key)
            if before != value:
                raise InputError(
                    f"{self.path(one)} was measured with {key} = {before}, not {value}; name another folder."
                )
        adapted = record["stages"].get("adapted")
        if adapted and self.budget is not None and adapted.get("budget") != self.budget:
            raise InputError(
                f"{self.path(one)}: adapted with a budget of {adapted.get('budget')} evaluations, not "
                f"{self.budget:g}; name another folder."
            )
        return record

    def complete(self, record: dict[str, Any]) -> bool:
        return all(stage in record["stages"] for stage in self.wanted)

    def measure(self, one: DatasetMolecule, record: dict[str, Any]) -> dict[str, Any]:
        """The record of the molecule with the stages that it lacks; written after each of them."""
        self.stop_between()
        molecule = MolecularSystem.load(one.system)
        target = Target.from_system(molecule, isomers=self.trained.isomers)
        kelvin = self.settings.temperature_K
        familiar = target.familiarity(self.trained.seen, [kelvin])
        record = {
            **record,
            "dimension": target.features.dimension,
            "seen_in_training": self.trained.was_trained_on(one.fingerprint, one.graph),
            "unfamiliarity": None if familiar is None else familiar.score,
        }
        with closing(target):
            for stage in self.wanted:
                if stage in record["stages"]:
                    continue
                trained = self.trained
                further: dict[str, Any] = {}
                if stage == "adapted":
                    assert self.budget is not None
                    trained, further = adapted_model(
                        self.model,
                        one.system,
                        self.folder / "adapted" / one.name,
                        budget=self.budget,
                        temperature=kelvin,
                        seed=self.settings.seed,
                        device=self.settings.device,
                        stop=self.stop,
                        progress=self.progress,
                    )
                figures = {**further, **self.figures(trained, target, molecule, one)}
                record = {**record, "stages": {**record["stages"], stage: figures}}
                write_json(self.path(one), record)
        return record

    def figures(
        self, trained: Model, target: Target, molecule: MolecularSystem, one: DatasetMolecule
    ) -> dict[str, Any]:
        """Everything measured of one molecule with one model."""
        settings = self.settings
        flow = trained.flow.to(device=settings.device, dtype=getattr(torch, settings.dtype))
        generator = BoltzmannGenerator(flow, target.to(settings.device))
        compilation = decide_compilation(
            [generator.target.potential], settings.samples, None, settings.device
        )
        kelvin = settings.temperature_K
        require_determinants(generator, kelvin)
        drawn = draw(
            generator, settings.samples, kelvin, seed=settings.seed, stop=self.stop, progress=self.progress
        )
        reference = read_reference(generator, molecule, one.data, kelvin)
        found, coverage, missing = None, None, None
        if isinstance(reference, str):
            missing = reference
        else:
            found, coverage = reference_figures(
                generator,
                drawn,
                reference,
                kelvin,
                torus_samples=settings.torus_samples,
                trained=self.trained.record,
                seed=settings.seed,
            )
        rejected = drawn.rejected()
        statistics = Statistics(
            np.random.default_rng(settings.seed), n_bootstrap=REPLICATES, coverage=coverage
        )
        weights = weight_figures(drawn.log_w, statistics)
        return {
            **weights,
            **figures_of_speed(drawn, weights["ess"]),
            "samples": settings.samples,
            "rejected": rejected,
            "share_rejected": sum(rejected.values()) / settings.samples,
            "share_open_rings": rejected.get("open ring", 0) / settings.samples,
            "compilation": compilation,
            "reference": found,
            "reference_missing": missing,
        }

    def stop_between(self) -> None:
        if self.stop.requested:
            raise StoppedError(f"{self.stop.reason}; the molecules measured so far are in {self.folder}.")


def _write(
    folder: Path, header: dict[str, Any], records: list[dict[str, Any]], complete: bool
) -> TransferBenchmark:
    """``transfer.json``, its table in two forms, and the figure."""
    rows = rows_of(records)
    document = {
        **header,
        "status": "complete" if complete else "partial",
        "molecules": [record["name"] for record in records],
        "summary": summarise(rows),
        "growth": growth(rows),
        "unfamiliarity": familiarity_auroc(records),
        "rows": rows,
        "energy_w2_samples": W2_SAMPLES,
        "definitions": list(DEFINITIONS),
    }
    write_json(folder / "transfer.json", document)
    write_atomic(folder / "transfer.csv", csv_text(list(rows[0]), rows))
    write_atomic(folder / "transfer.md", markdown(document, rows))
    of = Subject(
        f"{header['model']} on the {header['split']} molecules of {header['dataset']}",
        temperature=header["settings"]["temperature_K"],
    )
    transfer_figure(folder / "transfer.png", rows, header["settings"]["samples"], subject=of)
    return TransferBenchmark(document)


def _chosen(data: Dataset, split: str, names: Sequence[str]) -> tuple[DatasetMolecule, ...]:
    """The complete molecules of `split` that `names` names, in the order of the data set."""
    there = data.of(split)
    if not there:
        raise InputError(f"{data.folder} has no complete molecule in the split {split}; build it first.")
    known = [one.name for one in there]
    for name in names:
        if name not in known:
            raise InputError(
                f"`molecules={[name]}`: no complete molecule of the split {split} has this name."
                f"{nearest(name, known)}"
            )
    return tuple(one for one in there if not names or one.name in names)


def _check(settings: TransferSettings, budget: float | None) -> None:
    check_number(settings.samples, "samples", least=FEWEST_SAMPLES)
    check_temperature(settings.temperature_K)
    check_dtype(settings.dtype)
    check_seed(settings.seed)
    if not 2 <= settings.torus_samples <= W2_SAMPLES:
        raise InputError(f"`torus_samples={settings.torus_samples}`: give a number from 2 to {W2_SAMPLES}.")
    if budget is not None and not 1 <= budget <= MOST_EVALUATIONS:
        raise InputError(f"`adapt={budget:g}`: give the energy evaluations that it may spend, 1e5 say.")
