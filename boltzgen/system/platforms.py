"""The OpenMM platforms of this machine."""

from __future__ import annotations


def platform_names() -> list[str]:
    """Names of the platforms that OpenMM offers here, slowest first."""
    import openmm

    count = openmm.Platform.getNumPlatforms()
    return [openmm.Platform.getPlatform(index).getName() for index in range(count)]
