"""``boltzgen export``: samples in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.terminal import console


def export(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by sample.")],
    format: Annotated[
        str,
        typer.Option("--format", metavar="mdtraj-hdf5|dcd|xtc|pdb|colvar|u_nk|csv", help="What to write."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")],
    variables: Annotated[
        str | None,
        typer.Option(metavar="NAMES|FILE", help="For colvar and csv: phi,psi:3 or a file with coordinates."),
    ] = None,
    equal_weight: Annotated[
        int | None,
        typer.Option("--equal-weight", metavar="N", min=1, help="N frames, resampled by weight."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    temperatures: Annotated[
        str, typer.Option(metavar="K,K,...", help="For u_nk: states at other temperatures, in K.")
    ] = "",
) -> None:
    """Write weighted samples for other programs.

    Example: boltzgen export OUT --format colvar -o COLVAR --variables phi,psi

    Example: boltzgen export OUT --format xtc -o frames.xtc --equal-weight 1000
    """
    from boltzgen.workflows.sampling.export import export as work

    result = work(
        folder,
        output,
        format,
        variables=variables,
        equal_weight=equal_weight,
        seed=seed,
        temperatures=temperatures,
    )
    console.result(result)
    rows = {
        "format": format,
        "frames": result.frames,
        "different samples": result.distinct,
        "samples drawn": result.drawn,
        "rejected": result.rejected,
        "effective": result.n_effective,
    }
    console.key_values(f"exported: {output}", rows)
    for note in result.notes:
        console.message(f"- {note}")
    for path in result.files:
        console.message(f"written: {path}")
