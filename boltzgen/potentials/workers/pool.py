"""Worker processes that evaluate a potential in parallel, for energies that torch cannot compute.

Each worker is a fresh interpreter (`boltzgen.potentials.workers.worker`), single-threaded. One thread of this
process speaks with one worker at a time, so that callers in several threads share the workers chunk by chunk
and an interrupted caller leaves every conversation whole.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import weakref
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from boltzgen import errors
from boltzgen.errors import BoltzgenError
from boltzgen.potentials.workers.worker import EndOfPipe, receive, send

#: Chunks that each worker gets of one batch, so that a slow one does not keep the others waiting.
CHUNKS_PER_WORKER = 4

#: Conformations of one chunk at most.
LARGEST_CHUNK = 128

#: Seconds that a worker may take to start (it imports OpenMM, and may compile kernels).
START_LIMIT = 300.0

#: Variables by which numerical libraries learn how many threads they may use.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENMM_CPU_THREADS")


class WorkerPool:
    """Processes that evaluate one potential; they start at the first use and again after `close`.

    Parameters
    ----------
    spec: what to evaluate, JSON types only; ``spec["kind"]`` names the evaluator (`worker.EVALUATORS`).
    n_atoms: number of atoms N.
    workers: number of processes.

    Any thread may use a pool. A forked child gets workers of its own. Workers end with `close`, with the
    pool, with the interpreter, and, if that is killed, by themselves within a second or two.
    """

    def __init__(self, spec: dict[str, Any], n_atoms: int, workers: int = 1) -> None:
        self.spec, self.n_atoms, self.workers = spec, n_atoms, workers
        self.last_failure = ""  # what the last failed conformation said
        self._lock = threading.Lock()
        self._crew: _Crew | None = None
        _POOLS.add(self)

    def start(self) -> dict[str, Any]:
        """Start the workers if they do not run, and return what their evaluator settled itself.

        Raises
        ------
        InputError or another error of `boltzgen.errors`: what the evaluator said, or that it cannot start.
        """
        return self._running().settled

    def evaluate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (batch,) in kJ/mol, gradients in kJ/mol/nm of `positions` (batch, N, 3) in nm; float64.

        A conformation that cannot be evaluated gives NaN. So does every conformation that was with a worker
        when that worker died; the worker is started again.

        Raises
        ------
        BoltzgenError: a worker cannot start, or dies again before it has answered.
        """
        positions = np.ascontiguousarray(positions, dtype=np.float64)
        if positions.ndim != 3 or positions.shape[1:] != (self.n_atoms, 3):
            raise ValueError(f"Positions have the shape {positions.shape}, not (batch, {self.n_atoms}, 3).")
        energies, gradients = np.full(len(positions), np.nan), np.full(positions.shape, np.nan)
        if not len(positions):
            return energies, gradients
        crew = self._running()
        rows = -(-len(positions) // (CHUNKS_PER_WORKER * self.workers))
        rows = min(max(rows, 1), LARGEST_CHUNK)
        chunks = [slice(start, start + rows) for start in range(0, len(positions), rows)]
        answers: list[Future[_Answer]] = []
        try:
            for chunk in chunks:
                answers.append(crew.threads.submit(crew.evaluate, positions[chunk]))
            for chunk, answer in zip(chunks, answers, strict=True):
                energies[chunk], gradients[chunk], failure = answer.result()
                self.last_failure = failure or self.last_failure
        except (RuntimeError, CancelledError) as error:
            if crew.closed:
                raise BoltzgenError("The worker processes were closed during an evaluation.") from error
            raise
        finally:
            for answer in answers:
                answer.cancel()
        return energies, gradients

    def close(self) -> None:
        """End the workers; a later use starts new ones. May be called any number of times."""
        with self._lock:
            crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:  # a copy is another pool of the same potential
        return WorkerPool, (self.spec, self.n_atoms, self.workers)

    def _running(self) -> _Crew:
        with self._lock:
            if self._crew is None:
                self._crew = _Crew(self.spec, self.n_atoms, self.workers)
                # What the first worker chose (a platform) holds for all and ever, else energies might differ.
                self.spec = {**self.spec, **self._crew.settled}
                weakref.finalize(self, self._crew.close)
            return self._crew

    def _forget(self) -> None:
        """In a forked child: let go of the parent's workers without ending them."""
        self._lock = threading.Lock()
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.forget()


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool._forget()


os.register_at_fork(after_in_child=_after_fork)

#: Energies, gradients, and what the last failure said.
_Answer = tuple[np.ndarray, np.ndarray, str]


class _Crew:
    """The running workers of a pool, the idle ones among them, and the threads that speak with them."""

    def __init__(self, spec: dict[str, Any], n_atoms: int, workers: int) -> None:
        self.closed, self.owner = False, os.getpid()
        first = _Worker(spec, n_atoms)
        self.workers = [first]
        try:
            self.settled = first.greet()
            first.spec = {**spec, **self.settled}
            self.workers += [_Worker(first.spec, n_atoms) for _ in range(workers - 1)]
            for worker in self.workers[1:]:
                worker.greet()
        except BaseException:
            for worker in self.workers:
                worker.end()
            raise
        self.idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="boltzgen-worker")

    def evaluate(self, positions: np.ndarray) -> _Answer:
        """Have an idle worker evaluate one chunk; there are as many threads as workers, so one is idle."""
        worker = self.idle.get()
        try:
            return worker.evaluate(positions)
        except EndOfPipe:
            if self.closed:
                raise CancelledError from None
            worker.restart()
            nothing = np.full(len(positions), np.nan), np.full(positions.shape, np.nan)
            return *nothing, "a worker process died while it evaluated this batch"
        finally:
            self.idle.put(worker)

    def close(self) -> None:
        if self.closed or os.getpid() != self.owner:
            return
        self.closed = True
        for worker in self.workers:
            worker.kill()  # they hold nothing that would be lost
        self.threads.shutdown(wait=True, cancel_futures=True)
        for worker in self.workers:
            worker.end()

    def forget(self) -> None:
        self.closed = True
        for worker in self.workers:
            worker.forget()


