"""``load_system``: a prepared molecule, ready to be looked at or simulated."""

from __future__ import annotations

from os import PathLike

from boltzgen.system.molecular_system import MolecularSystem


def load_system(folder: str | PathLike[str]) -> MolecularSystem:
    """The molecule in `folder` (SYS), or one that is shipped: ``example:NAME``.

    Returns
    -------
    MolecularSystem: N atoms; positions (N, 3) in nm, masses (N,) in dalton, the OpenMM System as XML.

    Raises
    ------
    InputError: the folder is none that `prepare` wrote, or its files do not belong together.

    Example
    -------
    >>> import boltzgen as bg
    >>> ethanol = bg.load_system("SYS")
    >>> ethanol.n_atoms, ethanol.reference_positions.shape
    (9, (9, 3))
    """
    return MolecularSystem.load(str(folder))
