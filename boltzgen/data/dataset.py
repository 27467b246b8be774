"""A data set: molecules with their systems and simulations, split by molecule.

    DATASET/dataset.json                     all molecules in the order of the configuration
    DATASET/molecules/NAME/molecule.json     the record of one molecule (one molecule is one shard)
    DATASET/molecules/NAME/SYS, .../MD       what `prepare` and `simulate` write

`dataset.json` is put together from the records, so that molecules can be built in any order, also by several
processes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boltzgen.contents import what_it_is
from boltzgen.data.dataset_record import read_dataset_record
from boltzgen.errors import InputError
from boltzgen.files import sha256_file
from boltzgen.notebook import html_table

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DatasetMolecule:
    """One molecule of a data set.

    Attributes
    ----------
    name: unique in the data set. split: ``train``, ``validation`` or ``test``.
    source: ``{"sequence": ...}`` or ``{"smiles": ...}``.
    system: SYS folder. data: MD folder; None when the molecule was prepared without data, or not yet.
    status: ``complete``, ``partial`` (its simulation was stopped), ``failed`` (it broke down) or ``waiting``.
    fingerprint: of the system; graph: `boltzgen.system.graph.graph_hash.graph_hash`.
    frames: at each temperature. evaluations: energies with gradients that the data cost.
    convergence: of `boltzgen.data.convergence.convergence`; empty without data.
    sha256: digest of each file, by its path from the folder of the data set.
    """

    name: str
    split: str
    source: Mapping[str, str]
    system: Path
    data: Path | None
    status: str
    fingerprint: str
    graph: str
    atoms: int
    frames: int
    evaluations: int
    convergence: Mapping[str, Any] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Dataset:
    """The data set in `folder`, molecules in the order of its configuration."""

    folder: Path
    molecules: tuple[DatasetMolecule, ...]
    status: str

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Read ``dataset.json``; InputError when it is missing or is not of a data set."""
        folder = Path(folder)
        record = read_dataset_record(folder)
        if record is None:
            raise InputError(
                f"{folder} is not a data set: it holds no dataset.json. "
                f'Make one with `build_dataset(CONFIG, output="{folder}")`.{what_it_is(folder)}'
            )
        molecules = tuple(_molecule(folder, one) for one in record["molecules"] if one["fingerprint"])
        return cls(folder, molecules, record["status"])

    def __repr__(self) -> str:
        counts = ", ".join(f"{sum(one.split == name for one in self.molecules)} {name}" for name in SPLITS)
        return f"<Dataset {self.folder}: {len(self.molecules)} molecules ({counts}), {self.status}>"

    def _repr_html_(self) -> str:
        columns = ("molecule", "split", "atoms", "frames", "energy evaluations", "status")
        rows = [(m.name, m.split, m.atoms, m.frames, m.evaluations, m.status) for m in self.molecules]
        return html_table(columns, rows, caption=f"{self.folder}: {self.status}")

    def to_json(self) -> dict[str, Any]:
        """Folder, status and the fields of each molecule, JSON types only."""
        plain = ("name", "split", "status", "fingerprint", "graph", "atoms", "frames", "evaluations")
        molecules = [
            {
                **{key: getattr(one, key) for key in plain},
                "source": dict(one.source),
                "system": str(one.system),
                "data": None if one.data is None else str(one.data),
                "convergence": dict(one.convergence),
            }
            for one in self.molecules
        ]
        return {"folder": str(self.folder), "status": self.status, "molecules": molecules}

    def of(self, split: str) -> tuple[DatasetMolecule, ...]:
        """The complete molecules of `split`; those that were prepared without data have ``data`` None."""
        if split not in SPLITS:
            raise InputError(f"{split!r} is no split of a data set; use {', '.join(SPLITS)}.")
        return tuple(one for one in self.molecules if one.split == split and one.status == "complete")

    def verify(self) -> None:
        """InputError naming the first file that is missing or differs from what was written."""
        for one in self.molecules:
            for name, digest in one.sha256.items():
                path = self.folder / name
                if not path.is_file():
                    raise InputError(f"{path} is missing; {_remedy(one)}")
                if sha256_file(path) != digest:
                    raise InputError(f"{path} is not the file that was written (SHA-256); {_remedy(one)}")


def _remedy(one: DatasetMolecule) -> str:
    return f"copy it anew, or build {one.name} again with `build_dataset(..., rebuild={[one.name]})`."


def _molecule(folder: Path, record: Mapping[str, Any]) -> DatasetMolecule:
    data = record["data"]
    plain = ("name", "split", "status", "fingerprint", "graph", "atoms", "frames", "evaluations")
    return DatasetMolecule(
        **{key: record[key] for key in plain},
        source=dict(record["source"]),
        system=folder / record["system"],
        data=None if data is None else folder / data,
        convergence=dict(record.get("convergence", {})),
        sha256=dict(record.get("sha256", {})),
    )
