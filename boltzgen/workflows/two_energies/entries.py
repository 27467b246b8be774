"""The list of molecules: a file of SMILES, one a line with a name if it has one, a CSV, or an SDF."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from boltzgen.errors import InputError
from boltzgen.files import read_text

#: Characters of a name that the name of its folder keeps.
_LONGEST = 40

#: Molecules of one list.
MOST = 100_000


@dataclass(frozen=True)
class Entry:
    """A molecule of the list: its place from 1 on, its name, and its SMILES or the text of its SDF record."""

    number: int
    name: str
    smiles: str | None
    block: str | None = None

    @property
    def folder(self) -> str:
        """The name of its folder, different for each place."""
        return f"{self.number:04d}-{re.sub(r'[^A-Za-z0-9]+', '_', self.name).strip('_')[:_LONGEST]}".rstrip(
            "-"
        )

    @property
    def source(self) -> str:
        """What it was made from: two entries of one source are one molecule."""
        return self.smiles if self.smiles is not None else str(self.block)


def read_entries(path: Path) -> list[Entry]:
    """The molecules of `path` in its order; InputError for an empty list and a table without SMILES."""
    missing = "no such file; give SMILES, one a line, or an SDF."
    text = read_text(path, missing=missing)
    suffix = path.suffix.lower()
    reader = {".sdf": _of_sdf, ".csv": _of_table}.get(suffix, _of_lines)
    found = reader(text, path)
    if not found:
        raise InputError(
            f"{path} holds no molecule; give SMILES, one a line, with a name after it if you like."
        )
    if len(found) > MOST:
        raise InputError(f"{path} holds {len(found)} molecules; give at most {MOST} at once.")
    return found


def _of_lines(text: str, path: Path) -> list[Entry]:
    lines = [line.strip() for line in text.splitlines()]
    words = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    return [
        Entry(number, (rest[0].strip() if rest else smiles), smiles)
        for number, (smiles, *rest) in enumerate(words, 1)
    ]


def _of_table(text: str, path: Path) -> list[Entry]:
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    if "smiles" not in columns:
        raise InputError(
            f"{path}: a CSV needs a column 'smiles', and may have 'name'; it has "
            f"{', '.join(columns) or 'none'}."
        )
    found = []
    for number, row in enumerate(rows, 1):
        smiles = str(row[columns["smiles"]] or "").strip()
        name = str(row[columns["name"]] or "").strip() if "name" in columns else ""
        found.append(Entry(number, name or smiles, smiles))
    return found


def _of_sdf(text: str, path: Path) -> list[Entry]:
    # the first line of a record is its title and may be empty: only the end of the line before goes
    blocks = [_after_line_end(block) if number else block for number, block in enumerate(text.split("$$$$"))]
    blocks = [block for block in blocks if block.strip()]
    titles = [block.splitlines()[0].strip() for block in blocks]
    return [
        Entry(number, title or f"molecule {number}", None, block)
        for number, (title, block) in enumerate(zip(titles, blocks, strict=True), 1)
    ]


def _after_line_end(block: str) -> str:
    return block.removeprefix("\r").removeprefix("\n")
