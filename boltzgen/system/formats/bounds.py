"""Bounds on other people's texts, checked before outside software sees them.

Parsers in C++ recurse with the nesting of a text and allocate what its header says; some of them end the
process then. The bounds lie far above what molecules need, and far below what any of the parsers minds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.parsers import expat

from boltzgen import files
from boltzgen.errors import InputError

#: Bytes of one file: a PDB of a million lines with all its water, which is then told from the molecule.
LARGEST_FILE = 128 * 1024 * 1024

#: Atoms of all molecules of a topology.
MOST_ATOMS = 1_000_000

#: Elements within elements of an XML (a System of collective variables of collective variables has 13).
DEEPEST_XML = 50

#: Characters of an attribute, an expression or a line; parentheses within parentheses; operators, and powers
#: among them: OpenMM's derivatives of sums take seconds at this number, of powers of powers too.
LONGEST_TEXT, DEEPEST_PARENTHESES, MOST_OPERATORS, MOST_POWERS = 20_000, 100, 500, 100

#: A number of an expression that no double has all digits of.
_LONG_NUMBER = re.compile(r"[\d.]{41,}")

#: Characters of a SMILES, and residues of a sequence: both are built from nothing, which takes its time.
LONGEST_SMILES, LONGEST_SEQUENCE = 5_000, 300

_OPERATOR = re.compile(r"[-+*/^;,]")


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The text of `path` (UTF-8; `errors` as in `open`), or an InputError that names it."""
    missing = "no such file; check the path."
    return files.read_text(
        path, missing=missing, kind="a molecule's file", largest=LARGEST_FILE, errors=errors
    )


def check_counts(counts: Iterable[int], text: str, where: Path | str) -> None:
    """Refuse a header that states negative numbers, or more of something than its `text` has characters."""
    for count in counts:
        if not 0 <= count <= len(text):
            raise InputError(
                f"{where} states a count of {count} in its header, which does not fit its {len(text)} "
                "characters; it is truncated or damaged. Write it again."
            )


def check_expression(text: str, where: str) -> None:
    """Refuse an algebraic expression that is longer, deeper or has more operators than any real one."""
    _check_length(text, where)
    if len(text) <= DEEPEST_PARENTHESES:
        return
    found = _depth(text), len(_OPERATOR.findall(text)), text.count("^")
    if _LONG_NUMBER.search(text):
        raise InputError(f"{where} holds a number of more than 40 digits in an expression; mend it.")
    if any(number > most for number, most in zip(found, (DEEPEST_PARENTHESES, MOST_OPERATORS, MOST_POWERS))):
        raise InputError(
            f"{where} holds an expression of more than {DEEPEST_PARENTHESES} nested parentheses, "
            f"{MOST_OPERATORS} operators or {MOST_POWERS} powers ({text[:40]!r}...); simplify it, or use a "
            "tabulated function."
        )


def check_smiles_text(smiles: str) -> None:
    """Refuse a SMILES that is longer or nested deeper than any molecule's."""
    for text, open_, close in ((smiles, "(", ")"), (smiles, "[", "]")):
        if len(text) > LONGEST_SMILES or _depth(text, open_, close) > DEEPEST_PARENTHESES:
            raise InputError(
                f"The SMILES {smiles[:40]}... has {len(smiles)} characters; at most {LONGEST_SMILES}, and "
                f"{DEEPEST_PARENTHESES} brackets within brackets, are read. Give a large molecule as an SDF "
                "with three-dimensional coordinates, or as PDB."
            )


def check_xml(text: str, where: str) -> None:
    """Refuse XML with a document type, nested deep, or with attributes that are long or nested expressions.

    One pass without recursion, and without expanding anything. Malformed XML passes: the next parser says
    where it ends.
    """
    walk = _Walk(where)
    parser = expat.ParserCreate()
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    parser.CharacterDataHandler = walk.characters
    parser.StartDoctypeDeclHandler = walk.document_type
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        return


class _Walk:
    """What expat meets, and how deep it is."""

    def __init__(self, where: str) -> None:
        self.where, self.depth, self.open = where, 0, 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth, self.open = self.depth + 1, 0
        if self.depth > DEEPEST_XML:
            raise InputError(
                f"{self.where} has elements nested more than {DEEPEST_XML} deep (the last is <{name[:40]}>), "
                "which nothing that OpenMM writes has; write it again."
            )
        _check_length(name, self.where)
        for key, value in attributes.items():
            _check_length(key, self.where)
            check_expression(value, f"{self.where}: attribute {key!r} of <{name}>")

    def end(self, name: str) -> None:
        self.depth, self.open = self.depth - 1, 0

    def characters(self, text: str) -> None:
        if "(" not in text and ")" not in text:
            return
        deepest = self.open + _depth(text)
        self.open += text.count("(") - text.count(")")
        if deepest > DEEPEST_PARENTHESES:
            raise InputError(
                f"{self.where} holds a text of more than {DEEPEST_PARENTHESES} nested parentheses; simplify "
                "the expression, or use a tabulated function."
            )

    def document_type(self, *_: object) -> None:
        raise InputError(
            f"{self.where} declares a document type, which no OpenMM file needs; write it again."
        )


def _check_length(text: str, where: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"{where} is {len(text)} characters long ({text[:40]!r}...); {LONGEST_TEXT} are read at most."
        )


def _depth(text: str, open_: str = "(", close: str = ")") -> int:
    """How deep the parentheses of `text` are nested."""
    depth = deepest = 0
    for character in text:
        if character == open_:
            depth += 1
            deepest = max(deepest, depth)
        elif character == close:
            depth -= 1
    return deepest
