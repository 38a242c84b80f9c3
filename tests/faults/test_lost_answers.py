"""Reloads that are sent and never answered, or never sent: only looking tells what happened."""

import asyncio

import pytest

from control_plane.domain.state import Config, Marker, ReloadAnswer
from control_plane.reconcile.loop import Reconciler
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import FAST, Resolved, Stage, now, until


class Unreliable(GrpcModelServer):
    """A network that loses one reload in its own way."""

    how = ""

    async def reload(
        self, config: Config, marker: Marker | None, owner: str, *, timeout_s: float
    ) -> ReloadAnswer:
        how, Unreliable.how = Unreliable.how, ""
        if how == "request":
            return ReloadAnswer("DEADLINE_EXCEEDED", "lost on its way")
        answer = await super().reload(config, marker, owner, timeout_s=timeout_s)
        if how == "answer":
            return ReloadAnswer("UNAVAILABLE", "the connection broke")
        if how == "for good":
            await asyncio.Event().wait()
        return answer


async def served(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    await stage.server("a")
    stage.loop = Reconciler(stage.db, Unreliable, now, FAST)
    await stage.loop.start()
    await stage.done(await stage.deploy("half_plus_two", 1, 2, stable=1))


@pytest.mark.parametrize("how", ["request", "answer"])
async def test_a_promotion_completes_though_a_reload_is_lost(stage: Stage, how: str) -> None:
    await served(stage)
    Unreliable.how = how
    await stage.done(await stage.promote("half_plus_two", 2), 25)
    assert await stage.label("a", "half_plus_two") == Resolved(2)


async def test_a_successor_finds_out_what_an_open_reload_did(stage: Stage) -> None:
    await served(stage)
    Unreliable.how = "for good"
    rollout = await stage.promote("half_plus_two", 2)
    await stage.answers("a", "half_plus_two", 2)
    assert (await stage.rollout(rollout)).phase.live
    await stage.stop_loop()
    await stage.start_loop()
    await stage.done(rollout)
    assert await stage.label("a", "half_plus_two") == Resolved(2)


async def test_a_lost_answer_is_told_with_its_code(stage: Stage) -> None:
    await served(stage)
    Unreliable.how = "answer"
    await stage.done(await stage.promote("half_plus_two", 2), 25)
    codes = await until(
        lambda: stage.events("server.reloaded"),
        lambda seen: any(one.data["code"] == "UNAVAILABLE" for one in seen),
    )
    assert codes