class _Worker:
    """One process and its pipes."""

    def __init__(self, spec: dict[str, Any], n_atoms: int) -> None:
        self.spec, self.n_atoms = spec, n_atoms
        self.has_answered = True
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(self.spec.get("threads", 1)))}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self.messages = tempfile.TemporaryFile("ab+")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "boltzgen.potentials.workers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            bufsize=0,
            env=environment,
            start_new_session=True,  # Ctrl-C at a terminal is for the parent alone
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def greet(self) -> dict[str, Any]:
        """Send the spec, wait until the evaluator stands, and return what it settled itself."""
        try:
            send(self.stdin.fileno(), {"spec": self.spec, "n_atoms": self.n_atoms, "parent": os.getpid()})
            answer = select.poll()
            answer.register(self.stdout, select.POLLIN)
            if not answer.poll(1000 * START_LIMIT):
                raise BoltzgenError(f"A worker process did not start within {START_LIMIT:.0f} s.")
            header, _ = receive(self.stdout.fileno())
        except EndOfPipe:
            raise BoltzgenError(f"A worker process ended at its start{self._last_words()}.") from None
        if "error" in header:
            raise getattr(errors, header["class"])(header["error"])
        return dict(header["settled"])

    def evaluate(self, positions: np.ndarray) -> _Answer:
        send(self.stdin.fileno(), {}, positions)
        header, (energies, gradients) = receive(self.stdout.fileno())
        self.has_answered = True
        return energies, gradients, header["failure"]

    def restart(self) -> None:
        """After a death: a new process. BoltzgenError if the last one had not answered even once."""
        if not self.has_answered:
            raise BoltzgenError(f"A worker process died twice in a row{self._last_words()}.")
        self.end()
        self.has_answered = False
        self._start()
        self.greet()

    def _last_words(self) -> str:
        """How the process ended and what it wrote last, as the end of a sentence."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return " (it closed its pipes)"
        size = self.messages.seek(0, os.SEEK_END)
        self.messages.seek(max(0, size - 2000))
        lines = self.messages.read().decode(errors="replace").strip().splitlines()
        return f" (exit code {code}{': ' + lines[-1].strip() if lines else ''})"

    def kill(self) -> None:
        self.process.kill()

    def end(self) -> None:
        """End the process and give everything back."""
        self.process.kill()
        self.process.wait()
        self._close_files()

    def forget(self) -> None:
        """In a forked child: close the pipes, so that the worker still sees the end of its parent."""
        self._close_files()
        self.process.returncode = 0  # not our child: nothing to wait for

    def _close_files(self) -> None:
        for file in (self.stdin, self.stdout, self.messages):
            file.close()
