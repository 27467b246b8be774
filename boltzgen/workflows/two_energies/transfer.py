"""``transfer``: dG(A->B) of each molecule of a list between two energies of the same atoms.

DIR/molecules/NNNN-NAME/    one molecule (`boltzgen.workflows.two_energies.molecule`)
DIR/transfers.json, .csv     all of them, written after each
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from boltzgen.config.model import load_model
from boltzgen.contents import check_output
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.files import is_there, write_atomic, write_json
from boltzgen.folders import alone_in, holds_other_files
from boltzgen.interrupts import StopRequest
from boltzgen.loaders.records import OpenRecord, read_record
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.workflows.options import takes
from boltzgen.workflows.timing.datasets import expected_dataset
from boltzgen.workflows.timing.expectation import Expect, Expectation
from boltzgen.workflows.two_energies.energies import energies, title
from boltzgen.workflows.two_energies.entries import Entry, read_entries
from boltzgen.workflows.two_energies.molecule import Task, evaluations_of
from boltzgen.workflows.two_energies.options import TransferListKeywords, TransferListOptions
from boltzgen.workflows.two_energies.record import QUANTITIES, SCHEMA, Transfers, transfers_csv

#: Torsions of a molecule that was not looked at yet, for the time that is expected.
_USUAL_TORSIONS = 3


class _Listed(OpenRecord):
    """A molecule in it."""

    name: str
    source: str


class _TransfersRecord(OpenRecord):
    """``transfers.json``, as far as it is looked at before the same call goes on."""

    asked: dict[str, Any]
    molecules: list[_Listed]


@takes(TransferListOptions)
def transfer(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    **options: Unpack[TransferListKeywords],
) -> Transfers:
    """``dG(A->B)`` of each molecule in `source` from one energy to another, with its parts, into `output`.

    Both energies are simulated by replica exchange and joined by MBAR. Each molecule has a folder of its own;
    the same call goes on where it was stopped or killed, and to the same numbers. A molecule that cannot be
    done is listed with the reason, and is tried again by the next call.

    Parameters
    ----------
    source: SMILES, one a line with a name after it if it has one; a CSV with columns smiles and name; or an
    SDF. output: the folder to write, DIR. stop: polled within molecules. expect: told how long it will take
    before it begins. options: the fields of `TransferListOptions`: energy_from, energy_to, forcefield,
    charges, surface, temperature,
        evaluations, model, samples, n_bootstrap, seed.

    Returns
    -------
    Transfers: the content of ``DIR/transfers.json``; its ``check()`` raises where molecules failed.

    Raises
    ------
    InputError: the list, an option or the folder cannot be used. StoppedError: `stop` asked to end.

    Notes
    -----
    An implicit-solvent transfer is the difference of a force field's free energies with and without a solvent
    model; it is no hydration free energy. The parts: `boltzgen.free_energy.transfer_split`.

    Example
    -------
    >>> import boltzgen as bg
    >>> with open("list.smi", "w") as file:
    ...     _ = file.write("CO methanol")
    >>> found = bg.transfer("list.smi", "TRANSFER", evaluations=400, n_bootstrap=50)
    >>> found.molecules[0]["name"], found.molecules[0]["status"]
    ('methanol', 'complete')
    """
    asked = TransferListOptions(**options)
    ends = energies(asked)
    entries = read_entries(Path(source))
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; `output` must name a folder to be made.")
    check_output(folder, "transfers")
    _require_same(folder, asked, entries)
    if asked.model is not None:
        load_model(Path(asked.model))  # a model that is none is told before the work
    tasks = [Task(entry, folder / "molecules" / entry.folder, asked, ends) for entry in entries]
    records = [task.kept() for task in tasks]
    if expect is not None:
        expect(_expected([task for task, record in zip(tasks, records, strict=True) if record is None]))
    stop = stop or StopRequest()
    with alone_in(folder):
        content = _write(folder, asked, tasks, records)
        for number, task in enumerate(tasks):
            if records[number] is not None:
                continue
            if stop.requested:
                _stopped(f"{stop.reason}.", content)

            def told(done: int, of: int | None, values: Mapping[str, float | str] | None = None, /) -> None:
                share = f"{100 * done / of:.0f} %" if of else "-"
                progress(number, len(tasks), {**(values or {}), "done": share})  # noqa: B023

            try:
                records[number] = task.work(stop, told)
            except StoppedError as error:
                _stopped(f"{task.entry.name}: {error}", content)
            content = _write(folder, asked, tasks, records)
        progress(len(tasks), len(tasks), None)
    return Transfers(content)


def _require_same(folder: Path, asked: TransferListOptions, entries: list[Entry]) -> None:
    """InputError where the folder holds other files, transfers asked otherwise, or another list's."""
    path = folder / "transfers.json"
    if not is_there(path):
        if holds_other_files(folder):
            raise InputError(f"{folder} holds other files; `output` needs a folder of its own.")
        return
    remedy = "remove it, or name another folder."
    former = read_record(
        _TransfersRecord, path, schema=SCHEMA, missing="gone.", remedy=remedy, of="a result of `transfer()`"
    )
    now = asked.to_json()
    changed = [key for key, value in former["asked"].items() if now.get(key, value) != value]
    if changed:
        raise InputError(
            f"{folder} holds transfers that were made with another "
            f"{', '.join(f'`{key}`' for key in changed)}; put that back, or name another folder."
        )
    for number, one in enumerate(former["molecules"]):
        entry = entries[number] if number < len(entries) else None
        if entry is None or (one["source"], one["name"]) != (entry.source, entry.name):
            found = "no more molecule" if entry is None else entry.name
            raise InputError(
                f"{folder} holds {one['name']} as number {number + 1}, where the list has {found}; put the "
                "list back (new molecules go to its end), or name another folder."
            )


def _write(
    folder: Path, asked: TransferListOptions, tasks: list[Task], records: list[dict[str, Any] | None]
) -> dict[str, Any]:
    molecules = [record or task.waiting() for task, record in zip(tasks, records, strict=True)]
    ends = energies(asked)
    content = {
        "schema": SCHEMA,
        "status": "complete" if all(one["status"] == "complete" for one in molecules) else "partial",
        "folder": str(folder),
        "title": title(*ends, asked.temperature),
        "A": ends[0].words,
        "B": ends[1].words,
        "temperature_K": asked.temperature,
        "quantities": QUANTITIES,
        "asked": asked.to_json(),
        "version": VERSION,
        "molecules": [{key: value for key, value in one.items() if key != "schema"} for one in molecules],
    }
    write_json(folder / "transfers.json", content)
    write_atomic(folder / "transfers.csv", transfers_csv(molecules))
    return content


def _stopped(sentence: str, content: dict[str, Any]) -> None:
    found = Transfers(content)
    done = len(found.complete)
    raise StoppedError(f"{sentence} {done} of {len(found.molecules)} molecules are complete.", result=found)


def _expected(left: list[Task]) -> Expectation:
    """By the first of the molecules that are `left` and can be prepared."""
    for task in left:
        energy = task.ends[1]
        words = {"smiles": task.entry.smiles} if task.entry.smiles else {}
        if not words:
            break
        each = evaluations_of(task.asked, _USUAL_TORSIONS)
        try:
            found = expected_dataset(
                {**energy.options, **words}, 2 * len(left), [each] * (2 * len(left)), "cpu"
            )
        except BoltzgenError:
            continue
        return replace(
            found, verb="transfer", task=f"{len(left)} molecules, each prepared and simulated twice"
        )
    return Expectation("transfer", 0.0, f"{len(left)} molecules", "nothing could be measured before")
