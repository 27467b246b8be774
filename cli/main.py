"""The frame of ``boltzgen``: the application, its exit codes, its error messages.

How to add a verb
-----------------
1. Write ``cli/<verb>.py`` with one function, typed for Typer, its docstring the help text, with an
   example in it. Import nothing heavy at the top of the file (standard library, typer,
   ``boltzgen.errors``, ``boltzgen.interrupts``, ``boltzgen_cli.terminal.console``; never torch, numpy,
   OpenMM or ``boltzgen.workflows``); import the workflow inside the function::

       from typing import Annotated
       import typer
       from boltzgen_cli.terminal import console

       def reweight(
           output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by sample.")],
           temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 300.0,
       ) -> None:
           \"\"\"Weigh samples anew at another temperature.

           Example: boltzgen reweight OUT --temperature 320
           \"\"\"
           from boltzgen.workflows.sampling.reweight import reweight as work

           with console.long_verb("reweight", max_time) as (stop, progress):
               result = work(
                   output, temperature=temperature, stop=stop, progress=progress,
                   expect=progress.expecting(dry_run),
               )
           console.result(result)
           console.key_values("reweighted", result.rows())

2. Import it below and add it to `VERBS`, which is all it takes to have the options that every verb has:
   ``--json``, ``--quiet``, ``--log-file``, ``--threads`` (`boltzgen_cli.terminal.common`; the function does
   not see them). A sub-application, as ``free-energy`` is one, is made by ``Verbs(...)`` instead of
   ``typer.Typer(...)``, to the same end.

3. Add the workflow to the face for Python: its module and name in ``boltzgen/__init__.py``, an example in its
   docstring and its place among the others in ``tests/test_face.py``. ``boltzgen/workflows/__init__.py`` says
   what all workflows have in common.

What a verb may count on
------------------------
* Raise (or let the workflow raise) an exception of `boltzgen.errors`: `run` prints its message and
  ends with its ``exit_code``. Any other exception becomes one sentence and exit code 1. ``--debug``,
  anywhere on the line, shows the traceback. Verbs never catch, print or exit by themselves.
* Messages, reasons and notes name arguments as Python does, between backticks; what is printed says
  the options of the verb instead (`boltzgen_cli.terminal.fields`). A verb whose parameter is called
  otherwise than the argument of its workflow is entered there in `DIFFERENT`.
* ``console.result(record)``, as soon as there is one: an object with ``to_json()`` is what ``--json`` prints.
  An error may carry one, too (``StoppedError(..., result=record)``): what is there all the same.
* A long verb opens ``with console.long_verb(title, max_time) as (stop, progress)``. It hands `stop`
  (`boltzgen.interrupts`) to its workflow, which polls ``stop.requested``, saves and raises StoppedError.
  `run` then prints the command that goes on: the same line with ``--resume auto`` when the verb has
  ``--resume``. It hands on `progress` and ``expect=progress.expecting(dry_run)``: the workflow measures
  shortly what to expect (`boltzgen.workflows.timing`) and calls ``expect(...)`` before it writes anything;
  with ``--dry-run`` the command ends there, with exit code 0. Its options ``--max-time`` and ``--dry-run``
  are `MaxTime` and `DryRun` of `boltzgen_cli.terminal.run_options`.
* Results to standard output by ``console.table``, ``console.key_values`` and ``console.text`` (with
  ``--json`` they go to standard error). Everything else to standard error: notes, which ``--quiet`` leaves
  out, by ``console.message``, warnings and verdicts by ``console.finding``.
* Paths are checked by the workflows, not by Typer (``exists=True``), so that the Python interface
  gives the same sentences.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from boltzgen import __version__
from boltzgen.disk import is_trouble_of_the_disk, write_error
from boltzgen.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, BoltzgenError, StoppedError
from boltzgen.files import NO_PATH, read_error
from boltzgen.interrupts import ended_by, ending_by_signal
from boltzgen_cli.adapt import adapt
from boltzgen_cli.benchmark import app as benchmark
from boltzgen_cli.check import check
from boltzgen_cli.config import app as config
from boltzgen_cli.conformers import conformers
from boltzgen_cli.dataset import app as dataset
from boltzgen_cli.export import export
from boltzgen_cli.free_energy.states import app as free_energy
from boltzgen_cli.free_energy.transfer import transfer
from boltzgen_cli.installation.cite import cite
from boltzgen_cli.installation.demo import demo
from boltzgen_cli.installation.doctor import doctor
from boltzgen_cli.installation.glossary import glossary
from boltzgen_cli.installation.models import models
from boltzgen_cli.installation.selftest import selftest
from boltzgen_cli.merge import merge
from boltzgen_cli.prepare import prepare
from boltzgen_cli.report import report
from boltzgen_cli.reweight import reweight
from boltzgen_cli.run import run as answer
from boltzgen_cli.sample import sample
from boltzgen_cli.show import show
from boltzgen_cli.simulate import simulate
from boltzgen_cli.terminal.common import Verbs
from boltzgen_cli.terminal.console import DryRunEnded, finding
from boltzgen_cli.terminal.fields import in_words, speaking
from boltzgen_cli.terminal.session import json_text, opened, session
from boltzgen_cli.terminal.streams import patient_streams
from boltzgen_cli.train import train

#: Verbs that are one function each, in the order of the road: the name at the terminal and the function.
VERBS: dict[str, Callable[..., Any]] = {
    "run": answer,
    "prepare": prepare,
    "simulate": simulate,
    "train": train,
    "adapt": adapt,
    "sample": sample,
    "check": check,
    "reweight": reweight,
    "conformers": conformers,
    "merge": merge,
    "export": export,
    "transfer": transfer,
    "report": report,
    "show": show,
    "demo": demo,
    "models": models,
    "cite": cite,
    "glossary": glossary,
    "doctor": doctor,
    "selftest": selftest,
}

#: Verbs that can go on where they stopped take ``--resume``.
RESUMABLE = ("train", "adapt", "simulate", "reweight")

#: Options, each with a value, that the command that goes on must not repeat.
ONCE = ("--rebuild",)

app = Verbs(
    name="boltzgen",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"boltzgen-sampler {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Boltzmann generators: from a molecule to a free energy with its error.

    The road: prepare, simulate, train, sample, free-energy. Example: boltzgen demo

    Words such as k-hat, forward ESS or domain: boltzgen glossary
    """


