"""A shipped model goes on to the one molecule by energies alone, then draws; a simulation checks it."""

from __future__ import annotations

from boltzgen.workflows.roads.frames import CHECK_SHARE, simulated_check
from boltzgen.workflows.roads.look import ENOUGH_ENERGIES, OF_AN_ENERGY, Look, draws_for, look
from boltzgen.workflows.roads.road import Expected, Road, Scene, Source

#: Energies to adapt with: as many as docs/transfer.md was measured with, and the fewest worth a try.
BUDGET, FEWEST = 100_000, 3_000

#: Share of the time for adapting; effective fraction that is expected of it at least, and at most.
ADAPT_SHARE, EXPECTED, BEST = 0.45, 0.1, 0.6


class Adapted(Road):
    """For molecules of a kind that a shipped model knows, of which its draws are not worth enough."""

    name, order = "adapt", 20

    def suits(self, scene: Scene) -> str | None:
        found = look(scene)
        if found is None or not found.knows:
            return None
        return f"{found.told}: {found.lacks}, so that it is adapted to this molecule first"

    def expect(self, scene: Scene) -> Expected:
        found = look(scene)
        assert found is not None
        budget = self.budget(scene, found)
        limit, precision = scene.walk.limit, scene.walk.question.precision
        ess = min(max(EXPECTED, 5 * found.ess), BEST)
        draws = draws_for(ess, precision) * found.a_sample
        check = 120.0 if limit is None else CHECK_SHARE * limit
        a_energy = OF_AN_ENERGY * found.a_sample
        seconds = budget * a_energy + draws + check + 20.0
        warning = ""
        if limit is not None and ((budget < ENOUGH_ENERGIES and found.few) or seconds > limit):
            whole = ENOUGH_ENERGIES * a_energy + draws + 120.0
            warning = f"this hardly suffices; about {max(whole, 1.2 * limit) / 60:.0f} minutes would"
        return Expected(
            seconds, f"{budget} energies to adapt, {1 / found.a_sample:.3g} samples a second", warning
        )

    def budget(self, scene: Scene, found: Look) -> int:
        """Energies to adapt with, in thousands, within their share of the time."""
        kept = scene.walk.plan.decided("budget")
        if kept is None:
            seconds = scene.walk.share(ADAPT_SHARE)
            within = BUDGET if seconds is None else seconds / (OF_AN_ENERGY * found.a_sample)
            kept = int(min(BUDGET, max(within, FEWEST)) // 1000 * 1000)
        return int(scene.walk.plan.decide("budget", kept))

    def steps(self, scene: Scene) -> Source:
        found = look(scene)
        assert found is not None
        check = simulated_check(scene)
        scene.walk.adapt(found.model, self.budget(scene, found))
        if not (scene.walk.path("RUN") / "model" / "model.json").is_file():  # the time was over before
            return Source(found.model, check, frames=check, pilot=found.pilot)
        return Source(scene.walk.path("RUN"), check, frames=check, pilot="PILOT_ADAPTED")


ROAD = Adapted()
