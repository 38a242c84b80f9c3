"""Of three new models one makes a server fail, for hours: it is found, and the others serve."""

from collections.abc import Mapping

import pytest

from control_plane.domain.action import Blocked, Cause, Converged, Plan
from control_plane.domain.observed import Presence
from control_plane.domain.state import Resolved
from tests.unit.simulation import World, path_of

WANTED = {name: (frozenset({1}), {"stable": 1}) for name in "abc"}


class Deceived(World):
    """Storage looks whole from here, whatever the server sees."""

    def storage(self) -> Mapping[str, Presence]:
        return {name: Presence(True, frozenset({1})) for name in self.wants}


def others_move(world: World) -> bool:
    there = {("a", 1), ("b", 1)} <= set(world.machine.serving)
    return there and all(world._label(name, "stable") == Resolved(1) for name in "ab")


@pytest.mark.parametrize("flag", [False, True])
def test_a_model_that_ends_the_server_is_held_back_and_the_others_serve(flag: bool) -> None:
    world = World(labels_flag=flag)
    world.disk.put(path_of("c"), 1, seconds=8.0)
    world.poison.add(("c", 1))
    world.wants = dict(WANTED)
    plan = world.run(180)
    assert isinstance(plan.action, Blocked)
    assert plan.action.cause is Cause.QUARANTINED
    assert plan.action.why.startswith("c 1 is held back")
    assert others_move(world)
    assert world.reached["server ended by a load"] == 3
    ended = world.reached["server ended by a load"]
    world.run(60)
    assert world.reached["server ended by a load"] == ended
    world.poison.clear()
    world.taken_over_at = world.now
    assert isinstance(world.run(60).action, Converged)
    assert not world.observed.suspects


@pytest.mark.parametrize(("gone", "ends"), [((), 3), ((1,), 2)], ids=["base path", "version"])
def test_a_model_that_a_reload_waits_for_in_vain_goes_last_after_the_restart(
    gone: tuple[int, ...], ends: int
) -> None:
    """Without its base path no model is found, so all three are suspects, and tried in turn."""
    world = Deceived()
    world.disk.vanish(path_of("c"), *gone)
    world.wants = dict(WANTED)
    for _ in range(ends):
        assert wedged(world.run(60)).endswith("/models/c/1")
        world.restart()
    plan = world.run(60)
    assert isinstance(plan.action, Blocked)
    assert plan.action.cause is Cause.QUARANTINED
    assert others_move(world)


def wedged(plan: Plan) -> str:
    assert isinstance(plan.action, Blocked)
    assert plan.action.cause is Cause.WEDGED
    return plan.action.why


def test_a_model_that_failed_before_a_restart_goes_last_and_is_named_in_the_servers_words() -> None:
    world = World()
    world.disk.corrupt(path_of("a"), 1, error="bad variables", seconds=3.0)
    world.wants = dict(WANTED)
    world.run(30)
    world.restart()
    world.pushes.clear()
    plan = world.run(60)
    assert isinstance(plan.action, Blocked)
    assert plan.action.why == "a 1 failed to load: bad variables"
    last = next(push for push in world.pushes if "a" in push.models)
    assert last.models["b"].labels == last.models["c"].labels == {"stable": 1}
