"""A look at the shipped models: does one know such molecules, and what are its draws worth?"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from boltzgen.config.model import load_model
from boltzgen.config.shipped import shipped_models
from boltzgen.ensemble.diagnostics import ENOUGH_EFFECTIVE, K_BAD
from boltzgen.ensemble.store import load_ensemble
from boltzgen.generator import Target
from boltzgen.workflows.roads.enough import MARGIN, PILOT
from boltzgen.workflows.roads.measures import seconds_a_sample
from boltzgen.workflows.roads.question import in_words
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import PILOT_SEED

#: Unfamiliarity up to which a shipped model is tried at all; a pilot draw decides then.
UNFAMILIAR = 120.0

#: Share of a state that the precision is asked of at least: rarer ones have larger errors.
COUNTS = 0.05

#: Seconds that plain draws may take where no time was given.
PATIENCE = 900.0

#: First guess of the effective fraction of draws: it falls so much with each atom above so many, and with
#: every unit of unfamiliarity (the card of the shipped model, 65 molecules; good to a factor of ten).
AN_ATOM, FROM_ATOMS, A_UNIT = 0.15, 20, 0.02

#: What an energy of adapting costs in draws of the same flow (it is learned from many times; measured: 5.7 on
#: AAAA, 4.3 on ACE-GLY-GLY-NME), and energies with which adapting is worth it.
OF_AN_ENERGY, ENOUGH_ENERGIES = 6.0, 20_000


@dataclass(frozen=True)
class Look:
    """The shipped model that knows the molecule best, and what `PILOT` draws of it were worth.

    score: unfamiliarity. ess: Kish's fraction. needed: draws for the precision asked of a state of share
    `COUNTS`, by the pilot; a_sample: seconds of one here.
    """

    model: str
    score: float
    ess: float
    k_hat: float | None
    needed: int
    a_sample: float

    @property
    def told(self) -> str:
        tail = "" if self.k_hat is None else f", k-hat {self.k_hat:.2f}"
        return (
            f"the shipped model {self.model} knows such molecules (unfamiliarity {self.score:.3g}); "
            f"of {PILOT} pilot draws {100 * self.ess:.2g} % are effective{tail}"
        )

    @property
    def few(self) -> bool:
        """Whether the pilot has fewer effective draws than a state needs."""
        return self.ess * PILOT < ENOUGH_EFFECTIVE

    @property
    def holds(self) -> bool:
        """Whether the pilot's weights are worth an extrapolation."""
        return self.ess * PILOT >= 10 and (self.k_hat is None or self.k_hat <= K_BAD)


def look(scene: Scene) -> Look | None:
    """The look, taken once; None where no shipped model knows such molecules or data were given."""
    walk = scene.walk
    kept = walk.plan.decided("look")
    if kept is None:
        kept = walk.plan.decide("look", _nearest(scene))
    if "model" not in kept:
        return None
    a_sample = walk.plan.decided("a_sample")
    if a_sample is None:
        kelvin = walk.question.temperature
        a_sample = walk.plan.decide("a_sample", seconds_a_sample(kept["model"], walk.system, kelvin))
        walk.say(_second_guess(scene, kept["model"], kept["score"], a_sample))
    walk.draw("PILOT", kept["model"], PILOT, seed=walk.seed(PILOT_SEED), data=None)
    found = load_ensemble(walk.path("PILOT")).diagnostics()
    precision = walk.question.precision
    ess = found.ess or 0.0  # of independent draws it is always known
    needed = draws_for(ess, precision)
    return Look(kept["model"], kept["score"], ess, found.k_hat, needed, a_sample)


def draws_for(ess: float, precision: float) -> int:
    """Draws for the `precision` (kT) of a state of share `COUNTS` when the fraction `ess` is effective."""
    return math.ceil(MARGIN / (max(ess, 1e-9) * COUNTS * precision**2))


def worth(atoms: int, score: float) -> float:
    """First guess of the fraction of draws that count, by size and unfamiliarity."""
    return math.exp(-AN_ATOM * max(atoms - FROM_ATOMS, 0) - A_UNIT * score)


def seconds_with_a_model(ess: float, a_sample: float, precision: float) -> float:
    """Of the shorter road of a shipped model: draws of which the fraction `ess` counts, or adapting."""
    adapting = ENOUGH_ENERGIES * OF_AN_ENERGY * a_sample
    drawing = draws_for(ess, precision) * a_sample
    return 1.5 * min(drawing, adapting + draws_for(0.1, precision) * a_sample) + 30.0


def _second_guess(scene: Scene, model: str, score: float, a_sample: float) -> str:
    """What to expect by the speed of the model, before anything was drawn; a pilot corrects it."""
    walk = scene.walk
    guess = worth(scene.atoms, score)
    seconds = seconds_with_a_model(guess, a_sample, walk.question.precision)
    text = (
        f"second guess: {model} draws {1 / a_sample:.3g} samples a second here, of which some "
        f"{100 * guess:.1g} % count (by size and unfamiliarity); about {in_words(seconds)}"
    )
    if walk.limit is not None and seconds - 30.0 > walk.limit:
        text += f". The {in_words(walk.limit)} given will hardly suffice"
    return f"{text}."


def _nearest(scene: Scene) -> dict[str, object]:
    """The shipped model to which the molecule is the least unfamiliar, and the score; why none, otherwise."""
    question = scene.walk.question
    if question.frames is not None or question.config is not None:
        return {"why": "data or a configuration to train with were given"}
    best: tuple[float, str] | None = None
    for name in shipped_models():
        trained = load_model(Path(name))
        target = Target.from_system(scene.system, isomers=trained.isomers)
        with closing(target):
            known = trained.was_trained_on(target.fingerprint, "")
            found = None if known else target.familiarity(trained.seen, [question.temperature])
            score = 0.0 if known else math.inf if found is None else found.score
        if best is None or (score, name) < best:
            best = (score, name)
    if best is None or best[0] > UNFAMILIAR:
        told = "" if best is None else f" (unfamiliarity {best[0]:.3g}, {UNFAMILIAR:g} at most)"
        return {"why": f"no shipped model knows such molecules{told}"}
    return {"model": best[1], "score": best[0]}


def why_not(scene: Scene) -> str:
    """Why no shipped model is used, for the road that does without."""
    return str((scene.walk.plan.decided("look") or {}).get("why", "no shipped model is good enough"))
