"""What a data set is made of. A YAML file holds only departures from these defaults."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from boltzgen.config.settings import build_settings
from boltzgen.errors import InputError
from boltzgen.settings import Settings
from boltzgen.system.parametrise.sequence import parse_sequence
from boltzgen.training.settings import SimulationSource

Split = Literal["train", "validation", "test"]

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class MoleculeSource(Settings):
    """One molecule: a peptide by its sequence, or a small molecule by its SMILES and a name."""

    sequence: str | None = None
    """Peptide, ``ACE-ALA-NME`` or one-letter ``GAVL``."""
    smiles: str | None = None
    """Small molecule."""
    name: str = ""
    """Unique in the data set; the sequence when not given."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name") and isinstance(values.get("sequence"), str):
            return {**values, "name": values["sequence"].strip()}
        return values

    @model_validator(mode="after")
    def _one_source(self) -> MoleculeSource:
        if (self.sequence is None) == (self.smiles is None):
            raise ValueError("give a sequence, or {smiles: ..., name: ...}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the molecule {self.smiles or self.sequence} needs a name of letters, digits and ._+-"
            )
        if self.sequence is not None:
            _parsed(self.sequence)
        return self

    @property
    def words(self) -> dict[str, str]:
        """The source as it stands in ``dataset.json``."""
        return {"sequence": self.sequence} if self.sequence is not None else {"smiles": self.smiles or ""}


def _molecule(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("YAML reads YES, NO, ON and OFF as truth values; put the sequence in quotes")
    return {"sequence": value} if isinstance(value, str) else value


Molecules = list[Annotated[MoleculeSource, BeforeValidator(_molecule)]]


class DatasetSettings(Settings):
    """A data set: molecules by split, how they are prepared, how their data are simulated."""

    forcefield: list[str] = ["amber14-all.xml"]
    """OpenMM force-field files of peptides."""
    implicit: str = "implicit/obc1.xml"
    """Implicit solvent of peptides: a file, the name of a model, or ``none``."""
    small_molecule_forcefield: list[str] = ["mmff94"]
    """Force field of molecules by SMILES."""
    small_molecule_charges: str | None = None
    """Their charges under gaff and gaff2: bcc (the default), abcg2."""
    small_molecule_implicit: str = "none"
    """Implicit solvent of molecules by SMILES: the name of a model, or ``none``."""
    simulation: SimulationSource = SimulationSource()
    """Replica exchange of every molecule."""
    train: Molecules = []
    """Molecules to learn from."""
    validation: Molecules = []
    """Molecules to choose settings by."""
    test: Molecules = []
    """Molecules to report on."""
    per_split: dict[Split, dict[str, Any]] = {}
    """Departures from `simulation` for the molecules of a split."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of all simulations; each molecule's own comes from it and the name."""

    @model_validator(mode="after")
    def _checked(self) -> DatasetSettings:
        for split in self.per_split:
            self.simulation_of(split)
        places: dict[str, str] = {}
        for split, one in self.molecules():
            keys = [f"name {one.name.lower()}"]
            if one.sequence is not None:
                keys.append(f"sequence {_parsed(one.sequence)}")
            for key in keys:
                if key in places:
                    raise ValueError(f"{one.name} stands in {places[key]} and in {split}; name it once")
                places[key] = split
        if not places:
            raise ValueError("no molecules; list some under train, validation or test")
        return self

    def molecules(self) -> list[tuple[Split, MoleculeSource]]:
        """Split and molecule, in order."""
        return [(split, one) for split in _SPLITS for one in getattr(self, split)]

    def simulation_of(self, split: Split) -> SimulationSource:
        """The simulation of the molecules of `split`."""
        departures = self.per_split.get(split, {})
        asked = {**self.simulation.model_dump(), **departures}
        return build_settings(SimulationSource, asked, source=f"per_split.{split}")

    def preparation_of(self, one: MoleculeSource) -> dict[str, Any]:
        """Options of `prepare` for `one`, its source and name left out; JSON types only."""
        if one.smiles is not None:
            charges = self.small_molecule_charges
            return {
                "forcefield": self.small_molecule_forcefield,
                **({} if charges is None else {"charges": charges}),
                "implicit": self.small_molecule_implicit,
            }
        return {"forcefield": self.forcefield, "implicit": self.implicit}


def _parsed(sequence: str) -> str:
    try:
        return str(parse_sequence(sequence))
    except InputError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Place:
    """One molecule of the configuration and where it lives, relative to the folder of the data set."""

    split: Split
    source: MoleculeSource

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def folder(self) -> str:
        return f"molecules/{self.name}"


def seed_of(seed: int, name: str) -> int:
    """A seed for each molecule that does not depend on the others."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "little")
