"""Simulate (or take given frames), train on them and on the energy, draw, check with a second run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import PartialError
from boltzgen.training import suited
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.enough import PILOT as DRAWN
from boltzgen.workflows.roads.frames import fitted, frames_in, give, seconds_of_energies, simulation
from boltzgen.workflows.roads.look import hardly, look, why_not
from boltzgen.workflows.roads.measures import Rate, rate_of_chains, seconds_a_step
from boltzgen.workflows.roads.plan import PARTIAL
from boltzgen.workflows.roads.road import Expected, Road, Scene, Source
from boltzgen.workflows.roads.road_chains import WALKERS
from boltzgen.workflows.roads.walk import CHECK_SEED, PILOT_SEED
from boltzgen.workflows.timing.training import expect_training

#: The shipped configuration that this road trains with.
CONFIG = "run"

#: Steps below which a flow has hardly learned.
FEWEST_STEPS = 120

#: Sweeps that there must be time for before walkers take the place of draws.
FEWEST_SWEEPS = 60

#: Seconds for what is neither simulated nor trained nor drawn.
AROUND = 30.0


class Simulated(Road):
    """For everything else: any molecule whose energy can be evaluated."""

    name, order = "simulate, train, draw", 90

    def suits(self, scene: Scene) -> str | None:
        if scene.walk.question.frames is not None:
            return "frames to train on were given"
        return f"{why_not(scene)}, so that a flow of this molecule is trained from the beginning"

    def expect(self, scene: Scene) -> Expected:
        plan = self._decided(scene)
        energies = 0.0
        if "simulate" in plan:
            runs = [defaults.Simulated.of(plan[name]) for name in ("simulate", "check")]
            energies = seconds_of_energies(scene, *runs)
        config = scene.walk.question.config or CONFIG
        words = [f"system={scene.walk.system}", f"data={scene.walk.path('MD')}"]
        training = expect_training(config, [*words, *self._overrides(scene, plan)]).seconds
        limit, wanted = scene.walk.limit, suited.steps(scene.atoms)
        warning = ""
        if limit is not None and "steps" in plan and plan["steps"] < wanted // 2:
            longer = limit * wanted / max(plan["steps"], 1) / 60
            warning = f"this hardly suffices; about {longer:.0f} minutes would"
        grounds = f"simulations {energies:.0f} s, training {training:.0f} s"
        return Expected(1.2 * (energies + training) + AROUND, grounds, warning)

    def _decided(self, scene: Scene) -> dict[str, Any]:
        """How to simulate, to check and how many steps to train, within the time; decided once."""
        walk, question = scene.walk, scene.walk.question
        kept = walk.plan.decided("training")
        if kept is not None:
            return dict(kept)
        found: dict[str, Any] = {}
        if question.frames is None:
            whole = simulation(scene)
            found["simulate"] = fitted(scene, whole, defaults.SHARES["simulate"]).to_json()
            found["check"] = fitted(scene, defaults.check(whole), defaults.SHARES["check"]).to_json()
        if question.config is None:
            steps, seconds = suited.steps(scene.atoms), walk.share(defaults.SHARES["train"])
            if seconds is not None:
                words = [f"system={walk.system}", f"data={walk.path('MD')}"]
                words += self._overrides(scene, {"steps": steps})
                steps = min(steps, max(int(seconds / seconds_a_step(CONFIG, words)), FEWEST_STEPS))
            found["steps"] = steps
        return dict(walk.plan.decide("training", found))

    def steps(self, scene: Scene) -> Source:
        walk, plan = scene.walk, self._decided(scene)
        if "simulate" in plan:
            for name, seed in (("simulate", walk.seed()), ("check", walk.seed(CHECK_SEED))):
                how = defaults.Simulated.of(plan[name])
                folder = {"simulate": "MD", "check": "CHECK"}[name]
                walk.simulate(folder, how, seed=seed, part=defaults.SHARES[name])
        else:
            give(walk)
        frames = frames_in(walk.path("MD"))
        if frames is None:
            walk.plan.end(PARTIAL, walk.elapsed)
            raise PartialError(
                f"the time was over before {walk.path('MD')} had a frame; give more `time`, the same command "
                "goes on."
            )
        walk.train(walk.question.config or CONFIG, self._overrides(scene, plan))
        pilot = "PILOT" if look(scene) is None else "PILOT_TRAINED"
        left = Source(walk.path("RUN"), frames_in(walk.path("CHECK")), frames=frames, pilot=pilot)
        return self._walking(scene, left) or left

    def _walking(self, scene: Scene, left: Source) -> Source | None:
        """Walkers of the flow of `left` where its draws hardly show a state of a ring that moves turn over.

        None where there is no such state, or no time: what a flow has not learned, moves of rings reach.
        """
        walk, question = scene.walk, scene.walk.question
        if not scene.rings or question.samples is not None:
            return None
        walk.renew(left.model, left.pilot)
        walk.draw(left.pilot, left.model, DRAWN, seed=walk.seed(PILOT_SEED), data=None)
        if not walk.path(left.pilot).is_dir() or not hardly(
            scene, left.pilot, load_ensemble(walk.path(left.pilot))
        ):
            return None
        kept = walk.plan.decided("walking")
        if kept is None:
            rate = rate_of_chains(left.model, walk.system, question.temperature, WALKERS)
            seconds = walk.left()
            enough = seconds is None or rate.before + FEWEST_SWEEPS * WALKERS * rate.a_row < seconds
            kept = walk.plan.decide("walking", {"before": rate.before, "a_row": rate.a_row, "enough": enough})
        if not kept["enough"]:
            return None
        walk.say("the trained flow hardly draws a state of a ring: walkers turn the ring over instead.")
        rate = Rate(float(kept["before"]), float(kept["a_row"]))
        return replace(left, pilot="PILOT_CHAINS", walkers=WALKERS, rate=rate)

    def _overrides(self, scene: Scene, plan: dict[str, Any]) -> list[str]:
        """Departures from the configuration: those given, or those that suit the molecule."""
        question = scene.walk.question
        if question.config is not None:
            return list(question.overrides)
        rows, kelvin = suited.rows(scene.atoms), f"{question.temperature:g}"
        steps = int(plan["steps"])
        return [
            f"optimizer.steps={steps}",
            f"evaluation.every={max(steps // 4, 1)}",
            f"evaluation.temperature={kelvin}",
            f"likelihood.batch_size={rows}",
            f"reweighted.batch_size={rows}",
            f"reweighted.temperatures=[{kelvin}]",
            *question.overrides,
        ]


ROAD = Simulated()
