"""``boltzgen show``: what a folder is, whether it is whole, what it says, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzgen.errors import InputError
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.fields import command_line, in_words

if TYPE_CHECKING:
    from boltzgen.workflows.reporting.shown import Shown


def show(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder or file of boltzgen, or what is shipped by name.")
    ],
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg|png", help="Of a SYS folder: draw it with the numbers of its atoms."),
    ] = None,
) -> None:
    """Say what a folder is, how it was made, whether it is whole, what it says, and what to do next.

    Example: boltzgen show SYS --picture SYS.svg

    PATH is SYS, MD, DATASET, RUN, a model, OUT, the folder of a run or benchmark, free_energy.json, a
    configuration or a file of states. Of SYS there are tables of atoms, torsions and rings with their names
    for a file of states. A folder with missing or changed files ends with code 2.
    """
    from boltzgen.workflows.reporting.show import show as work

    found = work(path, picture=picture)
    console.result(_Told(found))
    _print(found)
    if found.faults:
        raise InputError(f"{found.path} is damaged: {found.reason}; copy it anew, or make it again.")


@dataclass(frozen=True)
class _Told:
    """What ``--json`` prints: all of it, the next steps as commands."""

    found: Shown

    def to_json(self) -> dict[str, Any]:
        return {**self.found.to_json(), "next": _next(self.found)}


def _next(found: Shown) -> list[dict[str, Any]]:
    """What can be done next, as the library says it and as a command."""
    steps = [{"why": step.why, "call": step.call, "command": command_line(step.call)} for step in found.steps]
    return [step for step in steps if step["command"] is not None]


def _print(found: Shown) -> None:
    console.key_values(f"{found.path}: {in_words(found.what)}", found.rows())
    for table in found.tables:
        console.table(table.title, table.columns, table.rows)
    for reason in found.reasons:
        console.finding(f"- {reason}")
    steps = _next(found)
    if steps:
        lines = [f"# {step['why']}\n{step['command']}" for step in steps]
        console.text("next:\n" + "\n".join(lines))
    if found.picture is not None:
        console.message(f"drawn: {found.picture}")
