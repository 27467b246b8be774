"""How the energy of a prepared molecule is computed: what a System XML alone does not say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.files import sha256_file, write_atomic

#: ``translated``: the System as batched torch; ``bridge``: OpenMM contexts in worker processes.
ENGINES = ("translated", "bridge")

#: Processes that one energy may ask for.
MOST_WORKERS = 1024

#: The option of a backend that names a file, which SYS then holds a copy of, and the option with its hash.
FILE_OPTION, FILE_HASH = "file", "file_sha256"


@dataclass(frozen=True)
class LinkAtom:
    """A hydrogen that closes a bond cut by the region's edge, at ``r_in + scale (r_out - r_in)``.

    Attributes
    ----------
    inside, outside: the bond's atom in the region, and the one that the hydrogen stands for.
    scale: g, the constant fraction of the bond at which the hydrogen stands.
    """

    inside: int
    outside: int
    scale: float


@dataclass(frozen=True)
class MachineLearnedRegion:
    """The atoms whose internal energy a machine-learned or quantum potential gives.

    Attributes
    ----------
    backend: its name, as `prepare` is given it.
    atoms: indices of the region's atoms, ascending.
    options: what the backend was told, as words (``{"solvent": "water", "charge": "0"}``). ``file`` is a path
        in memory, and on disk the name of a file beside ``system.json``.
    links: hydrogens at cut bonds; the backend sees them after the atoms, in this order.
    """

    backend: str
    atoms: tuple[int, ...]
    options: dict[str, str] = field(default_factory=dict)
    links: tuple[LinkAtom, ...] = ()

    def with_file_hash(self) -> MachineLearnedRegion:
        """The same with the hash of its file; InputError when there is no such file."""
        if FILE_OPTION not in self.options:
            return self
        path = Path(self.options[FILE_OPTION])
        if not path.is_file():
            raise InputError(f"`ml_options={ {FILE_OPTION: str(path)} }`: no such file; check the path.")
        options = {**self.options, FILE_OPTION: str(path.resolve()), FILE_HASH: sha256_file(path)}
        return replace(self, options=options)

    def check_file(self) -> None:
        """Raise InputError when the backend's file is missing or another one than when it was prepared."""
        if FILE_OPTION not in self.options:
            return
        path = Path(self.options[FILE_OPTION])
        if not path.is_file():
            raise InputError(f"{path}, the model of the region, is missing; prepare the molecule again.")
        if sha256_file(path) != self.options.get(FILE_HASH):
            raise InputError(
                f"{path}, the model of the machine-learned region, is not the one that was prepared (its "
                "SHA-256 differs); prepare the molecule again with the file that you mean."
            )

    def copy_file(self, folder: Path) -> None:
        """Put a copy of the backend's file into `folder`."""
        if FILE_OPTION not in self.options:
            return
        path, copy = Path(self.options[FILE_OPTION]), folder / self._file_name()
        if path.resolve() != copy.resolve():
            write_atomic(copy, path.read_bytes())

    def _file_name(self) -> str:
        """What the copy in SYS is called, whatever the name of the original."""
        return f"ml-model{Path(self.options[FILE_OPTION]).suffix}"

    def to_json(self) -> dict[str, Any]:
        record = asdict(self)
        if FILE_OPTION in self.options:
            record["options"][FILE_OPTION] = self._file_name()
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any], folder: Path | None) -> MachineLearnedRegion:
        """The inverse of `to_json`; the file is sought in `folder`."""
        options = {str(key): str(value) for key, value in record["options"].items()}
        if FILE_OPTION in options and folder is not None:
            options[FILE_OPTION] = str((folder / Path(options[FILE_OPTION]).name).resolve())
        links = tuple(
            LinkAtom(int(link["inside"]), int(link["outside"]), float(link["scale"]))
            for link in record.get("links", ())
        )
        return cls(str(record["backend"]), tuple(int(atom) for atom in record["atoms"]), options, links)


@dataclass(frozen=True)
class EnergyModel:
    """Which engine evaluates the System, and which atoms another potential takes over.

    Attributes
    ----------
    engine: ``translated`` or ``bridge``; the energy is the same, the speed is not.
    platform: OpenMM platform of the bridge, or ``auto``.
    workers: processes of the bridge, or of a potential that needs them.
    region: the machine-learned region of a hybrid; None for molecular mechanics alone.
    """

    engine: str = "translated"
    platform: str = "auto"
    workers: int = 1
    region: MachineLearnedRegion | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"The energy engine {self.engine!r} is not one of {', '.join(ENGINES)}.")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(
                f"{self.workers} worker processes were asked for; give at least one, at most {MOST_WORKERS}."
            )

    def identity(self) -> bytes:
        """What of this changes the energy: nothing for molecular mechanics, the region for a hybrid.

        A file counts by its hash, not by its name.
        """
        if self.region is None:
            return b""
        record = self.region.to_json()
        if FILE_HASH in record["options"]:
            del record["options"][FILE_OPTION]
        return json.dumps(record, sort_keys=True).encode()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "region": None if self.region is None else self.region.to_json()}

    @classmethod
    def from_json(cls, record: dict[str, Any] | None, folder: Path | None = None) -> EnergyModel:
        """The inverse of `to_json`, None being the default; KeyError, TypeError or ValueError for damage."""
        if record is None:
            return cls()
        region = record["region"]
        if region is not None:
            region = MachineLearnedRegion.from_json(region, folder)
        return cls(str(record["engine"]), str(record["platform"]), int(record["workers"]), region)
