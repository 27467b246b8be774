"""The demo: `run` on alanine dipeptide, with the frames that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from importlib import resources
from os import PathLike
from pathlib import Path

from boltzgen.interrupts import StopRequest
from boltzgen.progress import silent
from boltzgen.workflows.roads.answer import Run
from boltzgen.workflows.roads.run import run
from boltzgen.workflows.roads.walk import Listen
from boltzgen.workflows.timing.expectation import Expect

LIBRARY = Path(str(resources.files("boltzgen")))
SHIPPED = LIBRARY / "demo_data" / "alanine-dipeptide"
SOURCE = LIBRARY / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"

TEMPERATURE = 300.0
FORCEFIELD, SOLVENT = "amber99sbildn.xml", "amber99_obc.xml"
CONFIG = "alanine-dipeptide-demo"
SAMPLES = 20_000


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
    words: Callable[[str], str] = str,
    expect: Expect | None = None,
) -> Run:
    """The whole road on alanine dipeptide in about two minutes, all into `folder`; `run` with words given.

    Parameters
    ----------
    simulate_anew: simulate instead of taking the frames that come with the package.
    seed: of training and sampling.
    config, overrides, samples, shipped: for tests, which run the same road on tiny settings; `shipped` is a
        folder with MD, CHECK and states.yaml.
    stop: polled. say: told each step as a command. listen: gives a progress listener for a title.
    words: how the page names arguments. expect: told how long it will take before anything is written.

    Returns
    -------
    Run: what `run` returns: the free energy (kT) of the left-handed region, populations, verdict.

    Raises
    ------
    InputError: `folder` holds other files. StoppedError: `stop` asked to end; the same call goes on.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.demo("demo")  # doctest: +SKIP
    >>> print(found.sentences)  # doctest: +SKIP
    """
    data = SHIPPED if shipped is None else Path(shipped)
    return run(
        SOURCE,
        folder,
        states=data / "states.yaml",
        temperature=TEMPERATURE,
        time=None,
        frames=None if simulate_anew else data / "MD",
        check_frames=None if simulate_anew else data / "CHECK",
        config=config,
        overrides=overrides,
        samples=samples,
        seed=seed,
        stop=stop,
        say=say,
        listen=listen,
        words=words,
        expect=expect,
        forcefield=[FORCEFIELD],
        implicit=SOLVENT,
    )
