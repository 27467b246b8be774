"""Options of several verbs: said once, the same words wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run.")]
Resume = Annotated[
    str, typer.Option(metavar="auto|never|CHECKPOINT", help="Where to go on; auto: the latest in RUN.")
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")]
MaxTime = Annotated[
    str | None, typer.Option(metavar="TIME", help="Stop with what is done after 90s, 15m, 2h.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and how long it takes, and end there.")
]
CompileEnergies = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Compile the energy; default: if the run gains by it."),
]
DataTemperature = Annotated[
    float | None,
    typer.Option(metavar="K", help="Temperature of the frames, where their file does not say it."),
]
