"""Peptides from their sequence: parsed, built as extended L-chains, hydrogens added.

No external program is needed: PeptideBuilder places the heavy atoms from ideal geometry, OpenMM's Modeller
the hydrogens. A cap is the backbone part of a glycine: ACE is a leading glycine without its nitrogen,
NME a trailing one without its carbonyl.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.formats.bounds import LONGEST_SEQUENCE

if TYPE_CHECKING:
    from openmm import app

ONE_LETTER = dict(
    zip(
        "ARNDCQEGHILKMFPSTWYV",
        "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(),
        strict=True,
    )
)
_TO_ONE_LETTER = {three: one for one, three in ONE_LETTER.items()}

#: Protonation states that OpenMM's Modeller can set, and the residue they belong to.
VARIANTS = {"ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "HID": "HIS", "HIE": "HIS", "HIP": "HIS"}

#: Backbone torsions in degrees of the chain that is built: extended, clear of overlaps.
EXTENDED_PHI, EXTENDED_PSI, PROLINE_PHI = -120.0, 140.0, -65.0


@dataclass(frozen=True)
class PeptideSequence:
    """A parsed sequence.

    residues: three-letter names without caps; protonation variants keep their own name.
    acetyl, methylamide: whether ACE and NME close the ends.
    notes: how a text was read that people may have meant otherwise.
    """

    residues: tuple[str, ...]
    acetyl: bool
    methylamide: bool
    notes: tuple[str, ...] = ()

    @property
    def letters(self) -> str:
        """One-letter code of the residues, caps left out."""
        return "".join(_TO_ONE_LETTER[VARIANTS.get(name, name)] for name in self.residues)

    def __str__(self) -> str:
        caps = ["ACE"] * self.acetyl, ["NME"] * self.methylamide
        return "-".join([*caps[0], *self.residues, *caps[1]])


def parse_sequence(text: str, *, capped: bool = False) -> PeptideSequence:
    """Read ``ACE-ALA-NME`` (three letters, hyphens) or ``GAVL`` (one letter each).

    Without a hyphen the text is one-letter code, so ``ALA`` is Ala-Leu-Ala, with a note. Small letters alone
    are read as capitals, with a note. `capped` adds ACE and NME.

    Raises
    ------
    InputError: an unknown residue, small letters among capitals (they commonly mean D amino acids), a cap in
    the wrong place, nothing between the caps.
    """
    text = text.strip()
    if not text:
        raise InputError(
            "The sequence is empty; give three-letter names like ACE-ALA-NME or one-letter code like GAVL."
        )
    if "-" in text:
        names, notes = [name.strip().upper() for name in text.split("-")], []
        _refuse_single_letters(names, text)
    else:
        notes = _notes_of_letters(text)
        names = [_from_letter(letter, index, text) for index, letter in enumerate(text.upper())]
    if len(names) > LONGEST_SEQUENCE:
        raise InputError(
            f"The sequence has {len(names)} residues; at most {LONGEST_SEQUENCE} are built. Give a longer "
            "chain as a PDB file."
        )
    acetyl, methylamide = names[0] == "ACE", names[-1] == "NME"
    residues = names[int(acetyl) : len(names) - int(methylamide)]
    for index, name in enumerate(residues, start=1 + int(acetyl)):
        if name in ("ACE", "NME"):
            raise InputError(
                f"The cap {name} stands at place {index} of {text!r}; ACE opens a sequence, NME ends it."
            )
        if name not in _TO_ONE_LETTER and name not in VARIANTS:
            raise InputError(
                f"The sequence {text!r} names {name or 'nothing'} at place {index}, which is not one of the "
                f"20 amino acids or {', '.join(VARIANTS)}. For other residues give a PDB and a force field "
                "that has them."
            )
    if not residues:
        raise InputError(f"The sequence {text!r} holds no amino acid between its caps; try ACE-ALA-NME.")
    return PeptideSequence(tuple(residues), acetyl or capped, methylamide or capped, tuple(notes))


def _refuse_single_letters(names: list[str], text: str) -> None:
    """Refuse ``A-G`` and ``D-ALA``, whose parts are no three-letter names."""
    if all(name in ONE_LETTER for name in names):
        raise InputError(
            f"The sequence {text!r} has single letters between hyphens; write one-letter code without them "
            f"({''.join(names)}), or three-letter names ({'-'.join(ONE_LETTER[name] for name in names)})."
        )
    if any(name in ("D", "L") for name in names):
        raise InputError(
            f"The sequence {text!r} names a hand; L amino acids are built, and go without the letter. Bring "
            "a peptide with D amino acids as PDB."
        )


def _notes_of_letters(text: str) -> list[str]:
    """What to say of one-letter code in small letters, or that is also the name of one residue."""
    one = _TO_ONE_LETTER.get(text.upper())
    if one and (text.istitle() or not set(text.upper()) <= set(ONE_LETTER)):
        raise InputError(
            f"The sequence {text!r} is the name of one residue; with caps that is "
            f'`sequence="ACE-{text.upper()}-NME"`.'
        )
    small = [index for index, letter in enumerate(text) if letter.islower()]
    if small and any(letter.isupper() for letter in text):
        raise InputError(
            f"The sequence {text!r} has small letters among capitals (place {small[0] + 1}: "
            f"{text[small[0]]!r}), which commonly mean D amino acids; only L amino acids are built. Write "
            f"{text.upper()} if L is meant, or bring the peptide with D amino acids as PDB."
        )
    notes = []
    if small:
        notes.append(
            f"The sequence {text!r} was read as {text.upper()}: L amino acids. D amino acids, which small "
            "letters can mean, come from a PDB."
        )
    if one:
        spelled = "-".join(ONE_LETTER[letter] for letter in text.upper())
        notes.append(
            f"The sequence {text!r} was read as one-letter code, {spelled}; the one residue with caps is "
            f'`sequence="ACE-{text.upper()}-NME"`.'
        )
    return notes


def _from_letter(letter: str, index: int, text: str) -> str:
    if letter not in ONE_LETTER:
        raise InputError(
            f"The sequence {text!r} has {letter!r} at place {index + 1}, which is no one-letter amino acid; "
            "write three-letter names with hyphens (ACE-ALA-NME), or one-letter code (GAVL)."
        )
    return ONE_LETTER[letter]


def build_peptide(
    sequence: PeptideSequence, forcefield: app.ForceField, *, ph: float
) -> tuple[app.Topology, np.ndarray]:
    """An extended chain of L-residues with all hydrogens.

    Returns
    -------
    The OpenMM topology and the positions (N, 3) in nm.
    """
    from openmm.app import PDBFile

    pdb = PDBFile(io.StringIO(_heavy_atoms(sequence)))
    positions = np.array(pdb.getPositions(asNumpy=True)._value, dtype=np.float64)
    named = [*["ACE"] * sequence.acetyl, *sequence.residues, *["NME"] * sequence.methylamide]
    variants = [name if name in VARIANTS else None for name in named]
    return add_hydrogens(pdb.topology, positions, forcefield, ph=ph, variants=variants)


def add_hydrogens(
    topology: app.Topology,
    positions: np.ndarray,
    forcefield: app.ForceField,
    *,
    ph: float,
    variants: list[str | None] | None = None,
) -> tuple[app.Topology, np.ndarray]:
    """Topology and positions (N, 3) nm with the hydrogens that are missing at `ph` added.

    Modeller draws starting places from the global ``random``; its state is fixed for the call and then
    restored, so that the same input gives the same structure.
    """
    import openmm
    from openmm import unit
    from openmm.app import Modeller

    from boltzgen.system.parametrise.forcefield import ends_are_patches

    modeller = Modeller(topology, unit.Quantity(positions, unit.nanometer))
    state = random.getstate()
    random.seed(20231)
    try:
        modeller.addHydrogens(
            None if ends_are_patches(forcefield) else forcefield,  # Modeller knows no caps that are patches
            pH=ph,
            variants=variants,
            platform=openmm.Platform.getPlatformByName("Reference"),
        )
    finally:
        random.setstate(state)
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer), dtype=np.float64)


def _heavy_atoms(sequence: PeptideSequence) -> str:
    """A PDB text of the heavy atoms of `sequence`, caps included."""
    import PeptideBuilder
    from Bio.PDB import PDBIO

    letters = "G" * sequence.acetyl + sequence.letters + "G" * sequence.methylamide
    phis = [PROLINE_PHI if letter == "P" else EXTENDED_PHI for letter in letters[1:]]
    psis = [EXTENDED_PSI] * len(phis)
    structure = PeptideBuilder.make_structure(letters, phis, psis)
    if not sequence.methylamide:
        PeptideBuilder.add_terminal_OXT(structure)
    residues = list(structure.get_residues())
    if sequence.acetyl:
        residues[0].detach_child("N")
        _rename(residues[0], "ACE", {"CA": "CH3"})
    if sequence.methylamide:
        residues[-1].detach_child("C")
        residues[-1].detach_child("O")
        _rename(residues[-1], "NME", {"CA": "C"})
    writer, buffer = PDBIO(), io.StringIO()
    writer.set_structure(structure)
    writer.save(buffer)
    return buffer.getvalue()


def _rename(residue, name: str, atoms: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    """Rename a Biopython residue and some of its atoms, in place."""
    residue.resname = name
    for old, new in atoms.items():
        atom = residue[old]
        residue.detach_child(old)
        atom.id = atom.name = new
        atom.fullname = f" {new:<3s}"
        residue.add(atom)
