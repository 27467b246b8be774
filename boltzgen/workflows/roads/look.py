"""A look at the shipped models: does one know such molecules, and what are its draws worth?"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from boltzgen.config.model import load_model
from boltzgen.config.shipped import shipped_models
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.ensemble.diagnostics import ENOUGH_EFFECTIVE, K_BAD
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.generator import Target
from boltzgen.trust.rings import hardly_drawn
from boltzgen.workflows.roads.enough import MARGIN, PILOT
from boltzgen.workflows.roads.measures import seconds_a_sample
from boltzgen.workflows.roads.question import in_words
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import PILOT_SEED

#: Unfamiliarity up to which a shipped model knows such molecules, and is worth adapting; and up to which it
#: is tried at all: a pilot takes seconds, and small molecules of 120 to 280 had 0.1 to 18 % (docs/run.md).
UNFAMILIAR, TRIED = 120.0, 400.0

#: Models whose unfamiliarity lies so near the least are tried, too; one that is less familiar is taken where
#: its draws are worth so many times as much.
NEAR, BETTER = 100.0, 1.5

#: Share of the time that the pilot of a model may take which hardly knows the molecule.
ON_TRIAL = 0.05

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
    """The shipped model that suits the molecule best, and what `PILOT` draws of it were worth.

    score: unfamiliarity. ess: Kish's fraction. needed: draws for the precision asked of a state of share
    `COUNTS`, by the pilot; a_sample: seconds of one here. pilot: the folder of the draws. hardly: states of
    rings that turn over of which these hold less than they should.
    """

    model: str
    score: float
    ess: float
    k_hat: float | None
    needed: int
    a_sample: float
    pilot: str = "PILOT"
    hardly: tuple[str, ...] = ()

    @property
    def knows(self) -> bool:
        """Whether the model knows such molecules, by its unfamiliarity alone."""
        return self.score <= UNFAMILIAR

    @property
    def told(self) -> str:
        tail = "" if self.k_hat is None else f", k-hat {self.k_hat:.2f}"
        whom = "knows such molecules" if self.knows else "hardly knows such molecules"
        return (
            f"the shipped model {self.model} {whom} (unfamiliarity {self.score:.3g}); "
            f"of {PILOT} pilot draws {100 * self.ess:.2g} % are effective{tail}"
        )

    @property
    def few(self) -> bool:
        """Whether the pilot has fewer effective draws than a state needs."""
        return self.ess * PILOT < ENOUGH_EFFECTIVE

    @property
    def lacks(self) -> str:
        """Why it does not answer as it is."""
        if self.hardly:
            return f"they hardly show {self.hardly[0]}"
        if self.holds:
            return f"some {self.needed} draws would be needed"
        return "too few for an answer" if self.few else "a few draws outweigh all others"

    @property
    def holds(self) -> bool:
        """Whether the pilot's weights are worth an extrapolation."""
        return self.ess * PILOT >= 10 and (self.k_hat is None or self.k_hat <= K_BAD)


def look(scene: Scene) -> Look | None:
    """The look, taken once; None where no shipped model is near enough or data were given.

    Of several models that are near, pilots decide: `better`.
    """
    walk = scene.walk
    kept = walk.plan.decided("near models")
    if kept is None:
        kept = walk.plan.decide("near models", _near(scene))
    best: Look | None = None
    for number, one in enumerate(kept.get("models", ())):
        found = _looked(scene, one["model"], one["score"], "PILOT" if number == 0 else f"PILOT{number + 1}")
        best = better(best, found) if best is not None and found is not None else best or found
    return best


def _looked(scene: Scene, model: str, score: float, pilot: str) -> Look | None:
    """What draws of `model` cost and are worth, by those in the folder `pilot`; None where they cost much."""
    walk = scene.walk
    costs = walk.plan.decided("seconds a sample") or {}
    if model not in costs:
        costs[model] = seconds_a_sample(model, walk.system, walk.question.temperature)
        walk.plan.redecide("seconds a sample", costs)
        walk.say(_second_guess(scene, model, score, costs[model]))
    if score > UNFAMILIAR and walk.limit is not None and PILOT * costs[model] > ON_TRIAL * walk.limit:
        return None
    walk.draw(pilot, model, PILOT, seed=walk.seed(PILOT_SEED), data=None)
    drawn = load_ensemble(walk.path(pilot))
    found = drawn.diagnostics()
    ess = found.ess or 0.0  # of independent draws it is always known
    needed = draws_for(ess, walk.question.precision)
    return Look(model, score, ess, found.k_hat, needed, costs[model], pilot, hardly(scene, pilot, drawn))


def hardly(scene: Scene, pilot: str, drawn: Ensemble) -> tuple[str, ...]:
    """States of rings of which the draws in `pilot` hold less than they should; looked for once.

    Where no move turns a ring over walkers do not help, and none are told.
    """
    if not scene.rings:
        return ()
    plan, name = scene.walk.plan, f"hardly in {pilot}"
    if plan.decided(name) is None:
        moved = bool(RingMoves.of(scene.system))
        kelvin = scene.walk.question.temperature
        plan.decide(name, hardly_drawn(scene.system, drawn, kelvin) if moved else [])
    return tuple(plan.decided(name))


def better(familiar: Look, other: Look) -> Look:
    """Of two models the one to take; `familiar` knows the molecule better, by its unfamiliarity.

    The other one must be worth `BETTER` times as much for each second, and hold where the familiar one does:
    what a model has not learned it may miss without a sign.
    """
    if bool(familiar.hardly) != bool(other.hardly):
        return other if familiar.hardly else familiar
    if familiar.holds != other.holds:
        return familiar if familiar.holds else other
    worth = [one.ess / one.a_sample for one in (familiar, other)]
    return other if worth[1] > BETTER * worth[0] else familiar


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


def _near(scene: Scene) -> dict[str, object]:
    """The shipped models to try, the most familiar first, each with its score; why none, otherwise."""
    question = scene.walk.question
    if question.frames is not None or question.config is not None:
        return {"why": "data or a configuration to train with were given"}
    scores: list[tuple[float, str]] = []
    for name in shipped_models():
        trained = load_model(Path(name))
        target = Target.from_system(scene.system, isomers=trained.isomers)
        with closing(target):
            known = trained.was_trained_on(target.fingerprint, "")
            found = None if known else target.familiarity(trained.seen, [question.temperature])
            scores.append((0.0 if known else math.inf if found is None else found.score, name))
    scores.sort()
    if not scores or scores[0][0] > TRIED:
        told = f" (unfamiliarity {scores[0][0]:.3g}, {TRIED:g} at most)" if scores else ""
        return {"why": f"no shipped model knows such molecules{told}"}
    least = scores[0][0]
    most = min(TRIED, least + NEAR) if least > 0 else 0.0  # where one has seen all of it, no other is asked
    return {"models": [{"model": name, "score": score} for score, name in scores if score <= most]}


def why_not(scene: Scene) -> str:
    """Why no shipped model is used, for the road that does without."""
    found = look(scene)
    if found is not None:
        return f"{found.told}: {found.lacks}"
    kept = scene.walk.plan.decided("near models") or {}
    return str(kept.get("why", "no shipped model that is near draws fast enough"))
