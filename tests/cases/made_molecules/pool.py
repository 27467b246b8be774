"""Candidates: cores with groups on their sites, drawn at random and sieved, nobody's stereo chosen yet."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from cases.made_molecules import vocabulary
from cases.made_molecules.keys import first_block, split_key
from rdkit import Chem

HELD_OUT = Path(__file__).with_name("held_out.txt")
FEWEST_ATOMS, MOST_ATOMS = 5, 35
KINDS = ("chain", "saturated", "aromatic")


@dataclass(frozen=True)
class Candidate:
    """smiles: canonical, without stereo unless a piece states it. atoms: with hydrogens.

    key: scaffold or skeleton. pieces: core and groups, but hydrogen.
    """

    smiles: str
    block: str
    atoms: int
    kind: str
    charge: int
    key: str
    pieces: tuple[str, ...]


def held_out() -> set[str]:
    """First blocks of InChIKeys on which nothing may be trained or validated."""
    return set(HELD_OUT.read_text(encoding="ascii").split())


def pool(draws: int, seed: int) -> list[Candidate]:
    """What `draws` random joins leave of different molecules (by first block), in the order of the draws."""
    generator = random.Random(seed)
    rings = (*vocabulary.SATURATED, *vocabulary.SATURATED, *vocabulary.FUSED, *vocabulary.FUSED)
    cores = (vocabulary.CHAINS, rings, vocabulary.AROMATIC + vocabulary.PARTLY_SATURATED)
    unwanted = [Chem.MolFromSmarts(one) for one in vocabulary.UNWANTED]
    taken, found = held_out(), []
    for _ in range(draws):
        core = generator.choice(generator.choice(cores))
        groups = [_group(generator) for _ in range(core.count("{}"))]
        molecule = Chem.MolFromSmiles(core.format(*groups))
        one = None if molecule is None else _candidate(molecule, core, groups, unwanted)
        if one is not None and one.block not in taken:
            taken.add(one.block)
            found.append(one)
    return found


def kind_of(molecule: Chem.Mol) -> str:
    """One of `KINDS`: rings of which one at least is not flat, only flat ones, none."""
    rings = molecule.GetRingInfo().AtomRings()
    if not rings:
        return "chain"
    saturated = any(
        sum(molecule.GetAtomWithIdx(k).GetHybridization() == Chem.HybridizationType.SP3 for k in ring) > 1
        for ring in rings
    )
    return "saturated" if saturated else "aromatic"


def _group(generator: random.Random) -> str:
    draw = generator.random()
    if draw < 0.42:
        return "[H]"
    kinds = (vocabulary.NEUTRAL_GROUPS, vocabulary.CHARGED_GROUPS, vocabulary.RING_GROUPS)
    return generator.choice(kinds[0 if draw < 0.85 else 1 if draw < 0.92 else 2])


def _candidate(
    molecule: Chem.Mol, core: str, groups: list[str], unwanted: list[Chem.Mol]
) -> Candidate | None:
    molecule = Chem.RemoveHs(molecule)
    charge = Chem.GetFormalCharge(molecule)
    charged = [a for a in molecule.GetAtoms() if a.GetFormalCharge() and not _in_nitro(a)]
    atoms = Chem.AddHs(molecule).GetNumAtoms()
    if not FEWEST_ATOMS <= atoms <= MOST_ATOMS or len(charged) > 1:
        return None
    if any(molecule.HasSubstructMatch(one) for one in unwanted):
        return None
    smiles = str(Chem.MolToSmiles(molecule))
    pieces = (core, *(group for group in groups if group != "[H]"))
    return Candidate(
        smiles, first_block(molecule), atoms, kind_of(molecule), charge, split_key(molecule), pieces
    )


def _in_nitro(atom: Chem.Atom) -> bool:
    return any(other.GetFormalCharge() == -atom.GetFormalCharge() for other in atom.GetNeighbors())
