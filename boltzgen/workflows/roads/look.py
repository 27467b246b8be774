"""A look at the shipped models: does one know such molecules, and what are its draws worth?"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from boltzgen.config.model import load_model
from boltzgen.config.shipped import shipped_models
from boltzgen.ensemble.diagnostics import K_BAD
from boltzgen.ensemble.store import load_ensemble
from boltzgen.generator import Target
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.enough import MARGIN, PILOT
from boltzgen.workflows.roads.measures import seconds_a_sample, seconds_an_energy
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import CHECK_SEED, PILOT_SEED

#: Unfamiliarity up to which a shipped model is tried at all; a pilot draw decides then.
UNFAMILIAR = 120.0

#: Share of a state that the precision is asked of at least: rarer ones have larger errors.
COUNTS = 0.05

#: Share of the time for the frames to check with, where nothing is trained.
CHECK_SHARE = 0.2

#: Seconds that plain draws may take where no time was given.
PATIENCE = 900.0

#: First guess of the effective fraction of draws: it falls so much with each atom above so many, and with
#: every unit of unfamiliarity (the card of the shipped model, 65 molecules; good to a factor of ten).
AN_ATOM, FROM_ATOMS, A_UNIT = 0.15, 20, 0.02

#: What an energy of adapting costs in draws of the same flow (it is learned from many times), and energies
#: with which adapting is worth it.
OF_AN_ENERGY, ENOUGH_ENERGIES = 8.0, 20_000


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
    if "a_sample" not in scene.measured:
        kelvin = walk.question.temperature
        scene.measured["a_sample"] = seconds_a_sample(kept["model"], walk.system, kelvin)
        walk.say(_first_guess(scene, kept["model"], kept["score"]))
    walk.draw("PILOT", kept["model"], PILOT, seed=walk.seed(PILOT_SEED), data=None)
    found = load_ensemble(walk.path("PILOT")).diagnostics()
    precision = walk.question.precision
    ess = found.ess or 0.0  # of independent draws it is always known
    needed = draws_for(ess, precision)
    return Look(kept["model"], kept["score"], ess, found.k_hat, needed, scene.measured["a_sample"])


def draws_for(ess: float, precision: float) -> int:
    """Draws for the `precision` (kT) of a state of share `COUNTS` when the fraction `ess` is effective."""
    return math.ceil(MARGIN / (max(ess, 1e-9) * COUNTS * precision**2))


def _first_guess(scene: Scene, model: str, score: float) -> str:
    """What to expect, before anything was drawn; a pilot corrects it."""
    walk, a_sample = scene.walk, scene.measured["a_sample"]
    guess = math.exp(-AN_ATOM * max(scene.atoms - FROM_ATOMS, 0) - A_UNIT * score)
    drawing = draws_for(guess, walk.question.precision) * a_sample
    adapting = ENOUGH_ENERGIES * OF_AN_ENERGY * a_sample
    shortest = min(drawing, adapting + draws_for(0.1, walk.question.precision) * a_sample)
    text = (
        f"first guess: {model} draws {1 / a_sample:.3g} samples a second here, of which some "
        f"{100 * guess:.1g} % count (by size and unfamiliarity); about "
        f"{math.ceil(1.5 * shortest / 60 + 0.5)} minutes"
    )
    if walk.limit is not None and 1.5 * shortest > walk.limit:
        text += f". The {walk.limit / 60:.3g} minutes given will hardly suffice"
    return text


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


def check_simulation(scene: Scene, part: float) -> defaults.Simulated:
    """How to simulate frames to check a shipped model with, within `part` (a fraction) of the time."""
    how = defaults.simulation(scene.atoms, scene.walk.question.temperature, scene.torsions)
    return fitted(scene, how, part)


def fitted(scene: Scene, how: defaults.Simulated, part: float) -> defaults.Simulated:
    """`how`, shorter where it would take more than `part` (a fraction) of the time."""
    seconds = scene.walk.share(part)
    if seconds is None:
        return how
    if "an_energy" not in scene.measured:
        scene.measured["an_energy"] = seconds_an_energy(scene.system, how)
    return how.within(seconds / scene.measured["an_energy"])


def simulated_check(scene: Scene, part: float = CHECK_SHARE) -> Path:
    """CHECK, simulated from another seed than anything else."""
    walk = scene.walk
    kept = walk.plan.decided("check")
    how = check_simulation(scene, part) if kept is None else defaults.Simulated.of(kept)
    walk.plan.decide("check", how.to_json())
    walk.simulate("CHECK", how, seed=walk.seed(CHECK_SEED), part=part)
    return walk.path("CHECK")
