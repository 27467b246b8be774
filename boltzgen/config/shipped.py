"""Configurations that come with the package, found by name."""

from __future__ import annotations

from importlib import resources
from os import PathLike
from pathlib import Path

from boltzgen.config.settings import nearest
from boltzgen.errors import InputError


def shipped_configs() -> dict[str, Path]:
    """Name -> path of every shipped configuration."""
    folder = Path(str(resources.files("boltzgen_configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(config: str | PathLike[str]) -> Path:
    """`config` as a path: a file that exists, or the name of a shipped configuration."""
    path = Path(config)
    if path.is_file():
        return path
    known = shipped_configs()
    name = path.name.removesuffix(".yaml")
    if name in known and len(path.parts) == 1:
        return known[name]
    if path.is_dir():
        raise InputError(f"{config}: a folder, not a configuration; name the YAML file in it.")
    raise InputError(f"{config}: neither a file nor a shipped configuration.{nearest(name, known)}")
