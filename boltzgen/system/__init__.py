"""The first room: a molecule is read, parametrised and checked, and leaves as a `MolecularSystem`."""

from boltzgen.system.molecular_system import MolecularSystem

__all__ = ["MolecularSystem"]
