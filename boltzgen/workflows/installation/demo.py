"""The demo: the whole road on alanine dipeptide, as a sequence of the other verbs.

Everything lands in one folder: ``SYS/``, ``MD/``, ``CHECK/``, ``RUN/``, ``OUT/``, ``states.yaml``,
``free_energy.json`` with its ``.csv`` and ``.png``, ``ramachandran.png``. Each step is announced by the
command that does the same.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import resources
from os import PathLike
from pathlib import Path

from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.files import write_atomic, writing
from boltzgen.folders import alone_in, is_own_file
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.report.ramachandran import panel, ramachandran_figure
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.free_energy.states import FreeEnergyResult, free_energy_states
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.records import Summary
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.subjects import subject_of_system
from boltzgen.workflows.training.train import train

LIBRARY = Path(str(resources.files("boltzgen")))
SHIPPED = LIBRARY / "demo_data" / "alanine-dipeptide"
SOURCE = LIBRARY / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"

TEMPERATURE = 300.0
FORCEFIELD, SOLVENT = "amber99sbildn.xml", "amber99_obc.xml"
CONFIG = "alanine-dipeptide-demo"
SAMPLES = 20_000
LADDER, TRAINING_TIME, CHECK_TIME, SPACING = "300,366,446,543,662,800", "8ns", "2ns", "2ps"

STATES = """\
states:
  - {name: "phi < 0", where: {phi: [-180, 0]}}
  - {name: "phi > 0", where: {phi: [0, 180]}}
