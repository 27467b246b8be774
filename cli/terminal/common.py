"""The options that every verb takes, added where a verb is registered.

An application made as `Verbs` gives them to each of its commands: ``app.command("states")(states)``. The
function of the verb does not see them. What they do is in `boltzgen_cli.terminal.session`.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from boltzgen_cli.terminal.panels import PanelledCommand
from boltzgen_cli.terminal.session import session

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON; everything else goes to standard error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes.")]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", metavar="FILE", help="Append everything that is told to FILE.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, max=4096, help="Threads of one computation.")
]

#: Names of the parameters, their types and defaults, in the order of the help.
OPTIONS: dict[str, tuple[Any, Any]] = {
    "as_json": (AsJson, False),
    "quiet": (Quiet, False),
    "log_file": (LogFile, None),
    "threads": (Threads, None),
}

#: What tells libraries how many threads to begin.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENMM_CPU_THREADS",
)


class Verbs(typer.Typer):
    """An application of Typer whose commands all take `OPTIONS`, after their own."""

    def command(self, *words: Any, **settings: Any) -> Callable[[Any], Any]:
        register = super().command(*words, **{"cls": PanelledCommand, **settings})

        def add(verb: Callable[..., Any]) -> Callable[..., Any]:
            register(with_common_options(verb))
            return verb

        return add


def with_common_options(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` with `OPTIONS` in its signature; they are in force while it runs."""

    @functools.wraps(verb)
    def run(*, as_json: bool, quiet: bool, log_file: Path | None, threads: int | None, **own: Any) -> None:
        running = session()
        running.as_json, running.quiet = as_json, quiet
        if log_file is not None:
            running.open_log(log_file)
            running.write(shlex.join(["boltzgen", *running.words]))
        with ExitStack() as stack:
            if threads is not None:
                stack.enter_context(threads_given(threads))
            if as_json:
                stack.enter_context(output_to_errors())
            verb(**own)

    given = inspect.signature(verb, eval_str=True)
    further = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in OPTIONS.items()
    ]
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given.parameters.values()]
    run.__signature__ = given.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*own, *further]}
    return run


@contextmanager
def threads_given(number: int) -> Iterator[None]:
    """Inside, libraries begin `number` threads; those that are loaded already are told."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(number)))
    torch = sys.modules.get("torch")
    former = None if torch is None else torch.get_num_threads()
    if torch is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(former)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def output_to_errors() -> Iterator[None]:
    """Inside, what is written to standard output goes to standard error, by libraries in C, too."""
    sys.stdout.flush()
    kept = None
    if _descriptor(sys.stdout) == 1 and _descriptor(sys.stderr) == 2:
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
