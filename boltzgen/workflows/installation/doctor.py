"""Examine the installation: versions, platforms, threads, and the clash of names."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from boltzgen.errors import BoltzgenError
from boltzgen.notebook import html_table
from boltzgen.provenance import VERSION

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
    "arviz-stats",
    "safetensors",
)


@dataclass(frozen=True, repr=False)
class Installation:
    """What was found: facts to show, warnings that hurt little, faults that must be mended."""

    facts: Mapping[str, str]
    warnings: tuple[str, ...]
    faults: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON types only."""
        return {"facts": dict(self.facts), "warnings": list(self.warnings), "faults": list(self.faults)}

    def raise_for_faults(self) -> None:
        """BoltzgenError with every fault in it, if there is one."""
        if self.faults:
            raise BoltzgenError(" ".join(self.faults))

    def __repr__(self) -> str:
        return (
            f"<Installation: boltzgen-sampler {self.facts['boltzgen-sampler']}, torch {self.facts['torch']}, "
            f"OpenMM {self.facts['openmm']}; {len(self.warnings)} warnings, {len(self.faults)} faults>"
        )

    def _repr_html_(self) -> str:
        told = [("warning", text) for text in self.warnings] + [("fault", text) for text in self.faults]
        return html_table((), [*self.facts.items(), *told], caption="Installation")


@dataclass
class _Report:
    """An `Installation` in the making."""

    facts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def doctor(version: Callable[[str], str] = metadata.version) -> Installation:
    """Look at the running environment: versions, platforms, threads, and the clash of names.

    Parameters
    ----------
    version: maps a distribution's name to its version, or raises PackageNotFoundError.

    Returns
    -------
    Installation: facts, warnings and faults; its ``raise_for_faults()`` raises BoltzgenError for those.

    Example
    -------
    >>> import boltzgen as bg
    >>> bg.doctor().facts["boltzgen-sampler"] == bg.__version__
    True
    """
    report = _Report()
    report.facts["boltzgen-sampler"] = VERSION
    report.facts["library"] = str(Path(__file__).resolve().parents[2])
    report.facts["Python"] = f"{platform.python_version()} at {sys.executable}"
    report.facts["platform"] = platform.platform()
    report.facts["processors"] = str(os.cpu_count())
    _examine_names(report, version)
    for name in FOUNDATIONS:
        _examine_foundation(report, name, version)
    _examine_extras(report, version)
    if "missing" not in report.facts["torch"]:
        _examine_torch(report)
        _examine_compiler(report)
    if "missing" not in report.facts["openmm"]:
        _examine_openmm(report)
    return Installation(report.facts, tuple(report.warnings), tuple(report.faults))


def _examine_names(report: _Report, version: Callable[[str], str]) -> None:
    try:
        installed = version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        report.warnings.append(f"{DISTRIBUTION} is not installed; running from the sources.")
    else:
        if installed != VERSION:
            report.warnings.append(
                f"the installed {DISTRIBUTION} is {installed}, but {VERSION} is running: install again."
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


def _examine_foundation(report: _Report, name: str, version: Callable[[str], str]) -> None:
    disabled = logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))  # pymbar greets with a banner
    try:
        report.facts[name] = version(name)
        importlib.import_module(name.replace("-", "_"))
    except metadata.PackageNotFoundError:
        report.facts[name] = "missing"
        report.faults.append(f"{name} is not installed: run pip install {name}.")
    except ImportError as error:
        report.facts[name] += " (does not import)"
        report.faults.append(f"{name} is installed but does not import: {error}.")
    finally:
        logging.disable(disabled)


def _examine_extras(report: _Report, version: Callable[[str], str]) -> None:
    """A row for each extra of the installed distribution but `dev`: versions, or how it is installed."""
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    extras: dict[str, list[str]] = {}
    for text in declared:
        found = re.match(r"([\w.-]+).*extra\s*==\s*[\"']([\w-]+)[\"']", text)
        if found and found[2] != "dev":
            extras.setdefault(found[2], []).append(found[1])
    for extra, names in extras.items():
        try:
            told = ", ".join(f"{name} {version(name)}" for name in names)
        except metadata.PackageNotFoundError:
            told = f"not installed (pip install '{DISTRIBUTION}[{extra}]')"
        report.facts[f"extra {extra}"] = told


def _examine_torch(report: _Report) -> None:
    import torch

    report.facts["torch threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        report.facts["CUDA"] = torch.cuda.get_device_name(0)
    else:
        report.facts["CUDA"] = "none"


def _examine_compiler(report: _Report) -> None:
    from boltzgen.potentials.fast.compiled import cache_folder, compiler_path

    path = compiler_path()
    report.facts["C++ compiler"] = path or "none (energies run uncompiled, at about half the speed)"
    report.facts["compiled energies"] = str(cache_folder())


def _examine_openmm(report: _Report) -> None:
    from boltzgen.system.platforms import platform_names

    names = platform_names()
    report.facts["OpenMM platforms"] = ", ".join(names)
    if "CPU" not in names:
        report.warnings.append("OpenMM lacks its CPU platform; simulations will be slow.")
