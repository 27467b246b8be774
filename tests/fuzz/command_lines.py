"""Random command lines: words of sound ones exchanged, dropped, doubled, damaged, options of the verb added.

    python tests/fuzz/command_lines.py --count 2000

Each runs in a child of its own, in a copy of a folder that holds a little of everything. A fault is an end
that no table of exit codes has, a traceback, "This is a fault of boltzgen", anything written outside the
folder, standard output that is not JSON although ``--json`` was asked for, or a command that does not stop
when Ctrl-C asks it to after `SECONDS`. Every second line has some of the options that all verbs take.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "cases"), str(ROOT / "tests" / "folders")]

import typer  # noqa: E402
from fuzz.runner import processor_seconds  # noqa: E402
from verbs import VERBS, make_inputs  # noqa: E402

from boltzgen_cli.main import app, main  # noqa: E402
from boltzgen_cli.terminal.streams import patient_streams  # noqa: E402

#: Processor seconds after which a command is interrupted, and seconds that it then has.
SECONDS, PATIENCE = 5.0, 20.0
#: Seconds by the clock after which a command is interrupted in any case: far more than a busy machine takes.
LONGEST = 240.0

#: Every exit code that docs/commands.md lists, and those of the signals that are sent here.
CODES = frozenset((0, 1, 2, 3, 4, 75, 130))

_WORDS = (
    *("SYS", "RUN", "DRAWN", "OTHER", "WARM", "MD300", "DATASET", "NEW", "none", "states.yaml", "train.yaml"),
    *("data.yaml", "dataset.yaml", "tiny.yaml", "system.xml", "butane.pdb", "SYS/system.json", ".", "", "-"),
    *("RUN/model", "RUN/model/weights.safetensors", "DRAWN/weights.npz", "MD300/manifest.json", "/dev/null"),
    *(
        "--",
        "0",
        "1",
        "-1",
        "2",
        "3",
        "300",
        "nan",
        "inf",
        "1e30",
        "1e-30",
        "9" * 400,
        "0.5",
        "300,400",
        "300,",
    ),
    *(",", "a b", "é", "\x1b[31m", "\udcff", "a" * 300, "*", "@", "key=value", "=", "flow.layers=3", "x=["),
    *(
        "optimizer.steps=1e9",
        "[",
        "{}",
        "null",
        "phi",
        "all",
        "turn",
        "rg",
        "1ps",
        "1kg",
        "0ps",
        "auto",
        "cuda",
    ),
    *("model:double-well", "model:none", "mmff94", "none.xml", "CCO", "ALA", "left", "float32", "dcd", "smc"),
)


def options() -> dict[tuple[str, ...], list[str]]:
    """The long names of the options of every verb."""
    found: dict[tuple[str, ...], list[str]] = {}

    def walk(command, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))
        if not hasattr(command, "commands"):
            found[path] = [name for one in command.params for name in one.opts if name.startswith("-")]

    walk(typer.main.get_command(app), ())
    return found


OPTIONS = options()

#: Options of every verb, or of the long ones, and values for them.
OF_ALL = {
    "--json": (),
    "--quiet": (),
    "--dry-run": (),
    "--log-file": (
        "log.txt",
        "SYS",
        "SYS/system.json",
        "none/log.txt",
        "",
        "/dev/null",
        "/dev/full",
        "\udcff",
    ),
    "--threads": ("1", "2", "0", "-1", "nan", "9" * 400),
    "--max-time": ("1s", "2m", "0s", "soon", "1e9h"),
}


def line(number: int) -> list[str]:
    """Random command line `number`."""
    rng = random.Random(f"line:{number}")
    words = list(rng.choice(list(VERBS.values())).words)
    if rng.random() < 0.25:
        words = [*rng.choice(list(OPTIONS)), *rng.choices(_WORDS, k=rng.randrange(4))]
    path = tuple(words[:2]) if tuple(words[:2]) in OPTIONS else tuple(words[:1])
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        place = rng.randrange(len(words) + 1)
        what = rng.random()
        if what < 0.35 and place < len(words):
            words[place] = rng.choice(_WORDS)
        elif what < 0.5 and place < len(words):
            del words[place]
        elif what < 0.6 and words:
            words.insert(place, rng.choice(words))
        elif what < 0.7 and len(words) > 2:
            other = rng.randrange(1, len(words))
            place = min(max(place, 1), len(words) - 1)
            words[place], words[other] = words[other], words[place]
        elif OPTIONS.get(path):
            words += [rng.choice(OPTIONS[path]), *([rng.choice(_WORDS)] if rng.random() < 0.8 else [])]
    for option in rng.sample(sorted(OF_ALL), rng.randrange(1, 4)) if rng.random() < 0.5 else []:
        words += [option, *([rng.choice(OF_ALL[option])] if OF_ALL[option] else [])]
    return [word for word in words if "\x00" not in word]


def outside(folder: Path) -> list[str]:
    """What stands beside the working folder."""
    return sorted(path.name for path in folder.parent.iterdir())


def run(number: int, template: Path) -> str | None:
    """The fault of command line `number`; None where there is none."""
    place = Path(tempfile.mkdtemp(prefix="boltzgen-line-"))
    work = place / "work"
    shutil.copytree(template, work)
    before = outside(work)
    said, printed = (place.parent / f"{place.name}.{what}" for what in ("said", "printed"))
    try:
        words = line(number)
        code, late = _child(words, work, said, printed)
        output, told = (path.read_text(errors="replace") if path.exists() else "" for path in (printed, said))
        text = told + output
        if late:
            return f"does not stop within {PATIENCE:g} s of Ctrl-C"
        if "Traceback" in text or "fault of boltzgen" in text or "Exception ignored" in text:
            return " | ".join(text.strip().splitlines()[-4:])[:600]
        if code not in CODES:
            return f"exit code {code}: {text.strip()[-300:]}"
        if code and not text.strip():
            return f"exit code {code} without a word"
        if asks_for_json(words) and not is_json(output):
            return f"exit code {code}, and no JSON: {output.strip()[:200]}"
        if outside(work) != before:
            return f"wrote {sorted(set(outside(work)) - set(before))} outside its folder"
        return None
    finally:
        shutil.rmtree(place, ignore_errors=True)
        said.unlink(missing_ok=True)
        printed.unlink(missing_ok=True)


def asks_for_json(words: list[str]) -> bool:
    """Whether `words` hold ``--json``, not as the value of the word before it, and ask for no help."""
    flags = {option for option, values in OF_ALL.items() if not values}
    asked = any(
        word == "--json" and (not before.startswith("-") or before in flags)
        for before, word in zip(["", *words], words, strict=False)
    )
    return asked and not {"-h", "--help", "--", "--version"} & set(words)


def is_json(text: str) -> bool:
    """Whether `text` is one JSON document."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _child(words: list[str], work: Path, said: Path, printed: Path) -> tuple[int, bool]:
    """Exit code of ``boltzgen WORDS`` in `work`, what it told in two files; whether Ctrl-C was ignored."""
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, path in ((1, printed), (2, said)):
                os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), number)
            patient_streams()
            os.chdir(work)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
            _in_one_thread()
            code = main(words)
        except BaseException:  # noqa: BLE001  (told, as the interpreter would)
            traceback.print_exc()
        finally:  # whatever happens, the child never goes on as its parent
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    asked, begun = 0.0, time.monotonic()
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), False
        waits = time.monotonic() - begun > LONGEST  # on what never comes, without using the processor
        if not asked and (waits or processor_seconds(process) > SECONDS):
            os.kill(process, signal.SIGINT)
            asked = time.monotonic()
        if asked and time.monotonic() - asked > PATIENCE:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return 0, True
        time.sleep(0.02)


