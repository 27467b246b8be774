"""Arguments and options that several verbs of ``boltzgen free-energy`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by sample.")]
Coordinates = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Declares distances and torsions (YAML or JSON).")
]
Smooth = Annotated[bool, typer.Option("--smooth", help="Pareto-smooth the largest weights first.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="JSON", help="Result file.")]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 3 when a verdict is unreliable.")]
Bootstrap = Annotated[int, typer.Option(min=2, help="Bootstrap replicates.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")]
