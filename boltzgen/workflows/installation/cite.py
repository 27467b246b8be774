"""``cite``: what a folder or a result file of boltzgen used, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.config.settings import read_yaml
from boltzgen.config.shipped import shipped_models
from boltzgen.errors import InputError
from boltzgen.files import is_there, read_json
from boltzgen.report.citations import METHODS, Citations, citations
from boltzgen.system.described import SOLVENTS, force_field_of
from boltzgen.system.examples import EXAMPLE, system_folder

#: Files of a molecule that RDKit reads.
SMALL = ("smiles", "sdf", "mol2")

#: What the estimators of a result file are known by -> method.
ESTIMATORS = {
    r"importance sampling|partition functions": "perturbation",
    r"\bMBAR\b": "mbar",
    r"\bBAR\b": "bar",
    r"map of both flows": "targeted",
}

#: What the observables of a result file are called -> method.
OBSERVED = {
    r"^J3-HCCH(?!\(Karplus)": "hla",
    r"^J3-HCCH\(Karplus": "ethane_couplings",
    r"^J3-HN-": "peptide_couplings",
    r"^hbond(?!\(Wernet)": "baker_hubbard",
    r"^hbond\(Wernet": "wernet_nilsson",
}


def cite(path: str | PathLike[str] | None = None) -> Citations:
    """The methods that went into `path`, with those of the folders that it was made from.

    Parameters
    ----------
    path: SYS, MD, DATASET, RUN, a model (also a shipped one, by name), OUT, or a result file of free-energy;
        None for everything that boltzgen can use.

    Returns
    -------
    Citations: the methods and their references; its ``bibtex()`` is the text of a BibTeX file.

    Raises
    ------
    InputError: nothing of boltzgen is there, or it cannot be read.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.cite("peptides-ff14sb-obc1")
    >>> found.bibtex().count("@") == len(found.keys)
    True
    """
    if path is None:
        return citations("", METHODS)
    found = _Used()
    found.visit(Path(path))
    return citations(str(path), found.methods, found.notes)


class _Used:
    """Methods and notes, collected from one place to those that it was made from."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.notes: list[str] = []
        self._visited: set[Path] = set()

    def visit(self, path: Path) -> None:
        """What lies in `path`; InputError when that is nothing of boltzgen."""
        place = _place(path)
        if place.resolve() in self._visited:
            return
        self._visited.add(place.resolve())
        if place.is_file():
            self._result(place)
            return
        for name, read in self._readers().items():
            if (place / name).is_file():
                read(place)
                return
        raise InputError(
            f"{path}: neither SYS, MD, DATASET, RUN, OUT nor a model (it has none of "
            f"{', '.join(self._readers())}); name one of these, or a file such as OUT/free_energy.json."
        )

    def _readers(self) -> dict[str, Callable[[Path], None]]:
        """The file by which each kind of folder is known, and who reads it."""
        return {
            "system.json": self._system,
            "dataset.json": self._dataset,
            "conformers.json": self._conformers,
            "config.yaml": self._run,
            "manifest.json": self._manifest,
            "model.json": self._model,
            "model/model.json": self._model,
        }

    def _follow(self, source: Any, beside: Path, fingerprints: Collection[Any] = ()) -> None:
        """Also what `source` used, which was named as it was seen from the folder of the command.

        It is sought from here and from the folders around `beside`; a molecule must have one of the
        `fingerprints`, if there are any. What is not found is noted.
        """
        if not isinstance(source, str) or not source or source.startswith("model:"):
            return
        for base in (Path(), *beside.resolve().parents[:3]):
            candidate = base / source
            if is_there(candidate) and _is_meant(candidate, fingerprints):
                return self._visit_or_note(candidate)
        if source.startswith(EXAMPLE) or source in shipped_models():
            return self._visit_or_note(Path(source))
        self.notes.append(f"{source} is not here; ask where it lies what it used.")

    def _visit_or_note(self, path: Path) -> None:
        if path.is_file() and path.suffix != ".json":
            self.notes.append(f"{path} was not made by boltzgen; cite where it is from.")
            return
        try:
            self.visit(path)
        except InputError as error:
            self.notes.append(f"Not looked up: {error}")

    def _system(self, folder: Path) -> None:
        record = _mapping(folder / "system.json")
        origin = _part(record, "provenance")
        given, options = _part(origin, "input"), _part(origin, "options")
        self.methods += ["openmm"]
        kind = str(given.get("kind"))
        self.methods += ["peptide_builder"] if kind == "sequence" else ["rdkit"] if kind in SMALL else []
        for name in _several(options.get("forcefield")):
            method = force_field_of(str(name))
            if method is None:
                self.notes.append(f"The force field {name} is not known here; cite it as its authors ask.")
            else:
                self.methods.append(method)
        if not options.get("forcefield"):
            self.notes.append(
                f"{record.get('name')} came with its parameters; cite the force field they are of."
            )
        implicit = str(options.get("implicit", "none"))
        if implicit != "none":
            self.methods.append(SOLVENTS.get(implicit, "obc"))
        if options.get("surface") == "lcpo":
            self.methods.append("lcpo")
        self._region(_part(record, "energy_model").get("region"))

    def _region(self, region: Any) -> None:
        """The machine-learned or quantum potential of a hybrid."""
        if not isinstance(region, Mapping):
            return
        backend, options = str(region.get("backend")), _part(region, "options")
        if backend in METHODS:
            self.methods.append(backend)
        if backend not in METHODS or backend == "ase":
            self.notes.append(f"The potential of `ml={backend!r}` is not ours; cite it as its authors ask.")
        if "solvent" in options and backend in ("gfn1", "gfn2"):
            self.methods.append("alpb")

    def _manifest(self, folder: Path) -> None:
        """A simulation or samples: both have a ``manifest.json``."""
        record = _mapping(folder / "manifest.json")
        if str(record.get("schema")).startswith("boltzgen.trajectory/"):
            self._simulation(folder, record)
        elif str(record.get("schema")).startswith("boltzgen.manifest/"):
            self._samples(folder, record)
        else:
            raise InputError(
                f"{folder / 'manifest.json'} follows {record.get('schema')!r}; expected what simulate or "
                "sample write."
            )

    def _simulation(self, folder: Path, record: Mapping[str, Any]) -> None:
        settings = _part(record, "settings")
        in_torch = settings.get("engine") == "torch"
        self.methods += ["baoab", "pytorch"] if in_torch else ["openmm", "langevin_middle"]
        self.methods += ["inefficiency"] if record.get("statistical_inefficiency") else []
        if len(list(_several(record.get("temperatures_K")))) > 1:
            self.methods.append("replica_exchange")
        if settings.get("hydrogen_mass") is not None:
            self.methods.append("hydrogen_mass")
        if not self._around("system.json", folder):
            self.notes.append(f"{folder} does not say which force field it had; cite its SYS too.")

    def _around(self, name: str, folder: Path) -> bool:
        """Whether the molecule of a data set is beside `folder`; it is then visited."""
        place = folder.resolve().parent / "SYS"
        if not (place / name).is_file():
            return False
        fingerprints = [
            _part(_mapping(folder / "manifest.json"), "system").get("fingerprint"),
            _mapping(place / name).get("fingerprint"),
        ]
        if fingerprints[0] != fingerprints[1]:
            return False
        self.visit(place)
        return True

    def _dataset(self, folder: Path) -> None:
        for one in _records(_mapping(folder / "dataset.json").get("molecules")):
            for key in ("system", "data"):
                place = folder / str(one.get(key))
                if one.get(key) and is_there(place) and place.is_dir():
                    self.visit(place)

    def _run(self, folder: Path) -> None:
        values = read_yaml(folder / "config.yaml")
        self._flow(_part(values, "flow").get("kind"))
        self.methods += ["soap"]
        kl, own, data = (_part(values, name) for name in ("reverse_kl", "reweighted", "likelihood"))
        if _ever(kl.get("weight")):
            self.methods += ["reverse_kl", *(["path_gradient"] if kl.get("path_gradient") else [])]
        if _ever(own.get("weight")):
            self.methods += ["reweighted", *(["fab"] if own.get("moves") else [])]
            self.methods += ["annealing"] if own.get("heating", 1.0) != 1.0 else []
            bounded = own.get("trust_region") is not None or own.get("entropy_drop") is not None
            self.methods += ["trust_region"] if bounded else []
        if (_ever(own.get("dispersion")) and _ever(own.get("weight"))) or _ever(data.get("dispersion")):
            self.methods.append("dispersion")
        made = values.get("simulation")
        if isinstance(made, Mapping):
            self.methods += ["baoab", "replica_exchange"]
            self.methods += ["hydrogen_mass"] if made.get("hydrogen_mass") is not None else []
        model = folder / "model" / "model.json"
        systems = _records(_mapping(model).get("systems")) if model.is_file() else []
        known = [one.get("fingerprint") for one in systems]
        for key in ("system", "data", "data_system", "dataset", "start"):
            for source in _several(values.get(key)):
                self._follow(source, folder, known if key == "system" else ())

    def _model(self, folder: Path) -> None:
        place = folder / "model.json"
        record = _mapping(place if place.is_file() else folder / "model" / "model.json")
        self._flow(_part(record, "flow").get("kind"))

    def _flow(self, kind: Any) -> None:
        self.methods += ["boltzmann_generator", "pytorch"]
        if kind in ("autoregressive", "coupling"):
            self.methods.append(kind)
        else:
            self.notes.append(f"The flow {kind} is not ours; cite it as its authors ask.")

    def _samples(self, folder: Path, record: Mapping[str, Any]) -> None:
        self._ensemble(_part(record, "provenance"), folder, record.get("system_fingerprint"))
        if (folder / "reweight.json").is_file():
            task = _part(_mapping(folder / "reweight.json"), "task")
            self._follow(task.get("to"), folder, [task.get("to_fingerprint")])
        coverage = record.get("coverage")
        if isinstance(coverage, Mapping):
            self.methods += ["forward_ess"] if coverage.get("forward_ess") is not None else []
            if coverage.get("probe"):
                self.methods += ["baoab", "replica_exchange", "mbar"]

    def _ensemble(self, origin: Mapping[str, Any], folder: Path, fingerprint: Any) -> None:
        """What the provenance of samples of the system `fingerprint` says of how they were made."""
        worth = ["chain_samples", "nested_r_hat"] if _part(origin, "chains") else ["kish", "pareto"]
        self.methods += ["boltzmann_generator", "pytorch", *worth, "mdtraj"]
        self.methods += [
            str(one["method"]) for one in _records(origin.get("refined")) if str(one.get("method")) in METHODS
        ]
        self._follow(origin.get("system"), folder, [fingerprint] if fingerprint else ())
        for part in (origin, _part(origin, "drawn_by")):
            for key in ("model", "reweighted_from"):
                self._follow(part.get(key), folder)
        self._follow(_part(origin, "drawn_by").get("system"), folder)

    def _conformers(self, folder: Path) -> None:
        self._result(folder / "conformers.json")

    def _result(self, path: Path) -> None:
        """A file of free-energy, or of anything with its schema; or of conformers."""
        record = _mapping(path)
        if str(record.get("schema")).startswith("boltzgen.conformers/"):
            self.methods.append("wells")
            return self._follow(_part(record, "provenance").get("source"), path)
        if record.get("schema") != "boltzgen.free_energy/1":
            raise InputError(
                f"{path} follows {record.get('schema')!r}; expected boltzgen.free_energy/1, as free-energy "
                "writes it."
            )
        estimates = [*_records(record.get("estimates")), *_records(record.get("surface"))]
        self.methods.append("kish")
        for entry in estimates:
            words = str(entry.get("estimator"))
            self.methods += [method for known, method in ESTIMATORS.items() if re.search(known, words)]
            called = str(entry.get("name"))
            self.methods += [method for known, method in OBSERVED.items() if re.search(known, called, re.I)]
            self.methods += ["pareto"] if entry.get("k_hat") is not None else []
        origin = _part(record, "provenance")
        for end in (origin, *(_part(origin, name) for name in ("A", "B")), *_records(origin.get("folders"))):
            self._end(end, path)
        for state in _records(record.get("states")):
            for part in _records(state.get("samples")):
                self._end(part, path)
        self._follow(_part(origin, "relative_to").get("file"), path)

    def _end(self, end: Mapping[str, Any], path: Path) -> None:
        """One set of samples that a result was made from."""
        if isinstance(end.get("ensemble"), Mapping):
            self._ensemble(end["ensemble"], path, end.get("system_fingerprint"))
        for key in ("samples", "source", "model"):
            self._follow(end.get(key), path)
        fingerprint = end.get("system_fingerprint")
        self._follow(end.get("system"), path, [fingerprint] if fingerprint else ())
        self._follow(_part(end, "target_samples").get("source"), path)


