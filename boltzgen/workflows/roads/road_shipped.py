"""The shortest road: a shipped model draws, and a simulation checks that it misses nothing."""

from __future__ import annotations

from boltzgen.workflows.roads.look import CHECK_SHARE, PATIENCE, look, simulated_check
from boltzgen.workflows.roads.road import Expected, Road, Scene, Source

#: Share of the time that is left for the draws.
DRAWS_SHARE = 0.65


class Shipped(Road):
    """Plain draws of a shipped model, where a pilot says that the time suffices for what was asked."""

    name, order = "draw", 10

    def suits(self, scene: Scene) -> str | None:
        found = look(scene)
        if found is None or not found.holds:
            return None
        limit = scene.walk.limit
        seconds = found.needed * found.a_sample
        if seconds > (PATIENCE if limit is None else DRAWS_SHARE * limit):
            return None
        return f"{found.told}, so that some {found.needed} draws give {scene.walk.question.precision:.2g} kT"

    def expect(self, scene: Scene) -> Expected:
        found, limit = look(scene), scene.walk.limit
        assert found is not None
        seconds = found.needed * found.a_sample + (120.0 if limit is None else CHECK_SHARE * limit) + 15.0
        return Expected(seconds, f"{1 / found.a_sample:.3g} samples a second here, and frames to check with")

    def steps(self, scene: Scene) -> Source:
        found = look(scene)
        assert found is not None
        check = simulated_check(scene)
        return Source(found.model, check, frames=check)


ROAD = Shipped()
