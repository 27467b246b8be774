"""What a prepared molecule says: its atoms, what turns in it and its rings, by the names of a states file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boltzgen.config.shipped import made_for
from boltzgen.errors import InputError
from boltzgen.files import read_text
from boltzgen.system.formats.pdb_text import AtomName, parse_names
from boltzgen.system.graph.elements import symbol_of
from boltzgen.system.torsion_names import READY_NAMES, chains_of, ready_torsions
from boltzgen.workflows.reporting.calls import beside, call
from boltzgen.workflows.reporting.folders import Found
from boltzgen.workflows.reporting.shown import Said, Step, Table


def molecule_said(given: Path, found: Found) -> Said:
    """What the SYS folder that was `found` says; `given` is its name in commands."""
    folder, record = found.path, found.record
    names = atom_names(folder, record)
    shape = shape_in(folder, record)
    counts = Counter(record["atomic_numbers"])
    origin = record["provenance"]
    turning = [one for one in shape["torsions"] if one["kind"] != "isomer"]
    held = Counter(one["held"] for one in shape["torsions"] if one["kind"] == "isomer")
    region = (record.get("energy_model") or {}).get("region")
    check = origin.get("translation_check") or {}
    numbers = {
        "atoms": f"{record['n_atoms']} ({record['n_atoms'] - counts[1]} heavy)",
        "bonds": len(record["bonds"]),
        "rotatable torsions": f"{len(turning)} ({sum(one['kind'] == 'open' for one in turning)} open, "
        f"{sum(one['kind'] == 'methyl-like' for one in turning)} methyl-like)",
        "rings": ", ".join(str(len(one["atoms"])) for one in shape["rings"]) or "none",
        "held as given": ", ".join(f"{count} {kind}" for kind, count in held.items()) or "nothing",
        "hybrid": None if region is None else f"{region['backend']} on {len(region['atoms'])} atoms",
        "energy against OpenMM": check.get("max_relative_energy_difference"),
    }
    numbers = {name: value for name, value in numbers.items() if value is not None}
    tables = [_atoms(names, record), *_torsions(names, shape["torsions"]), *_rings(names, shape["rings"])]
    return Said(numbers, tuple(tables), tuple(origin.get("warnings", ())), _steps(given, found))


def atom_names(folder: Path, record: Mapping[str, Any]) -> list[AtomName]:
    """How people call the atoms of the SYS `folder`."""
    missing = "no such file; copy the folder anew, or prepare it again."
    text = read_text(folder / "topology.pdb", missing=missing)
    names = parse_names(text)
    if len(names) != record["n_atoms"]:
        raise InputError(
            f"{folder / 'topology.pdb'} names {len(names)} atoms, system.json {record['n_atoms']}; prepare "
            "it again."
        )
    return names


def shape_in(folder: Path, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Torsions and rings as `prepare` wrote them; computed, with OpenMM, for folders of before it did."""
    known = record["provenance"].get("shape")
    if known is not None:
        found: Mapping[str, Any] = known
        return found
    from boltzgen.system.graph.shape import shape_of
    from boltzgen.system.molecular_system import MolecularSystem

    return shape_of(MolecularSystem.load(folder))


def ready_names(names: Sequence[AtomName]) -> dict[frozenset[int], tuple[str, tuple[int, ...]]]:
    """Axis of a torsion (its two inner atoms) -> ready name and the four atoms that it stands for.

    `phi` where there is one, else ``phi:3``; names that residue numbers leave unclear are left out.
    """
    chains, found = chains_of(names), {}
    for base in READY_NAMES:
        listed = ready_torsions(base, chains)
        if len({number for number, _ in listed}) != len(listed):
            continue
        for number, atoms in listed:
            found[frozenset(atoms[1:3])] = (base if len(listed) == 1 else f"{base}:{number}", atoms)
    return found


def _atoms(names: Sequence[AtomName], record: Mapping[str, Any]) -> Table:
    numbers = record["atomic_numbers"]
    rows = [
        (
            index,
            name.atom,
            symbol_of(number, "-" if not number else str(number)),
            f"{name.residue} {name.residue_number}{name.insertion}",
        )
        for index, (name, number) in enumerate(zip(names, numbers, strict=True))
    ]
    return Table("atoms", ("index", "name", "element", "residue"), tuple(rows))


def _torsions(names: Sequence[AtomName], torsions: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Those that turn, then those that are held; each as a states file has it."""
    ready, rows = ready_names(names), []
    used: Counter[str] = Counter()
    for one in sorted(torsions, key=lambda one: one["kind"] == "isomer"):
        atoms = tuple(one["atoms"])
        name, atoms = ready.get(frozenset(atoms[1:3]), ("", atoms))
        shown = "-".join(names[atom].atom for atom in atoms)
        kind = one["kind"] if one["kind"] != "isomer" else f"held ({one['held']})"
        if not name:
            plain = f"{names[atoms[1]].atom}-{names[atoms[2]].atom}"
            used[plain] += 1
            plain += f"_{used[plain]}" if used[plain] > 1 else ""
            name = f"{plain}: {{torsion: [{', '.join(map(str, atoms))}]}}"
        rows.append((shown, ", ".join(map(str, atoms)), str(names[atoms[1]]).split()[0], kind, name))
    columns = ("torsion", "atoms", "residue", "kind", "in a states file")
    return [Table("torsions", columns, tuple(rows))] if rows else []


def _rings(names: Sequence[AtomName], rings: Sequence[Mapping[str, Any]]) -> list[Table]:
    saturated = [one for one in rings if one["saturated"]]
    systems = _systems([one["atoms"] for one in rings])
    rows = []
    for number, one in enumerate(rings):
        name = ""
        if one["saturated"]:
            ring = f"ring{number + 1}: {{pucker: [{', '.join(map(str, one['atoms']))}]}}"
            name = "pucker" if len(saturated) == 1 else ring
        shown = "-".join(names[atom].atom for atom in one["atoms"])
        rows.append((systems[number], len(one["atoms"]), shown, one["conformation"], name))
    columns = ("system", "size", "atoms", "conformation", "in a states file")
    return [Table("rings", columns, tuple(rows))] if rows else []


def _systems(rings: Sequence[Sequence[int]]) -> list[int]:
    """For each ring the number, from 1, of the system of rings that share atoms with it."""
    found = list(range(len(rings)))
    for first, one in enumerate(rings):
        for second in range(first):
            if {*one} & {*rings[second]}:
                old, new = max(found[first], found[second]), min(found[first], found[second])
                found = [new if label == old else label for label in found]
    order = {label: place + 1 for place, label in enumerate(dict.fromkeys(found))}
    return [order[label] for label in found]


def _steps(given: Path, found: Found) -> tuple[Step, ...]:
    options = found.record["provenance"].get("options") or {}
    answer = call("run", given, output=beside(given, "ANSWER"))
    steps = [Step("an answer, by the road that suits the molecule", answer)]
    field = options.get("forcefield") or ()
    for model in made_for([field] if isinstance(field, str) else field, str(options.get("implicit"))):
        drawn = call("sample", model, given, output=beside(given, "OUT"), number=10_000)
        steps.append(Step(f"samples of {model}, which knows such molecules", drawn))
    drawing = call("show", given, picture=beside(given, f"{found.path.name}.svg"))
    return (
        *steps,
        Step("frames of it, by replica exchange", call("simulate", given, output=beside(given, "MD"))),
        Step("its drawing with the numbers of the atoms", drawing),
    )
