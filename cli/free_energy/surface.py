"""``boltzgen free-energy surface``: the free energy along one or two variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzgen_cli.free_energy import tables as free_energy_tables
from boltzgen_cli.free_energy import words
from boltzgen_cli.terminal import console


def surface(
    folder: words.Folder,
    along: Annotated[
        list[str], typer.Option(metavar="NAME", help="Variable: phi, psi:3, x0 ...; twice for a map.")
    ],
    bins: Annotated[
        list[int] | None, typer.Option(min=2, help="Bins, once or for each variable; default 60, or 36 x 36.")
    ] = None,
    span: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="LOW,HIGH", help="Range of each variable, or auto; default auto."),
    ] = None,
    coordinates: words.Coordinates = None,
    smooth: words.Smooth = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSON", help="Result file; default OUT/surface.json."),
    ] = None,
    strict: words.Strict = False,
    bootstrap: words.Bootstrap = 1000,
    seed: words.Seed = 0,
) -> None:
    """Free energy along one variable (a curve with its band) or two (a map), zero in the lowest bin.

    Empty bins stay empty: their free energy is not known. CSV and figure are written beside the JSON.

    Example: boltzgen free-energy surface OUT --along phi --along psi -o phi_psi.json
    """
    ranges = None if span is None else [_range(text) for text in span]

    from boltzgen.workflows.free_energy.surface import surface as work

    result = work(
        folder,
        along,
        bins=bins,
        ranges=ranges,
        coordinates=coordinates,
        smoothed=smooth,
        output=output,
        n_bootstrap=bootstrap,
        seed=seed,
    )
    console.result(result)
    found = result.surface
    assert found is not None
    rows = list(found.rows())
    heading = free_energy_tables.title(f"free energy along {' and '.join(along)}", result.document)
    if len(along) == 1:
        columns = ("free_energy", "low", "high")
        console.table(
            f"{heading} (kT)",
            (along[0], "F", "95 % from", "to", "samples", "effective samples"),
            [
                [
                    row[along[0]],
                    *(row[column] if shown else None for column in columns),
                    row["n"],
                    row["n_effective"],
                ]
                for row, shown in zip(rows, found.is_shown, strict=True)
            ],
        )
    known = [row["free_energy"] for row in rows if row["free_energy"] is not None]
    visible = [row["free_energy"] for row, shown in zip(rows, found.is_shown, strict=True) if shown]
    lowest = None if found.reference is None else [c[i] for c, i in zip(found.centres, found.reference)]
    console.key_values(
        "surface" if len(along) == 1 else heading,
        {
            "bins": len(rows),
            "empty bins": len(rows) - len(known),
            "lowest bin": None if lowest is None else ", ".join(f"{value:.4g}" for value in lowest),
            "not shown (fewer than 10 effective samples, or above 10 kT)": len(known) - len(visible),
            "highest shown (kT)": max((f for f in visible if f is not None), default=None),
            "share of the weight outside": found.outside,
        },
    )
    free_energy_tables.verdicts(
        [{"name": "surface", "verdict": found.verdict, "reasons": list(found.reasons)}]
    )
    free_energy_tables.written(result)
    result.check(strict=strict)


def _range(text: str) -> tuple[float, float] | None:
    """``LOW,HIGH`` as numbers, None for ``auto``."""
    from boltzgen.errors import InputError

    if text.strip() == "auto":
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--range {text!r}: expected LOW,HIGH, two numbers, or auto.") from error
    return low, high
