"""What the tests of coordinates share: molecules, their coordinates, frames, and wild coordinates."""

from __future__ import annotations

from functools import cache

import torch
from molecules import from_smiles, simulated

from boltzgen.coordinates import InternalCoordinates
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

PEPTIDES = {"alanine": "ACE-ALA-NME", "amber-proline": "ACE-PRO-NME", "amber-phenylalanine": "ACE-PHE-NME"}
MOLECULES = (
    *PEPTIDES,
    "cystine",
    "tryptophan",
    "histidine",
    "drug",
    "sulfoxide",
    "steroid",
    "alkyne",
    "diyne",
    "nitrile",
    "amine",
    "norbornane",
    "cubane",
    "butadiene",
    "phosphate",
    "macrocycle",
    "cyclopropane",
    "spiro",
    "allene",
    "water",
    "carbon_dioxide",
)
RINGS = ("amber-proline", "amber-phenylalanine", "cystine", "tryptophan", "steroid", "cubane")
#: For Jacobians by autograd; these cover every style of placement.
SMALL = (
    "alanine",
    "amber-proline",
    "amber-phenylalanine",
    "cystine",
    "drug",
    "sulfoxide",
    "tryptophan",
    "alkyne",
    "nitrile",
    "amine",
    "norbornane",
    "cyclopropane",
    "spiro",
    "water",
)


@cache
def molecule(name: str) -> MolecularSystem:
    if name in PEPTIDES:
        return prepare(sequence=PEPTIDES[name], forcefield=["amber99sbildn.xml", "amber99_obc.xml"])
    return from_smiles(name)


@cache
def coordinates(name: str, root: int | None = None, isomers: str = "reference") -> InternalCoordinates:
    return InternalCoordinates(molecule(name), root=root, isomers=isomers)


@cache
def frames(name: str) -> torch.Tensor:
    return torch.tensor(simulated(molecule(name), 12 if molecule(name).n_atoms > 40 else 24))


def supports(ic: InternalCoordinates) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(ic.table.lower), torch.tensor(ic.table.upper)


def inside_support(ic: InternalCoordinates, q: torch.Tensor) -> torch.Tensor:
    lower, upper = supports(ic)
    return ((q >= lower) & (q <= upper)).all(1)


def random_turns(ic: InternalCoordinates, q: torch.Tensor, margin: float = 1e-3) -> torch.Tensor:
    """`q` with every torsion drawn anew from its support; offsets, bonds and angles kept."""
    lower, upper = supports(ic)
    turns = torch.tensor([kind == "torsion" for kind in ic.table.kind])
    draw = lower + (upper - lower) * (margin + (1 - 2 * margin) * torch.rand(q.shape, dtype=q.dtype))
    return torch.where(turns, draw, q)


def extreme(ic: InternalCoordinates, rows: int) -> torch.Tensor:
    """Coordinates all over their supports: short and long bonds, nearly folded and straight angles."""
    lower, upper = supports(ic)
    uniform = torch.rand(rows, ic.dimension, dtype=torch.float64)
    length = 0.03 + 0.5 * uniform
    q = torch.where(torch.isfinite(upper), lower + (upper - lower) * (0.004 + 0.992 * uniform), length)
    return torch.where(torch.isfinite(lower), q, 6 * uniform - 3)


def superposed_rmsd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Root mean square deviation after the best proper superposition (Kabsch), (batch,)."""
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    u, _, vh = torch.linalg.svd(y.mT @ x)
    hand = torch.ones(len(x), 3, dtype=x.dtype)
    hand[:, 2] = torch.det(u @ vh).sign()
    return ((y @ (u * hand[:, None]) @ vh - x) ** 2).sum((1, 2)).div(x.shape[1]).sqrt()
