"""The starting structure of a molecule without coordinates: the best of many conformers.

One embedding often lands in a twist boat, 4 to 9 kcal/mol above the chair, and everything starts there.
Riniker, Landrum, J. Chem. Inf. Model. 55, 2562 (2015); small rings and macrocycles: Wang, Witek, Landrum,
Riniker, J. Chem. Inf. Model. 60, 2044 (2020).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.parametrise.mmff import VARIANTS
from boltzgen.system.small_molecule.stereo import open_stereo_of_rings, with_stereo_of_coordinates

if TYPE_CHECKING:
    from rdkit import Chem

#: Of RDKit's embedding, so that the same input gives the same structure.
SEED = 20231
#: Attempts of the first embedding, the second half from random coordinates; and of each further one.
_ATTEMPTS, _FURTHER_ATTEMPTS = 20, 5
_MINIMISATION_STEPS = 2000
#: Conformers of a molecule of at most `_SMALL` atoms; of larger ones fewer, as one over the atoms.
#: Cost on one core: 0.2 s for 20 atoms, 1 s for 30, 8 s for 70.
_CONFORMERS, _SMALL, _FEWEST = 50, 40, 10
#: Energies closer than this (kcal/mol) are equal, the first is taken: images differ by rounding.
_EQUAL = 1e-3
#: Isomers of rings whose stereo is open: at most so many are looked at, and so many embeddings of each.
_ISOMERS, _EMBEDDINGS = 16, 4
#: One that lies more than this (kcal/mol) above the lowest is not what anybody meant. E-cyclooctene
#: and trans-bicyclo[3.3.0]octane (9, 11) are molecules; in,out-bicyclo[4.4.1] to [3.3.1] lie 15 to 75 higher.
_IMPOSSIBLE = 12.0
#: A bend in a ring beyond this, degrees, at an atom that is no alkyne's: MMFF94's minimiser keeps it, and the
#: molecule is 38 to 108 kcal/mol too high. At rest the bends of such rings stay below 135.
_STRAIGHT = 155.0
_STRAIGHT_RINGS = range(7, 11)


def with_best_conformer(molecule: Chem.Mol, where: str, *, field: str, relax: bool) -> Chem.Mol:
    """A copy of `molecule`, with its hydrogens, and with one conformer: the lowest under MMFF94 of many.

    MMFF94 whatever the force field `field`, which may be its variant; the first one where it has no
    parameters.

    The first embedding chooses the stereo that `molecule` leaves open, unless it strains rings beyond what is
    meant (`_possible`); all others have the same, and one that lost stereo or has a straight angle in a ring
    is passed over. One thread, one seed: the same every time.

    relax: whether the conformer is minimised; otherwise it is as embedded (chosen all the same).
    Raises InputError where RDKit finds no structure.
    """
    from rdkit import Chem

    first = _possible(molecule, _first(molecule, where))
    wanted = with_stereo_of_coordinates(first)
    placed = _further(wanted, first)
    minimised, energies = _minimised(placed, field)
    order = sorted(range(len(energies)), key=lambda row: (round(float(energies[row]) / _EQUAL), row))
    chosen = next((row for row in order if _sound(minimised, row, wanted)), order[0])
    result = Chem.Mol(molecule)
    result.RemoveAllConformers()
    result.AddConformer((minimised if relax else placed).GetConformer(chosen), assignId=True)
    return result


def conformers_like(molecule: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """Positions (K, N, 3) nm and energies (K,) kcal/mol: the conformer of `molecule`, others with its stereo.

    Minimised under MMFF94; as embedded, and 1e30, where it has no parameters. Hydrogens, and whatever else no
    stereo tells apart, may have changed places.
    """
    placed = _further(with_stereo_of_coordinates(molecule), molecule)
    minimised, energies = _minimised(placed, "mmff94")
    rows = [row for row in range(len(energies)) if not _has_straight_angle(minimised, row)]
    positions = [0.1 * minimised.GetConformer(row).GetPositions() for row in rows]
    return np.array(positions).reshape(len(rows), -1, 3), energies[rows]


def _first(molecule: Chem.Mol, where: str) -> Chem.Mol:
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.maxIterations = _ATTEMPTS
    placed = Chem.Mol(molecule)
    for random_start in (False, True):
        parameters.useRandomCoords = random_start
        if rdDistGeom.EmbedMolecule(placed, parameters) == 0:
            return placed
    raise InputError(
        f"{where}: RDKit finds no three-dimensional structure for it; check its stereo (impossible in a "
        "small ring, say), or give an SDF with three-dimensional coordinates."
    )


def _possible(molecule: Chem.Mol, first: Chem.Mol) -> Chem.Mol:
    """`first`, or the lowest isomer of its rings found, where that lies lower by more than `_IMPOSSIBLE`.

    An embedding knows distances and no strain: bicyclo[3.3.1]nonane comes with one bridgehead's hydrogen
    inside the cage as often as not. Only ring stereo that `molecule` leaves open is varied.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom
    from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

    atoms, bonds = open_stereo_of_rings(molecule)
    if not atoms and not bonds:
        return first
    wanted = with_stereo_of_coordinates(first)
    open_again = Chem.Mol(wanted)
    open_again.RemoveAllConformers()
    for atom in atoms:
        open_again.GetAtomWithIdx(atom).SetChiralTag(Chem.CHI_UNSPECIFIED)
    for bond in bonds:
        open_again.GetBondWithIdx(bond).SetStereo(Chem.BondStereo.STEREONONE)
    options = StereoEnumerationOptions(onlyUnassigned=True, unique=True, maxIsomers=_ISOMERS, rand=SEED)
    isomers = list(EnumerateStereoisomers(open_again, options=options))
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.maxIterations = _FURTHER_ATTEMPTS
    parameters.numThreads = 1
    number = max(1, min(_EMBEDDINGS, _number(wanted) // len(isomers)))
    placed, own = Chem.Mol(first), [True]
    for isomer in isomers:
        same = bool(isomer.HasSubstructMatch(wanted, useChirality=True))
        rdDistGeom.EmbedMultipleConfs(isomer, number, parameters)
        for conformer in isomer.GetConformers():
            placed.AddConformer(conformer, assignId=True)
            own.append(same)
    _, energies = _minimised(placed, "mmff94")
    lowest = int(np.argmin(energies))
    if energies[own].min() - energies[lowest] <= _IMPOSSIBLE:
        return first
    result = Chem.Mol(molecule)
    result.RemoveAllConformers()
    result.AddConformer(placed.GetConformer(lowest), assignId=True)
    return result


def _number(molecule: Chem.Mol) -> int:
    """Conformers of a molecule of this size."""
    return min(_CONFORMERS, max(_FEWEST, _CONFORMERS * _SMALL // molecule.GetNumAtoms()))


def _further(wanted: Chem.Mol, first: Chem.Mol) -> Chem.Mol:
    """The conformer of `first` and as many further ones of `wanted` as its size allows, numbered from 0."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    parameters.maxIterations = _FURTHER_ATTEMPTS
    parameters.useSmallRingTorsions = True
    parameters.useMacrocycleTorsions = True
    parameters.numThreads = 1
    number = _number(wanted)
    embedded = Chem.Mol(wanted)
    try:
        rdDistGeom.EmbedMultipleConfs(embedded, number, parameters)
    except RuntimeError:  # the torsions of small rings break RDKit's minimiser in cages such as tetrahedrane
        parameters.useSmallRingTorsions = False
        with suppress(RuntimeError):
            rdDistGeom.EmbedMultipleConfs(embedded, number, parameters)
    placed = Chem.Mol(first)
    for conformer in embedded.GetConformers():
        placed.AddConformer(conformer, assignId=True)
    return placed


def _minimised(placed: Chem.Mol, field: str) -> tuple[Chem.Mol, np.ndarray]:
    """A copy of `placed` with every conformer minimised, and energies (kcal/mol), 1e30 where that failed."""
    from rdkit import Chem
    from rdkit.Chem import rdForceFieldHelpers

    copy = Chem.Mol(placed)
    variant = VARIANTS.get(field, VARIANTS["mmff94"])
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(copy):
        return copy, np.full(copy.GetNumConformers(), 1e30)
    found = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
        copy, numThreads=1, maxIters=_MINIMISATION_STEPS, mmffVariant=variant
    )
    energies = np.array([energy for _, energy in found], dtype=np.float64)
    return copy, np.where(np.isfinite(energies), energies, 1e30)


def _sound(minimised: Chem.Mol, row: int, wanted: Chem.Mol) -> bool:
    """Whether conformer `row` has the stereo of `wanted` and no straight angle in a ring."""
    from rdkit import Chem

    one = Chem.Mol(minimised, False, row)
    return bool(
        with_stereo_of_coordinates(one).HasSubstructMatch(wanted, useChirality=True)
    ) and not _has_straight_angle(minimised, row)


def _has_straight_angle(molecule: Chem.Mol, row: int = -1) -> bool:
    from rdkit import Chem
    from rdkit.Chem import rdMolTransforms

    place = molecule.GetConformer(row)
    for ring in molecule.GetRingInfo().AtomRings():
        if len(ring) not in _STRAIGHT_RINGS:
            continue
        for k, atom in enumerate(ring):
            if molecule.GetAtomWithIdx(atom).GetHybridization() == Chem.HybridizationType.SP:
                continue
            bend = rdMolTransforms.GetAngleDeg(place, ring[k - 1], atom, ring[(k + 1) % len(ring)])
            if bend > _STRAIGHT:
                return True
    return False