differences: [["phi < 0", "phi > 0"]]
"""

Listen = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Demo:
    """Where the results are, what sampling and the estimator found, and how long it took (s)."""

    folder: Path
    summary: Summary
    free_energy: FreeEnergyResult
    figure: Path
    seconds: float


def demo(
    folder: str | PathLike[str] = "demo",
    *,
    simulate_anew: bool = False,
    seed: int = 0,
    config: str | PathLike[str] = CONFIG,
    overrides: tuple[str, ...] = (),
    samples: int = SAMPLES,
    shipped: str | PathLike[str] | None = None,
    stop: StopRequest | None = None,
    say: Callable[[str], None] = print,
    listen: Listen = lambda title: nullcontext(silent),
) -> Demo:
    """The whole road on alanine dipeptide in about five minutes, all into `folder`.

    Parameters
    ----------
    simulate_anew: simulate (45 minutes) instead of taking the data that come with the package.
    seed: of training and sampling.
    config, overrides, samples, shipped: for tests, which run the same road on tiny settings; `shipped` is a
        folder with MD and CHECK.
    stop: polled. say: told each step as a command. listen: gives a progress listener for a title.

    Returns
    -------
    Demo: summary of the samples, the free energy (kT) of the left-handed region, the figure, seconds.

    Raises
    ------
    InputError: `folder` is not empty and not an earlier demo's. StoppedError: `stop` asked to end.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.demo("demo")  # doctest: +SKIP
    >>> print(found.summary)  # doctest: +SKIP
    """
    data = SHIPPED if shipped is None else Path(shipped)
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InputError(f"{folder} is a file; `folder` needs the name of a folder.")
    with alone_in(folder) as place:
        _empty(place)
        steps = _Steps(place, data, seed, stop or StopRequest(), say, listen)
        steps.prepare()
        steps.data(simulate_anew)
        steps.train(config, overrides)
        summary = steps.sample(samples)
        answer = steps.free_energy()
        figure = steps.draw()
    say(f"\nEverything is in {steps.folder}; open {figure}.")
    return Demo(steps.folder, summary, answer, figure, time.monotonic() - steps.started)


def _empty(folder: Path) -> None:
    """Remove what an earlier demo left in `folder`; anything else in it is refused."""
    results = ("free_energy.json", "free_energy.csv", "free_energy.png", "ramachandran.png")
    names = ("SYS", "MD", "CHECK", "RUN", "OUT", "states.yaml", *results)
    entries = (entry for entry in folder.iterdir() if not is_own_file(entry))
    strangers = sorted(entry.name for entry in entries if entry.name not in names)
    if strangers:
        raise InputError(
            f"{folder} holds files that no demo made ({strangers[0]}, ...); give another one as `folder`."
        )
    with writing(folder):
        for name in names:
            entry = folder / name
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.is_file():
                entry.unlink()


@dataclass
class _Steps:
    """The steps, with what they share."""

    folder: Path
    shipped: Path
    seed: int
    stop: StopRequest
    say: Callable[[str], None]
    listen: Listen
    started: float = field(default_factory=time.monotonic)

    def announce(self, *words: object) -> None:
        """Say the command that does what follows."""
        elapsed = time.monotonic() - self.started
        self.say(f"\n[{elapsed:3.0f} s] $ boltzgen {shlex.join(str(word) for word in words)}")

    def path(self, name: str) -> Path:
        return self.folder / name

    def prepare(self) -> None:
        self.announce(
            "prepare", SOURCE, "-o", self.path("SYS"), "--forcefield", FORCEFIELD, "--implicit", SOLVENT
        )
        prepare(SOURCE, self.path("SYS"), forcefield=[FORCEFIELD], implicit=SOLVENT)

    def data(self, simulate_anew: bool) -> None:
        """Training frames (MD) and frames that training never sees (CHECK), simulated or as shipped."""
        self._data("MD", TRAINING_TIME, self.seed, simulate_anew)
        self._data("CHECK", CHECK_TIME, self.seed + 1, simulate_anew)

    def _data(self, name: str, length: str, seed: int, simulate_anew: bool) -> None:
        system, output = self.path("SYS"), self.path(name)
        options = ("--temperatures", LADDER, "--time", length, "--save-interval", SPACING, "--seed", seed)
        self.announce("simulate", system, "-o", output, *options)
        if not simulate_anew:
            self.say(
                "        (taken from the data that come with boltzgen; `demo(simulate_anew=True)` runs it)"
            )
            with writing(output):
                shutil.copytree(self.shipped / name, output)
            return
        with self.listen("simulate") as progress:
            simulate(
                system,
                output,
                temperatures=LADDER,
                time=length,
                save_interval=SPACING,
                seed=seed,
                stop=self.stop,
                progress=progress,
            )

    def train(self, config: str | PathLike[str], overrides: tuple[str, ...]) -> None:
        settings = [f"system={self.path('SYS')}", f"data={self.path('MD')}", *overrides]
        self.announce("train", config, "-o", self.path("RUN"), *settings, "--seed", self.seed)
        with self.listen("train") as progress:
            train(config, settings, self.path("RUN"), seed=self.seed, stop=self.stop, progress=progress)

    def sample(self, number: int) -> Summary:
        run, system, data = self.path("RUN"), self.path("SYS"), self.path("CHECK")
        out = self.path("OUT")
        self.announce("sample", run, system, "-o", out, "-n", number, "--data", data, "--seed", self.seed)
        with self.listen("sample") as progress:
            return sample(
                run,
                system,
                out,
                number,
                temperature=TEMPERATURE,
                data=data,
                seed=self.seed,
                stop=self.stop,
                progress=progress,
            )

    def free_energy(self) -> FreeEnergyResult:
        states, answer = self.path("states.yaml"), self.path("free_energy.json")
        write_atomic(states, STATES)
        self.announce("free-energy", "states", self.path("OUT"), "--states", states, "-o", answer)
        return free_energy_states(self.path("OUT"), states, output=answer, seed=self.seed)

    def draw(self) -> Path:
        """The Ramachandran free energy three times: simulation, flow, reweighted flow."""
        ensemble = load_ensemble(self.path("OUT"))
        system = MolecularSystem.load(self.path("SYS"))
        frames = read_trajectory(self.path("MD"), system).at(TEMPERATURE)
        topology = ensemble.topology_pdb
        panels = [
            panel("simulation", frames.positions, topology, note=f"{len(frames)} frames"),
            panel("flow", ensemble.positions, topology, note=f"{len(ensemble.log_w)} samples"),
            panel("reweighted flow", ensemble.positions, topology, ensemble.log_w, note="the same, weighted"),
        ]
        of = subject_of_system(system, TEMPERATURE)
        return ramachandran_figure(self.path("ramachandran.png"), panels, subject=of)
