"""Examine the installation: versions, platforms, threads, and the clash of names."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from boltzgen import __version__
from boltzgen.errors import BoltzgenError

DISTRIBUTION = "boltzgen-sampler"
#: The protein-design tool of the Python Package Index; it owns our import and script names there.
NAMESAKE = "boltzgen"
FOUNDATIONS = (
    "torch",
    "openmm",
    "numpy",
    "scipy",
    "mdtraj",
    "rdkit",
    "pymbar",
    "arviz",
    "safetensors",
)


@dataclass
class Report:
    """What was found: facts to show, warnings that hurt little, faults that must be mended."""

    facts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def raise_for_faults(self) -> None:
        """BoltzgenError with every fault in it, if there is one."""
        if self.faults:
            raise BoltzgenError(" ".join(self.faults))


def examine(version: Callable[[str], str] = metadata.version) -> Report:
    """Look at the running environment; `version` maps a distribution's name to its version."""
    report = Report()
    report.facts["boltzgen-sampler"] = __version__
    report.facts["library"] = str(Path(__file__).resolve().parents[2])
    report.facts["Python"] = f"{platform.python_version()} at {sys.executable}"
    report.facts["platform"] = platform.platform()
    report.facts["processors"] = str(os.cpu_count())
    _examine_names(report, version)
    for name in FOUNDATIONS:
        _examine_foundation(report, name, version)
    if "missing" not in report.facts["torch"]:
        _examine_torch(report)
        _examine_compiler(report)
    if "missing" not in report.facts["openmm"]:
        _examine_openmm(report)
    return report


def _examine_names(report: Report, version: Callable[[str], str]) -> None:
    try:
        installed = version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        report.warnings.append(f"{DISTRIBUTION} is not installed; running from the sources.")
    else:
        if installed != __version__:
            report.warnings.append(
                f"the installed {DISTRIBUTION} is {installed}, but {__version__} is running: install again."
            )
    try:
        clashing = version(NAMESAKE)
    except metadata.PackageNotFoundError:
        pass
    else:
        report.faults.append(
            f"The distribution {NAMESAKE!r} {clashing} (a protein-design tool) is installed here and owns "
            f"the same import and script names: uninstall it, then install {DISTRIBUTION} again, "
            "or give each its own environment."
        )
    script = shutil.which("boltzgen")
    report.facts["script"] = script or "not on PATH"


def _examine_foundation(report: Report, name: str, version: Callable[[str], str]) -> None:
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))  # pymbar greets with a banner
    try:
        report.facts[name] = version(name)
        importlib.import_module(name)
    except metadata.PackageNotFoundError:
        report.facts[name] = "missing"
        report.faults.append(f"{name} is not installed: run pip install {name}.")
    except ImportError as error:
        report.facts[name] += " (does not import)"
        report.faults.append(f"{name} is installed but does not import: {error}.")
    finally:
        logging.disable(disabled)


def _examine_torch(report: Report) -> None:
    import torch

    report.facts["torch threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        report.facts["CUDA"] = torch.cuda.get_device_name(0)
    else:
        report.facts["CUDA"] = "none"


def _examine_compiler(report: Report) -> None:
    from boltzgen.potentials.fast.compiled import cache_folder, compiler_path

    path = compiler_path()
    report.facts["C++ compiler"] = path or "none (energies run uncompiled, at about half the speed)"
    report.facts["compiled energies"] = str(cache_folder())


def _examine_openmm(report: Report) -> None:
    from boltzgen.system.platforms import platform_names

    names = platform_names()
    report.facts["OpenMM platforms"] = ", ".join(names)
    if "CPU" not in names:
        report.warnings.append("OpenMM lacks its CPU platform; simulations will be slow.")
