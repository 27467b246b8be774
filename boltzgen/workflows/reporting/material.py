"""What a page is made from, read leniently: what is damaged or missing leaves a sentence, not an error.

A folder of a whole run holds its parts (SYS, MD, CHECK, RUN, OUT) beside its answer. One part alone says
where the others were when it was made; they are used where they still lie there and belong to the same
molecule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from boltzgen.config.settings import read_yaml
from boltzgen.contents import kind_of_folder
from boltzgen.data.manifest import read_manifest as read_simulation
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.manifest import read_manifest as read_samples
from boltzgen.ensemble.store import SUMMARY_SCHEMA, load_ensemble, summary
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.files import read_json
from boltzgen.loaders.records import OpenRecord, checked
from boltzgen.report.axes import Subject, subject_of
from boltzgen.report.page.record import Material, part, several
from boltzgen.system.described import subject as subject_words
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.metrics import read_metrics
from boltzgen.workflows.installation.cite import cite
from boltzgen.workflows.reporting.answer_records import KNOWN
from boltzgen.workflows.reporting.calls import located
from boltzgen.workflows.reporting.folders import recognise
from boltzgen.workflows.reporting.kinds import said_of

#: What a whole run keeps, by the kind of its parts; the first that is there counts.
PARTS = {"SYS": ("SYS",), "MD": ("MD",), "CHECK": ("CHECK",), "RUN": ("RUN",), "OUT": ("OUT", "PILOT")}

#: Kinds of folders that have a page.
SHOWN = ("SYS", "MD", "RUN", "OUT", "DIR")

#: What is said of a record that is not what boltzgen writes.
LEFT_OUT = "it was left out."

_T = TypeVar("_T")


def gather(path: str | PathLike[str], words: Callable[[str], str] = str) -> Material:
    """Everything about `path` that a page can show.

    Raises InputError where nothing of a molecule lies there, or the one thing that does cannot be read.
    """
    place = Path(path)
    kind = kind_to_show(place)
    found = _Found(place, kind)
    if kind == "DIR":
        found.whole_run(place)
    else:
        getattr(found, {"SYS": "of_system", "MD": "of_frames", "RUN": "of_run", "OUT": "of_samples"}[kind])(
            place
        )
        if found.notes and not found.has_something():
            raise InputError(found.notes[0])
    return found.material(place, words)


def kind_to_show(path: Path) -> str:
    """One of `SHOWN`; InputError for all else, with what to name instead."""
    if path.is_dir() and not kind_of_folder(path):
        inside = [name for names in PARTS.values() for name in names if kind_of_folder(path / name)]
        if inside or (path / "run.json").is_file() or (path / "answer.json").is_file():
            return "DIR"
    kind = recognise(path).kind
    if kind not in SHOWN:
        raise InputError(
            f"{path} is no molecule, simulation, training run, samples or folder of a whole run, so that "
            "there is no page of it; name SYS, MD, RUN, OUT or the folder that holds them."
        )
    return kind


@dataclass
class _Found:
    """What was read so far, and where the rest may be."""

    asked: Path
    kind: str
    samples: Path | None = None
    molecule: MolecularSystem | None = None
    ensemble: Ensemble | None = None
    frames: Trajectory | None = None
    checks: Trajectory | None = None
    records: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def has_something(self) -> bool:
        return bool(self.records or self.metrics) or any(
            one is not None for one in (self.molecule, self.ensemble, self.frames)
        )

    def attempt(self, read: Callable[[], _T]) -> _T | None:
        """What `read` gives; None, and a note, where it cannot."""
        try:
            return read()
        except BoltzgenError as error:
            self.notes.append(str(error))
        except OSError as error:
            self.notes.append(f"{error.filename or self.asked} cannot be read ({error.strerror}).")
        return None

    def record(self, key: str, path: Path) -> Mapping[str, Any]:
        """The JSON mapping in `path`, kept under `key`; empty where there is none."""
        if path.is_file():
            found = self.attempt(
                lambda: checked(KNOWN.get(key, OpenRecord), read_json(path), str(path), LEFT_OUT)
            )
            if found is not None:
                self.records[key] = found
        return part(self.records, key)

    def whole_run(self, folder: Path) -> None:
        """A folder with the parts of a run beside its answer."""
        for key in ("run", "answer", "free_energy"):
            self.record(key, folder / f"{key}.json")
        at = {
            key: next((folder / name for name in names if (folder / name).is_dir()), None)
            for key, names in PARTS.items()
        }
        if at["SYS"] is not None:
            self.of_system(at["SYS"])
        if at["OUT"] is not None:
            self.of_samples(at["OUT"], follow=False)
        if at["MD"] is not None:
            self.of_frames(at["MD"], follow=False)
        if at["CHECK"] is not None:
            self.checks = self._frames_at(at["CHECK"])
        if at["RUN"] is not None:
            self.of_run(at["RUN"], follow=False)
        # a part that is elsewhere: a molecule or a model that was given
        if at["OUT"] is not None:
            self._follow_samples()

    def of_system(self, folder: Path) -> None:
        self.molecule = self.attempt(lambda: MolecularSystem.load(folder))
        if self.molecule is not None:
            record = self.record("system", folder / "system.json")
            self._remember(folder, part(record, "files"))

    def of_samples(self, folder: Path, *, follow: bool = True) -> None:
        """OUT, and with `follow` the folders that it was made from."""
        manifest = self.attempt(lambda: read_samples(folder))
        if manifest is None:
            return
        self.records["manifest"] = manifest
        self.samples = folder
        self.ensemble = self.attempt(lambda: load_ensemble(folder))
        self._remember(folder, part(manifest, "files"))
        if self.ensemble is not None:
            self._summary(folder, self.ensemble)
        if "free_energy" not in self.records:
            self.record("free_energy", folder / "free_energy.json")
        if follow:
            self._follow_samples()

    def _summary(self, folder: Path, ensemble: Ensemble) -> None:
        """``summary.json`` as it stands, which spares the import of ArviZ; anew where it is no summary."""
        known = self.record("summary", folder / "summary.json")
        if known.get("schema") != SUMMARY_SCHEMA:
            self.records["summary"] = summary(ensemble)

    def _follow_samples(self) -> None:
        manifest = part(self.records, "manifest")
        origin = part(manifest, "provenance")
        for known in (origin, part(origin, "drawn_by")):
            if self.molecule is None:
                self._elsewhere(known.get("system"), "SYS", self.of_system)
            if "training" not in self.records:
                self._elsewhere(known.get("model") or manifest.get("model"), "RUN", self.of_run)
        if self.checks is None:
            source = part(manifest, "coverage").get("source")
            self._elsewhere(source, "MD", lambda place: setattr(self, "checks", self._frames_at(place)))

    def of_frames(self, folder: Path, *, follow: bool = True) -> None:
        """MD, and with `follow` the molecule beside it."""
        manifest = self.attempt(lambda: read_simulation(folder))
        if manifest is None:
            return
        self.records["simulation"] = manifest
        self._remember(folder, part(manifest, "sha256"))
        if follow and self.molecule is None:
            self._elsewhere(folder.resolve().parent / "SYS", "SYS", self.of_system)
        self.frames = self._frames_at(folder)

    def of_run(self, folder: Path, *, follow: bool = True) -> None:
        """RUN, and with `follow` its molecule and its frames."""
        self.metrics = self.attempt(lambda: read_metrics(folder / "metrics.jsonl")) or []
        environment = self.record("environment", folder / "environment.json")
        config = self.attempt(lambda: read_yaml(folder / "config.yaml")) if follow or environment else {}
        model = self.record("model", folder / "model" / "model.json")
        self.records["training"] = {"environment": environment, "config": config or {}, "model": model}
        self._remember(folder / "model", part(model, "files"))
        if follow and config:
            if self.molecule is None:
                self._elsewhere(config.get("system"), "SYS", self.of_system)
            if self.frames is None:
                data = several(config, "data")
                self._elsewhere(
                    data[0] if data else None, "MD", lambda place: self.of_frames(place, follow=False)
                )

    def _elsewhere(self, place: Any, kind: str, read: Callable[[Path], None]) -> None:
        """Read what a record names, where it still lies there and is of the molecule at hand."""
        if not isinstance(place, str | Path) or not str(place):
            return
        folder = Path(located(place, self.asked))
        if kind_of_folder(folder) != {"SYS": "system", "MD": "simulation", "RUN": "run"}[kind]:
            return
        if kind == "RUN" or self._same_molecule(folder, kind):
            read(folder)

    def _same_molecule(self, folder: Path, kind: str) -> bool:
        name = "system.json" if kind == "SYS" else "manifest.json"
        record = self.attempt(lambda: read_json(folder / name))
        if not isinstance(record, dict):
            return False
        theirs = record.get("fingerprint") if kind == "SYS" else part(record, "system").get("fingerprint")
        ours = self._fingerprint()
        return ours is None or theirs is None or ours == theirs

    def _fingerprint(self) -> Any:
        if self.ensemble is not None:
            return self.ensemble.system_fingerprint
        if self.molecule is not None:
            return self.molecule.fingerprint
        simulated = part(part(self.records, "simulation"), "system").get("fingerprint")
        systems = several(part(part(self.records, "training"), "model"), "systems")
        trained = [one.get("fingerprint") for one in systems if isinstance(one, Mapping)]
        return simulated or (trained[0] if len(trained) == 1 else None)

    def _frames_at(self, folder: Path) -> Trajectory | None:
        """Frames at the temperature of the samples, or at the lowest there is; None with a note."""

        def read() -> Trajectory:
            whole = read_trajectory(folder, self.molecule)
            kelvin = None if self.ensemble is None else self.ensemble.temperature
            return whole.at(float(whole.temperature_ladder[0]) if kelvin is None else kelvin)

        found = self.attempt(read)
        if found is not None and self.ensemble is not None:
            if found.n_atoms != self.ensemble.positions.shape[1]:
                self.notes.append(f"{folder} is of another molecule than the samples; it was left out.")
                return None
        return found

    def _remember(self, folder: Path, digests: Mapping[str, Any]) -> None:
        for name, digest in digests.items():
            if isinstance(digest, Mapping) and digest.get("sha256"):
                self.files.append((str(folder / name), str(digest["sha256"])))

    def material(self, place: Path, words: Callable[[str], str]) -> Material:
        citations = self.attempt(lambda: cite(place)) if self.kind != "DIR" else self._citations(place)
        steps = self._steps()
        return Material(
            source=str(self.asked),
            kind=self.kind,
            subject=self._subject(),
            temperature=self._temperature(),
            molecule=self.molecule,
            ensemble=self.ensemble,
            frames=self.frames,
            checks=self.checks,
            metrics=self.metrics,
            citations=citations,
            files=tuple(dict.fromkeys(self.files)),
            notes=tuple(dict.fromkeys(self.notes)),
            steps=steps,
            words=words,
            **{
                key: part(self.records, key)
                for key in (
                    "answer",
                    "run",
                    "free_energy",
                    "manifest",
                    "summary",
                    "simulation",
                    "system",
                    "training",
                )
            },
        )

    def _steps(self) -> list[str]:
        """What can be done next, as `show` says it; nothing while there is damage to mend."""
        folder = self.samples or self.asked
        if self.notes or kind_of_folder(folder) == "":
            return []
        said = self.attempt(lambda: said_of(folder, recognise(folder)))
        steps = [] if said is None else said.steps
        return [f"{step.why}: `{step.call}`" for step in steps if not step.call.startswith("write_report(")]

    def _citations(self, folder: Path) -> Any:
        """Of the answer of a whole run, else of the last part that it has."""
        for name in ("free_energy.json", "OUT", "PILOT", "RUN", "MD", "SYS"):
            if (folder / name).exists():
                return self.attempt(lambda name=name: cite(folder / name))  # type: ignore[misc]
        return None

    def _temperature(self) -> float | None:
        if self.ensemble is not None:
            return self.ensemble.temperature
        if self.frames is not None:
            return float(self.frames.temperatures[0])
        return None

    def _subject(self) -> Subject:
        kelvin = self._temperature()
        if self.molecule is not None:
            region = self.molecule.energy_model.region
            told = subject_words(
                self.molecule.name,
                self.molecule.provenance,
                None if region is None else {"backend": region.backend},
            )
            return Subject(told["molecule"], told["force_field"], kelvin)
        return subject_of(part(part(self.records, "manifest"), "provenance"), kelvin)
