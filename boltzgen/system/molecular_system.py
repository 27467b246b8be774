"""`MolecularSystem`: one molecule, its force field and a reference structure.

Words: N atoms, M bonds; nm, dalton, kJ/mol, elementary charge. Atom indices count from 0 in the order of
the input, which is the order of every array of positions anywhere in the library.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.contents import what_it_is
from boltzgen.digests import file_digests, require_signed, require_unchanged, signed
from boltzgen.errors import InputError
from boltzgen.files import read_text, together, write_atomic, write_json
from boltzgen.folders import alone_in
from boltzgen.system.energy_model import EnergyModel
from boltzgen.system.examples import system_folder
from boltzgen.system.formats.openmm_xml import deserialize_system
from boltzgen.system.formats.pdb_text import AtomName, parse_names
from boltzgen.system.system_record import SCHEMA, read_system_record

if TYPE_CHECKING:
    import mdtraj
    import openmm
    from openmm import app

#: Bytes of a System as text: some thousand for each atom.
LARGEST_XML = 2**30


@dataclass(frozen=True, eq=False, repr=False)
class MolecularSystem:
    """One connected molecule, parametrised.

    Attributes
    ----------
    name: what people call it.
    atomic_numbers: (N,) int, 0 where the element is unknown (united atoms, beads).
    masses: (N,) dalton.
    bonds: (M, 2) int; each row sorted, rows sorted, unique.
    reference_positions: (N, 3) float64 nm. They define handedness and isomers.
    system_xml: the serialized OpenMM System.
    topology_pdb: a PDB of the reference positions, with every bond as CONECT.
        Its names are for people and selections only; nothing learned may depend on them.
    provenance: input, options, versions, and what `prepare` found. JSON types only.
    energy_model: the engine that evaluates the System, and a hybrid's machine-learned region.
    free_rotations: bonds, each with its lower atom first, about which both isomers belong to the domain
        although a barrier parts them: the O-H of an acid, the C-N of an amide.

    The arrays are read-only. Two systems are the same molecule under the same energy function when
    their fingerprints agree.
    """

    name: str
    atomic_numbers: np.ndarray
    masses: np.ndarray
    bonds: np.ndarray
    reference_positions: np.ndarray
    system_xml: str
    topology_pdb: str
    provenance: dict[str, Any] = field(default_factory=dict)
    energy_model: EnergyModel = field(default_factory=EnergyModel)
    free_rotations: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        shaped = {
            "atomic_numbers": np.array(self.atomic_numbers, dtype=np.int64).reshape(-1),
            "masses": np.array(self.masses, dtype=np.float64).reshape(-1),
            "bonds": canonical_bonds(self.bonds),
            "reference_positions": np.array(self.reference_positions, dtype=np.float64).reshape(-1, 3),
        }
        n = len(shaped["atomic_numbers"])
        if len(shaped["masses"]) != n or len(shaped["reference_positions"]) != n:
            raise InputError(
                f"The system {self.name!r} has {n} elements, {len(shaped['masses'])} masses and "
                f"{len(shaped['reference_positions'])} positions; the three numbers must agree."
            )
        if len(shaped["bonds"]) and (shaped["bonds"].max() >= n or shaped["bonds"].min() < 0):
            raise InputError(
                f"A bond of the system {self.name!r} names an atom outside 0..{n - 1}; prepare it again."
            )
        free = canonical_bonds(self.free_rotations)
        if not {*map(tuple, free.tolist())} <= {*map(tuple, shaped["bonds"].tolist())}:
            raise InputError(
                f"`free_rotations` of the system {self.name!r} name atoms without a bond; prepare it again."
            )
        object.__setattr__(self, "free_rotations", tuple((int(a), int(b)) for a, b in free))
        for key, value in shaped.items():
            value.setflags(write=False)
            object.__setattr__(self, key, value)

    @property
    def n_atoms(self) -> int:
        return len(self.atomic_numbers)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the energy function, the elements and the bonds; not of names or positions."""
        digest = hashlib.sha256()
        for part in (
            self.system_xml.encode(),
            self.atomic_numbers.astype("<i8").tobytes(),
            self.bonds.astype("<i8").tobytes(),
        ):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        digest.update(self.energy_model.identity())
        return digest.hexdigest()

    @cached_property
    def atom_names(self) -> tuple[AtomName, ...]:
        """How people call the atoms; for messages and selections."""
        return tuple(parse_names(self.topology_pdb))

    @cached_property
    def _openmm_system(self) -> openmm.System:
        return deserialize_system(self.system_xml, f"the System of {self.name!r}")

    def openmm_system(self) -> openmm.System:
        """The OpenMM System, deserialized once. Copy it before changing it."""
        return self._openmm_system

    def openmm_topology(self) -> app.Topology:
        """An OpenMM topology with these atoms, elements and bonds, and the names of `topology_pdb`."""
        from openmm import app

        topology = app.Topology()
        chain = residue = None
        chain_key: object = None
        residue_key: object = None
        atoms = []
        for name, number in zip(self.atom_names, self.atomic_numbers, strict=True):
            if chain is None or name.chain != chain_key:
                chain, chain_key, residue_key = topology.addChain(name.chain), name.chain, None
            key = (name.residue, name.residue_number, name.insertion)
            if residue is None or key != residue_key:
                residue = topology.addResidue(name.residue, chain, name.residue_number, name.insertion)
                residue_key = key
            element = app.Element.getByAtomicNumber(int(number)) if number > 0 else None
            atoms.append(topology.addAtom(name.atom, element, residue))
        for first, second in self.bonds:
            topology.addBond(atoms[first], atoms[second])
        return topology

    def mdtraj_topology(self) -> mdtraj.Topology:
        """The same for MDTraj."""
        import mdtraj

        return mdtraj.Topology.from_openmm(self.openmm_topology())

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write ``system.xml``, ``topology.pdb`` and ``system.json`` into `folder`, all of them or none."""
        with alone_in(folder) as place:
            if self.energy_model.region is not None:
                self.energy_model.region.copy_file(place)
            with together(place / "system.json"):
                write_atomic(place / "system.xml", self.system_xml)
                write_atomic(place / "topology.pdb", self.topology_pdb)
                files = file_digests(place, ("system.xml", "topology.pdb"))
                write_json(place / "system.json", signed({**self.to_json(), "files": files}))
        return place

    def to_json(self) -> dict[str, Any]:
        """The content of ``system.json`` but for its hashes; the force field stands in ``system.xml``."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "n_atoms": self.n_atoms,
            "fingerprint": self.fingerprint,
            "atomic_numbers": self.atomic_numbers.tolist(),
            "masses_dalton": self.masses.tolist(),
            "bonds": self.bonds.tolist(),
            "reference_positions_nm": self.reference_positions.tolist(),
            "energy_model": self.energy_model.to_json(),
            **(
                {"free_rotations": [list(pair) for pair in self.free_rotations]}
                if self.free_rotations
                else {}
            ),
            "provenance": self.provenance,
        }

    def __repr__(self) -> str:
        counts = Counter(int(number) for number in self.atomic_numbers)
        hybrid = (
            "" if self.energy_model.region is None else f", hybrid with {self.energy_model.region.backend}"
        )
        return (
            f"<MolecularSystem {self.name}: {self.n_atoms} atoms ({counts[1]} H, {counts[6]} C, "
            f"{self.n_atoms - counts[1] - counts[6]} others), {len(self.bonds)} bonds, "
            f"{self.masses.sum():.2f} Da{hybrid}>"
        )

    @classmethod
    def load(cls, folder: str | Path) -> MolecularSystem:
        """Read what `save` wrote, or a molecule that is shipped: ``example:NAME``.

        Raises
        ------
        InputError: the folder or one of its files is missing, truncated, or does not fit the others.
        """
        folder = system_folder(folder)
        remedy = f'Make it with `prepare(INPUT, output="{folder}")`.'
        if not (folder / "system.json").is_file():
            raise InputError(
                f"{folder} is not a prepared system: it holds no system.json. {remedy}{what_it_is(folder)}"
            )
        record = read_system_record(folder, remedy)
        texts = {}
        for name in ("system.xml", "topology.pdb"):
            missing = f"no such file. {remedy}"
            texts[name] = read_text(folder / name, missing=missing, largest=LARGEST_XML)
        try:
            system = cls(
                name=record["name"],
                atomic_numbers=record["atomic_numbers"],
                masses=record["masses_dalton"],
                bonds=record["bonds"],
                reference_positions=record["reference_positions_nm"],
                system_xml=texts["system.xml"],
                topology_pdb=texts["topology.pdb"],
                provenance=record["provenance"],
                energy_model=EnergyModel.from_json(record.get("energy_model"), folder),
                free_rotations=record.get("free_rotations", ()),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{folder / 'system.json'} is damaged ({error!r}). {remedy}") from error
        except InputError as error:
            raise InputError(f"{folder / 'system.json'} is damaged. {error} {remedy}") from error
        if system.fingerprint != record.get("fingerprint"):
            raise InputError(
                f"The files of {folder} do not belong together: system.xml or the bonds changed after they "
                f"were written. {remedy}"
            )
        again = f"copy it anew, or make it with `prepare(INPUT, output={str(folder)!r})`."
        require_unchanged(folder, record.get("files"), again)
        if len(system.atom_names) != system.n_atoms:
            raise InputError(
                f"{folder / 'topology.pdb'} names {len(system.atom_names)} atoms, system.json "
                f"{system.n_atoms}. {remedy}"
            )
        require_signed(folder / "system.json", record, again)
        return system


def canonical_bonds(bonds: Any) -> np.ndarray:
    """`bonds` as a (M, 2) int array; each row sorted, rows sorted, unique."""
    array = np.array(bonds, dtype=np.int64).reshape(-1, 2)
    return np.unique(np.sort(array, axis=1), axis=0) if len(array) else array
