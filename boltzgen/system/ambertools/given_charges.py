"""Charges that the user brings: those in the molecule's own file, or in a file of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.files import parse_json, sha256_file
from boltzgen.system.ambertools.charges import TOLERANCE, Charges
from boltzgen.system.formats.bounds import read_text
from boltzgen.system.formats.numbers import is_real

if TYPE_CHECKING:
    from rdkit import Chem

#: What says that the molecule's own file has the charges.
OWN = "file"

#: The property of an SDF that holds them, as RDKit and the OpenFF toolkit write it.
SDF_PROPERTY = "atom.dprop.PartialCharge"

_FORMS = "a JSON list, a JSON mapping of atom names, numbers in a text, or a mol2 of the same atoms"


def given_charges(
    molecule: Chem.Mol, names: Sequence[str], wanted: str, source: Path | None, where: str
) -> Charges:
    """The charges (e) of `molecule` that `wanted` names: `OWN`, those in the file `source`, or a path.

    names: of the atoms, in order.

    Raises
    ------
    InputError: no such charges, too few or many, or another sum than the formal charge.
    """
    path = Path(wanted)
    if wanted == OWN:
        values, told = _of_source(molecule, source, where), "the molecule's own file"
        file = source
    else:
        values, told, file = _of_file(path, names), f"`charges={wanted!r}`", path
    if len(values) != len(names):
        raise InputError(
            f"`charges={wanted!r}`: {told} has {len(values)} charges, {where} has {len(names)} atoms "
            f"(hydrogens too, in the order {', '.join(names[:3])}, ...); give one for each."
        )
    formal = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
    if abs(sum(values) - formal) > TOLERANCE:
        raise InputError(
            f"`charges={wanted!r}`: they add up to {sum(values):+.4f} e, the formal charge of {where} is "
            f"{formal:+d} e; correct the charges, or the formal charges of the molecule."
        )
    record: dict[str, Any] = {"method": "given", "net_charge": formal}
    if file is not None:
        record |= {"file": file.name, "sha256": sha256_file(file)}
    return Charges(tuple(values), record)


def _of_source(molecule: Chem.Mol, source: Path | None, where: str) -> list[float]:
    lacking = InputError(
        f"`charges={OWN!r}` takes the charges that the molecule's own mol2 or SDF (property {SDF_PROPERTY}) "
        f'states, and {where} states none; name a file with them, `charges="FILE"`, or `charges="bcc"`.'
    )
    if source is None:
        raise lacking
    if source.suffix.lower() == ".mol2":
        key = "_TriposPartialCharge"
        words = [atom.GetProp(key) if atom.HasProp(key) else "" for atom in molecule.GetAtoms()]
        values = [float(word) for word in words if is_real(word)]
        if len(values) < len(words) or not any(values):
            raise lacking
        return values
    record = read_text(source).split("$$$$")[0]
    found = re.search(rf"^> *<{re.escape(SDF_PROPERTY)}>.*\n((?:.+\n?)*)", record, re.MULTILINE)
    if found is None:
        raise lacking
    return _numbers(found[1].split(), source)


def _of_file(path: Path, names: Sequence[str]) -> list[float]:
    if not path.is_file():
        raise InputError(
            f"`charges={str(path)!r}` is neither bcc, abcg2 nor {OWN}, nor a file; give one of them, or the "
            f"path of {_FORMS}."
        )
    text = read_text(path)
    if path.suffix.lower() == ".mol2":
        body = text.partition("@<TRIPOS>ATOM\n")[2].partition("@<TRIPOS>")[0]
        rows = [line.split() for line in body.splitlines() if line.strip()]
        return _numbers([row[8] if len(row) > 8 else "" for row in rows], path)
    if text.lstrip()[:1] in ("[", "{"):
        content = parse_json(text, str(path))
        if isinstance(content, dict):
            unknown = sorted(set(names) ^ set(content))
            if unknown:
                raise InputError(
                    f"`charges={str(path)!r}` names other atoms than the molecule has "
                    f"({', '.join(unknown[:4])}); its atoms are {', '.join(names[:6])}, ..."
                )
            content = [content[name] for name in names]
        return _numbers(content, path)
    return _numbers(re.sub(r"#.*", "", text).replace(",", " ").split(), path)


def _numbers(words: Sequence[Any], path: Path) -> list[float]:
    for number, word in enumerate(words, start=1):
        sound = is_real(word) if isinstance(word, str) else isinstance(word, int | float)
        if not sound or isinstance(word, bool):
            raise InputError(
                f"`charges={str(path)!r}`: charge {number} is {str(word)[:40]!r}, no number; give {_FORMS}."
            )
    return [float(word) for word in words]
