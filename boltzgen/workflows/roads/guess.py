"""The first guess of the time, before anything is read or measured: by the size of the molecule alone.

`prepare` and a measurement take seconds; whoever asks wants to know at once whether it will be a minute or an
hour. Laws of the size, as they were on two cores on 30 November 2026, times the pace of this machine; good
to a factor of three, and to ten where a shipped model may know the molecule.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config, made_for
from boltzgen.progress import hours_and_minutes
from boltzgen.system.ambertools.charges import METHODS, expected_seconds
from boltzgen.system.ambertools.gaff import DEFAULT_CHARGES
from boltzgen.system.options import PrepareOptions
from boltzgen.system.size import Size, size_of
from boltzgen.system.small_molecule.fields import GAFF
from boltzgen.training import suited
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.look import seconds_with_a_model, worth
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.roads.road_simulated import AROUND
from boltzgen.workflows.timing.expectation import Expectation
from boltzgen.workflows.timing.pace import pace

#: Seconds at 31 atoms (AGS) of a draw, which grows as the square of the size; of a training step, with its
#: power; and of an energy, a part alike for all and one that grows as the square.
ATOMS, DRAW, STEP, STEP_POWER, ENERGY, ENERGY_OF_PAIRS = 31, 1.2e-3, 0.45, 1.35, 3.0e-5, 3.5e-5

#: What the guess is called; `run` says what it does in a sentence of its own.
VERB = "first guess"

#: Unfamiliarity of a molecule such as a shipped model was trained on.
USUAL = 30.0


def first_guess(
    source: str | PathLike[str] | None, options: PrepareOptions, question: Question, limit: float | None
) -> Expectation:
    """How long `run` will take, about, with `limit` seconds at most. InputError as of `prepare`."""
    size = size_of(source, options)
    if size is None:
        seconds = float("inf") if limit is None else limit
        return Expectation(VERB, seconds, "no size before the molecule is read", "at most, or as it takes")
    slower = pace()
    without, training = _from_the_beginning(size, question, slower)
    needed = training / (2 * defaults.SHARES["train"])  # half of the steps in their share of the time
    unknown = size.small and not made_for(options.forcefield, options.implicit)
    if unknown or question.frames is not None or question.config is not None:
        seconds = without
        how = "to simulate, train and draw" if question.frames is None else "to train and draw"
    else:
        a_sample = slower * DRAW * (size.atoms / ATOMS) ** 2
        seconds = seconds_with_a_model(worth(size.atoms, USUAL), a_sample, question.precision)
        how = "with a shipped model, where one knows such molecules; "
        how += f"{hours_and_minutes(without)} to simulate, train and draw"
        needed = min(needed, seconds)
    charging = slower * _charging(size, options)
    seconds, without, needed = (amount + charging for amount in (seconds, without, needed))
    further = f"Charges by AM1: {hours_and_minutes(charging)}, unless kept from before. " if charging else ""
    if limit is not None and needed > limit:
        further += f"The {hours_and_minutes(limit)} given will hardly suffice."
    elif limit is not None and without > limit:
        further += f"Cut to the {hours_and_minutes(limit)} given where that is less."
    return Expectation(VERB, seconds, f"about {size.atoms} atoms", how, further.strip())


def _charging(size: Size, options: PrepareOptions) -> float:
    """Seconds in which AmberTools' programs compute charges; 0 where nothing asks for them."""
    asked = options.charges or (DEFAULT_CHARGES if set(options.forcefield) & set(GAFF) else "")
    return expected_seconds(size.atoms) if size.small and asked in METHODS else 0.0


def _from_the_beginning(size: Size, question: Question, slower: float) -> tuple[float, float]:
    """Seconds of the road that simulates and trains, and of the training alone."""
    energies = 0.0
    if question.frames is None:
        whole = defaults.simulation(size.atoms, question.temperature, size.torsions)
        an_energy = slower * (ENERGY + ENERGY_OF_PAIRS * (size.atoms / ATOMS) ** 2)
        energies = (whole.evaluations + defaults.check(whole).evaluations) * an_energy
    training = _steps(size, question) * slower * STEP * (size.atoms / ATOMS) ** STEP_POWER
    return 1.2 * (energies + training) + AROUND, training


def _steps(size: Size, question: Question) -> int:
    """Training steps: those of the configuration that was given, or what suits the size."""
    if question.config is None:
        return suited.steps(size.atoms)
    words = ["system=SYS", "data=MD", *question.overrides]
    settings = load_settings(TrainingSettings, find_config(question.config), words)
    given = settings.model_dump(exclude_unset=True).get("optimizer", {})
    return (
        int(given["steps"]) if isinstance(given, Mapping) and "steps" in given else suited.steps(size.atoms)
    )