def _in_one_thread() -> None:
    """OpenMP's threads do not outlive a fork: a child whose parent had some waits for them for ever.

    So torch keeps to one here, whatever `--threads` says (libgomp of torch 2.13).
    """
    import torch

    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None


def faults(numbers: range, template: Path) -> list[tuple[int, str]]:
    """(number, fault) of the command lines that have one."""
    found = ((number, run(number, template)) for number in numbers)
    return [(number, fault) for number, fault in found if fault is not None]


def template_of(folder: Path) -> Path:
    """The folder that each command works in a copy of."""
    from boltzgen.system.prepare import prepare

    butane = ROOT / "boltzgen" / "examples" / "butane"
    return make_inputs(folder, prepare(butane / "system.xml", coordinates=butane / "butane.pdb"))


def main_of_this() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", type=int, help="print one command line and what becomes of it")
    asked = parser.parse_args()
    import boltzgen.workflows.sampling.sample  # noqa: F401  (children need not import it)

    start, counts = time.time(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        template = template_of(Path(folder))
        if asked.show is not None:
            print(*map(repr, line(asked.show)), "\n", run(asked.show, template))
            return 0
        for number in range(asked.first, asked.first + asked.count):
            fault = run(number, template)
            counts["fault" if fault else "sound"] += 1
            if fault:
                print(f"FAULT {number}  {' '.join(map(ascii, line(number)))[:200]}\n   {fault}", flush=True)
    print(f"{asked.count} command lines, {counts['fault']} faults, {time.time() - start:.0f} s")
    return 1 if counts["fault"] else 0


if __name__ == "__main__":
    sys.exit(main_of_this())
