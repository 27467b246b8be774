"""A process that evaluates one potential, and the messages that it exchanges with its pool.

Run by `WorkerPool` as ``python -m boltzgen.potentials.workers.worker``; it never imports the program of the
user. A message on the pipes is the length of its header (4 bytes, little-endian), the header (JSON) and as
many float64 arrays, raw and little-endian, as the header has shapes:

* pool to worker, first: ``{"spec": {"kind": ..., ...}, "n_atoms": N, "parent": process id}``; then, as often
  as wanted: ``{"shapes": [[rows, N, 3]]}`` with positions in nm;
* worker to pool: ``{"ready": true, "settled": {...}}`` once, where `settled` is what the evaluator chose by
  itself, or ``{"error": sentence, "class": name of an exception of boltzgen.errors}``; then each time
  ``{"shapes": [[rows], [rows, N, 3]], "failure": text}`` with energies in kJ/mol and gradients in kJ/mol/nm,
  NaN in the rows that failed, and what the last of them said.

The worker ends when its standard input ends or its parent does.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.files import parse_json

#: From positions (N, 3) in nm to the energy in kJ/mol and the gradient (N, 3) in kJ/mol/nm, or any exception.
#: An attribute ``settled`` (dict) holds what it chose itself, for the spec of the pool's other workers.
Evaluator = Callable[[np.ndarray], tuple[float, np.ndarray]]

#: Modules whose ``make_evaluator(spec) -> Evaluator`` belongs to a kind of spec. They do well without torch.
EVALUATORS = {
    "openmm": "boltzgen.potentials.from_openmm.bridge",
    "tblite": "boltzgen.potentials.learned.xtb",
    "ase": "boltzgen.potentials.learned.ase_backend",
}

#: Seconds between two looks at whether the parent lives.
_WATCH_INTERVAL = 1.0

#: Bytes of messages from libraries that are kept (they go to standard error, a temporary file).
_KEPT_MESSAGES = 2**20

_LENGTH = struct.Struct("<I")


class EndOfPipe(Exception):
    """The other side is gone."""


def send(pipe: int, header: dict[str, Any], *arrays: np.ndarray) -> None:
    """Write one message to the file descriptor `pipe`; EndOfPipe when nobody reads it."""
    parts = [np.ascontiguousarray(array, dtype="<f8") for array in arrays]
    text = json.dumps({**header, "shapes": [part.shape for part in parts]}).encode()
    for block in (_LENGTH.pack(len(text)) + text, *(part.tobytes() for part in parts)):
        rest = memoryview(block)
        while rest:
            try:
                rest = rest[os.write(pipe, rest) :]
            except OSError as error:
                raise EndOfPipe from error


def receive(pipe: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read one message from the file descriptor `pipe`; EndOfPipe when it ends before."""
    (length,) = _LENGTH.unpack(_read(pipe, _LENGTH.size))
    header = parse_json(_read(pipe, length).decode(), "a message of a worker", "start anew.")
    arrays = []
    for shape in header["shapes"]:
        data = _read(pipe, 8 * int(np.prod(shape, dtype=np.int64)))
        arrays.append(np.frombuffer(data, dtype="<f8").reshape(shape))
    return header, arrays


def _read(pipe: int, size: int) -> bytearray:
    data = bytearray(size)
    filled = 0
    while filled < size:
        try:
            count = os.readv(pipe, [memoryview(data)[filled:]])
        except OSError as error:
            raise EndOfPipe from error
        if count == 0:
            raise EndOfPipe
        filled += count
    return data


def make_evaluator(spec: dict[str, Any]) -> Evaluator:
    """The evaluator that `spec` describes; InputError for an unknown kind."""
    kind = str(spec.get("kind"))
    if kind not in EVALUATORS:
        raise InputError(f"A worker knows no potential {kind!r}; it knows {', '.join(EVALUATORS)}.")
    evaluator: Evaluator = import_module(EVALUATORS[kind]).make_evaluator(spec)
    return evaluator


def evaluate_rows(evaluator: Evaluator, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Energies (batch,), gradients (batch, N, 3), NaN in rows that failed, and what the last failure said."""
    energies = np.full(len(positions), np.nan)
    gradients = np.full(positions.shape, np.nan)
    failure = ""
    for row, conformation in enumerate(positions):
        if not np.isfinite(conformation).all():
            continue
        try:
            energies[row], gradients[row] = evaluator(conformation)
        except Exception as error:  # noqa: BLE001 (libraries raise exceptions of any class; only the row is lost)
            energies[row], gradients[row] = np.nan, np.nan
            failure = f"{type(error).__name__}: {error}"
    return energies, gradients, failure


def serve(requests: int, replies: int) -> None:
    """Answer on the two file descriptors until the first of them ends."""
    header, _ = receive(requests)
    _end_with(int(header["parent"]))
    try:
        evaluator = make_evaluator(header["spec"])
    except Exception as error:  # noqa: BLE001 (whatever it is, the pool says it)
        ours = isinstance(error, BoltzgenError)
        text = str(error) if ours else f"{type(error).__name__}: {error}"
        send(replies, {"error": text, "class": type(error).__name__ if ours else "BoltzgenError"})
        return
    send(replies, {"ready": True, "settled": getattr(evaluator, "settled", {})})
    while True:
        _, (positions,) = receive(requests)
        energies, gradients, failure = evaluate_rows(evaluator, positions)
        send(replies, {"failure": failure}, energies, gradients)
        if os.fstat(sys.stderr.fileno()).st_size > _KEPT_MESSAGES:
            os.ftruncate(sys.stderr.fileno(), 0)


def _end_with(parent: int) -> None:
    """End this process when `parent` is no longer its parent, even amid an evaluation."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_INTERVAL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve on the standard pipes, which are taken away from everything else in this process."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what libraries print must not mix with the messages
    try:
        serve(requests, replies)
    except EndOfPipe:
        pass


if __name__ == "__main__":
    main()
