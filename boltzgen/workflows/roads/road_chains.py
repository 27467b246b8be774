"""Walkers that a shipped model moves part by part, where its draws as a whole are worth too little."""

from __future__ import annotations

from boltzgen.workflows.roads.frames import CHECK_SHARE, simulated_check
from boltzgen.workflows.roads.look import Look, look
from boltzgen.workflows.roads.measures import Rate, rate_of_chains
from boltzgen.workflows.roads.road import Expected, Road, Scene, Source

#: Effective share of a pilot of plain draws below which walkers are moved instead: from some per cent on,
#: draws adapted to the molecule are worth more, and have no memory.
POOR = 0.02

#: Walkers, in the groups of `sample`.
WALKERS = 128

#: Sweeps in which walkers are expected to forget where they were, and sweeps of the pilot.
FORGOTTEN, PILOT = 10.0, 20.0

#: Share of the time that all of this may take; seconds of the check where no time was given.
SHARE, CHECK = 0.7, 120.0


class Chained(Road):
    """For molecules of a kind that a shipped model knows, but larger than its weights bear."""

    name, order = "chains", 15

    def suits(self, scene: Scene) -> str | None:
        found = look(scene)
        if found is None or (not found.hardly and (not found.knows or found.ess >= POOR)):
            return None
        limit, seconds = scene.walk.limit, self.seconds(scene, found)
        if limit is not None and seconds > SHARE * limit:
            return None
        if found.hardly:
            why = f"{found.told}: {found.lacks}, and moves turn the ring over whatever the flow knows of it"
            return f"{why}, so that walkers are moved part by part"
        return (
            f"{found.told}; moves of its parts are accepted where whole draws are not, so that walkers are "
            "moved part by part"
        )

    def rate(self, scene: Scene, found: Look) -> Rate:
        """What rows of the walkers cost here; measured once."""
        walk = scene.walk
        kept = walk.plan.decided("chains")
        if kept is None:
            rate = rate_of_chains(found.model, walk.system, walk.question.temperature, WALKERS)
            kept = walk.plan.decide("chains", {"before": rate.before, "a_row": rate.a_row})
        return Rate(float(kept["before"]), float(kept["a_row"]))

    def seconds(self, scene: Scene, found: Look) -> float:
        """Pilot and answer, for the precision asked of a state of the least share that counts."""
        rate = self.rate(scene, found)
        independent = found.needed * found.ess  # samples with which draws would reach the precision
        return rate.a_row * (WALKERS * PILOT + FORGOTTEN * independent) + 2 * rate.before

    def expect(self, scene: Scene) -> Expected:
        found, limit = look(scene), scene.walk.limit
        assert found is not None
        check = CHECK if limit is None else CHECK_SHARE * limit
        a_sweep = self.rate(scene, found).a_row * WALKERS
        seconds = self.seconds(scene, found) + check + 20.0
        return Expected(seconds, f"{a_sweep:.2g} s a sweep of {WALKERS} walkers here")

    def steps(self, scene: Scene) -> Source:
        found = look(scene)
        assert found is not None
        check = simulated_check(scene)
        rate = self.rate(scene, found)
        return Source(found.model, check, frames=check, pilot="PILOT_CHAINS", walkers=WALKERS, rate=rate)


ROAD = Chained()