def _is_meant(path: Path, fingerprints: Collection[Any]) -> bool:
    """Whether the molecule in `path` has one of the `fingerprints`; True for all that is no molecule."""
    place = path / "system.json"
    return not fingerprints or not place.is_file() or _mapping(place).get("fingerprint") in fingerprints


def _place(path: Path) -> Path:
    """`path` as it is, or the shipped model or example of this name; InputError when there is nothing."""
    if path.exists():
        return path
    name = str(path)
    if name.startswith(EXAMPLE):
        return system_folder(name)
    known = shipped_models()
    if name in known:
        return known[name]
    raise InputError(f"{path}: no such file or folder, and no shipped model of this name.")


def _mapping(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; InputError when it holds something else."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a JSON object, found a {type(record).__name__}.")
    return record


def _part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; empty where there is none."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _records(value: Any) -> list[Mapping[str, Any]]:
    """The mappings among one thing or a list of them."""
    return [one for one in _several(value) if isinstance(one, Mapping)]


def _several(value: Any) -> Iterable[Any]:
    """One thing or a list of them, as a list; nothing for None."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _ever(schedule: Any) -> bool:
    """Whether a weight, or a schedule of points [progress, weight], is above zero anywhere."""
    if isinstance(schedule, list):
        points = [point for point in schedule if isinstance(point, list) and len(point) == 2]
        return any(_ever(weight) for _, weight in points)
    return isinstance(schedule, int | float) and schedule > 0
