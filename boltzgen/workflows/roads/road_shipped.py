"""The shortest road: a shipped model draws, and a simulation checks that it misses nothing."""

from __future__ import annotations

from boltzgen.workflows.roads.frames import simulated_check
from boltzgen.workflows.roads.look import PATIENCE, Look, look
from boltzgen.workflows.roads.road import Expected, Road, Scene, Source

#: Share of the time that draws may take; the frames to check with get the rest, within these bounds.
DRAWS_SHARE, LEAST_CHECK, MOST_CHECK = 0.65, 0.2, 0.5

#: Seconds of a check where no time was given, and for what is neither drawn nor simulated.
CHECK, AROUND = 120.0, 15.0


class Shipped(Road):
    """Plain draws of a shipped model, where a pilot says that the time suffices for what was asked."""

    name, order = "draw", 10

    def suits(self, scene: Scene) -> str | None:
        found = look(scene)
        if found is None or not found.holds or found.hardly:
            return None
        limit = scene.walk.limit
        seconds = found.needed * found.a_sample
        if seconds > (PATIENCE if limit is None else DRAWS_SHARE * limit):
            return None
        return f"{found.told}, so that some {found.needed} draws give {scene.walk.question.precision:.2g} kT"

    def expect(self, scene: Scene) -> Expected:
        found, limit = look(scene), scene.walk.limit
        assert found is not None
        check = CHECK if limit is None else self.check_share(scene, found) * limit
        seconds = found.needed * found.a_sample + check + AROUND
        return Expected(seconds, f"{1 / found.a_sample:.3g} samples a second here, and frames to check with")

    def check_share(self, scene: Scene, found: Look) -> float:
        """Share of the time for frames to check with: what the draws leave, they being doubled for safety."""
        limit = scene.walk.limit
        left = 1.0 if limit is None else 0.8 - 2 * found.needed * found.a_sample / limit
        return min(max(left, LEAST_CHECK), MOST_CHECK)

    def steps(self, scene: Scene) -> Source:
        found = look(scene)
        assert found is not None
        check = simulated_check(scene, self.check_share(scene, found))
        return Source(found.model, check, frames=check, pilot=found.pilot)


ROAD = Shipped()