for _name, _verb in VERBS.items():
    app.command(_name)(_verb)
app.add_typer(free_energy, name="free-energy")
app.add_typer(dataset, name="dataset")
app.add_typer(benchmark, name="benchmark")
app.add_typer(config, name="config")


def run() -> None:
    """The command line of this process: never returns, ends with an exit code."""
    output = patient_streams()
    code = main(sys.argv[1:])
    refused = output.finished()
    if refused is not None:
        print(f"boltzgen: standard output cannot be written ({refused}).", file=sys.stderr)
    sys.exit(code if refused is None else code or EXIT_FAILED)


def main(arguments: Sequence[str]) -> int:
    """Run the command line `arguments` (without the program's name) and return its exit code."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    with opened(words) as running, speaking(app, words), ending_by_signal():
        code = _run(words, debug)
        if running.as_json and running.result is not None:
            print(json_text(running.result))
        running.write(f"exit code {code}")
        return code


def _run(words: Sequence[str], debug: bool) -> int:
    try:
        code = app(args=words, prog_name="boltzgen", standalone_mode=False)
    except DryRunEnded:
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the one place that meets them all)
        if debug:
            traceback.print_exception(error)
        if not isinstance(error, BoltzgenError):
            session().write("".join(traceback.format_exception(error)))
        interrupted = ended_by() is not None and not isinstance(error, BoltzgenError)
        return _report(KeyboardInterrupt() if interrupted else error, words)
    if code == EXIT_INTERRUPTED:  # Typer turns KeyboardInterrupt into this, without a word
        return _report(KeyboardInterrupt(), words)
    return code if isinstance(code, int) else 0


@dataclass(frozen=True)
class _Ending:
    """How an error ends a command: what is told, the exit code, and the command that goes on."""

    sentence: str
    code: int
    go_on: str | None = None


def _report(error: BaseException, words: Sequence[str]) -> int:
    """Tell `error` as a sentence on standard error, and as JSON where that was asked; its exit code."""
    ending = _ending(error, words)
    finding(ending.sentence if ending.go_on is None else f"{ending.sentence}\nTo go on: {ending.go_on}")
    running = session()
    if running.as_json:
        running.result = {
            "error": ending.sentence.removeprefix("boltzgen: "),
            "exit_code": ending.code,
            "go_on": ending.go_on,
            "result": getattr(error, "result", None) or running.result,
        }
    return ending.code


def _ending(error: BaseException, words: Sequence[str]) -> _Ending:
    if isinstance(error, BoltzgenError):
        go_on = _resume_command(words) if isinstance(error, StoppedError) else None
        return _Ending(f"boltzgen: {in_words(str(error))}", error.exit_code, go_on)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return _Ending("boltzgen: interrupted.", 128 + (ended_by() or signal.SIGINT))
    if type(error).__name__ == "NoArgsIsHelpError":  # no verb: the list of them, as it is laid out
        return _Ending(error.format_message(), EXIT_USAGE)  # type: ignore[attr-defined]
    if _is_usage_error(error):
        return _Ending(f"boltzgen: {_usage_sentence(error, words)}", EXIT_USAGE)
    if isinstance(error, OSError) and is_trouble_of_the_disk(error):
        return _ending(write_error(Path(error.filename or "."), error), words)
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # of `tempfile`
        no_folder = "boltzgen: no folder for temporary files can be written; name one in TMPDIR."
        return _Ending(no_folder, EXIT_FAILED)
    if isinstance(error, OSError) and error.errno in NO_PATH and error.filename is not None:
        return _ending(read_error(os.fsdecode(error.filename), error), words)  # before anything was read
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return _Ending(
        f"boltzgen: unexpected {type(error).__name__}: {first_line}\n"
        "This is a fault of boltzgen; run the command again with --debug and report what it prints.",
        EXIT_FAILED,
    )


def _is_usage_error(error: BaseException) -> bool:
    """Click's errors, recognised by what they offer: Typer has carried its own copy of Click since 0.26."""
    return hasattr(error, "format_message") and getattr(error, "exit_code", None) == EXIT_USAGE


def _usage_sentence(error: Any, words: Sequence[str]) -> str:
    """What Click found, what was given, and where the help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "boltzgen"
    sentence = " ".join(str(error.format_message()).split())
    mark = "?" if sentence.endswith("?") else "."
    given = _given(getattr(error, "param", None), words)
    shown = f" (given: {given!r})" if given is not None and repr(given) not in sentence else ""
    return f"{sentence.rstrip('.?')}{shown}{mark} See: {command} --help"


def _given(parameter: Any, words: Sequence[str]) -> str | None:
    """The value that follows the option `parameter` in `words`; None where there is none."""
    names = getattr(parameter, "opts", ())
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            following = words[position + 1] if position + 1 < len(words) else None
            return value if equals else following
    return None


def _resume_command(words: Sequence[str]) -> str:
    line = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in ONCE and word.split("=")[0] not in ONCE
    ]
    verb = next((word for word in line if not word.startswith("-")), "")
    if verb in RESUMABLE and not any(word.split("=")[0] == "--resume" for word in line):
        line += ["--resume", "auto"]
    return shlex.join(["boltzgen", *line])


if __name__ == "__main__":
    run()
