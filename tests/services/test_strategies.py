"""Strategies as they are stored, chosen and followed."""

from dataclasses import replace
from typing import Any

import pytest

from control_plane.domain.advance import Facts
from control_plane.domain.errors import (
    Conflict,
    Denied,
    FieldInvalid,
    NotFound,
    PhaseForbids,
    PreconditionFailed,
    StillInUse,
)
from control_plane.domain.events import Event, EventKind
from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.strategy import CANARY, Named
from control_plane.domain.strategy_document import parse
from control_plane.reconcile.rollout import advance_rollout
from control_plane.services import catalog, promotion, strategies
from control_plane.services.changes import Call, Planned, Started
from control_plane.services.commit import nothing_more
from control_plane.services.rollouts import Verb, steer
from control_plane.store.database import Page
from tests.services.world import ALL_REACHED, FAILED, FLEET, REACHED, World, begun, serving

PEOPLE = ["load", {"approve": {"count": 1}}, "promote"]
WAVES = ["load", "canary", {"promote": {"waves": [1, "100%"]}}]


async def put(world: World, name: str, *steps: Any, expected: int | None = None) -> Named:
    event = Event(EventKind.STRATEGY_CHANGED, world.now, "ada")
    strategy = parse({"steps": list(steps)})
    return await strategies.put(
        world.db, name, strategy, event=event, expected=expected, commit=nothing_more
    )


async def delete(world: World, name: str) -> None:
    event = Event(EventKind.STRATEGY_DELETED, world.now, "ada")
    await strategies.delete(world.db, name, event=event, expected=None, commit=nothing_more)


async def set_default(world: World, model: str, name: str) -> None:
    await catalog.change_model(
        world.db,
        model,
        {"default_strategy": name},
        expected_rv=None,
        event=Event(EventKind.MODEL_CHANGED, world.now, "ada"),
        commit=nothing_more,
    )


async def promote(
    world: World, strategy: str = "", version: int = 2, model: str = "m", label: str = "stable"
) -> Started:
    request = PromoteRequest(label, version, strategy=strategy)
    return begun(await promotion.promote(world.db, FLEET, model, request, world.call()))


async def serve_one(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))


def by(world: World, actor: str, reason: str = "") -> Call:
    return replace(world.call(reason), actor=actor)


def names(rollout: Rollout) -> list[str]:
    return [str(one.name) for one in rollout.steps]


async def test_an_edit_gets_the_next_number_and_the_old_ones_stay(world: World) -> None:
    first = await put(world, "slow", "load", "promote")
    second = await put(world, "slow", *WAVES)
    assert (first.number, second.number) == (1, 2)
    assert await strategies.show(world.db, "slow") == second
    assert await strategies.show(world.db, "slow", 1) == first
    found = await strategies.edits(world.db, "slow", Page(1))
    assert (found.items, bool(found.next)) == ((second,), True)
    assert (await strategies.edits(world.db, "slow", Page(9, found.next))).items == (first,)
    told = await world.events(EventKind.STRATEGY_CHANGED)
    assert [one.data["number"] for one in told] == [1, 2]


async def test_what_is_so_already_is_no_edit(world: World) -> None:
    first = await put(world, "slow", *WAVES)
    assert await put(world, "slow", *WAVES) == first
    assert len(await world.events(EventKind.STRATEGY_CHANGED)) == 1


async def test_an_edit_says_what_it_was_made_from(world: World) -> None:
    await put(world, "slow", "load", "promote", expected=0)
    with pytest.raises(PreconditionFailed):
        await put(world, "slow", *WAVES, expected=0)
    assert (await put(world, "slow", *WAVES, expected=1)).number == 2


async def test_what_is_built_in_may_be_edited_and_comes_back(world: World) -> None:
    assert (await strategies.show(world.db, "canary")) == CANARY
    await put(world, "canary", *WAVES)
    assert (await strategies.show(world.db, "canary")).number == 1
    await delete(world, "canary")
    assert (await strategies.show(world.db, "canary")) == CANARY
    assert (await put(world, "canary", *WAVES)).number == 3
    assert (await strategies.show(world.db, "canary", 0)) == CANARY


async def test_direct_always_means_the_same(world: World) -> None:
    with pytest.raises(Conflict):
        await put(world, "direct", *WAVES)
    with pytest.raises(Conflict):
        await delete(world, "direct")


async def test_strategies_are_listed_as_they_are_now(world: World) -> None:
    await put(world, "slow", "load", "promote")
    await put(world, "slow", *WAVES)
    await put(world, "gone", *WAVES)
    await delete(world, "gone")
    listed = await strategies.listed(world.db)
    assert [(one.name, one.number) for one in listed] == [("canary", 0), ("direct", 0), ("slow", 2)]
    with pytest.raises(NotFound):
        await strategies.show(world.db, "gone")
    assert (await strategies.show(world.db, "gone", 1)).number == 1


async def test_a_models_default_is_not_deleted(world: World) -> None:
    await put(world, "slow", *WAVES)
    await set_default(world, "m", "slow")
    with pytest.raises(StillInUse, match="m"):
        await delete(world, "slow")
    await set_default(world, "m", "")
    await delete(world, "slow")
    with pytest.raises(FieldInvalid, match="slow"):
        await set_default(world, "m", "slow")


async def test_a_promotion_follows_the_strategy_that_it_names(world: World) -> None:
    await serve_one(world)
    await put(world, "slow", *WAVES)
    outcome = await promote(world, "slow")
    assert names(outcome.rollout) == ["load", "canary", "promote", "promote", "retire"]
    assert (outcome.rollout.strategy, outcome.rollout.strategy_number) == ("slow", 1)
    over = await world.done(outcome)
    assert [one.servers for one in over.steps[2:4]] == [("a",), ("a", "b")]
    assert await world.head() == serving(1, 2, stable=2, canary=2)


async def test_an_edit_never_changes_a_live_rollout(world: World) -> None:
    await serve_one(world)
    await put(world, "slow", *WAVES)
    outcome = await promote(world, "slow")
    await put(world, "slow", "load", "promote")
    stored = await world.rollout(outcome.rollout.id)
    assert names(stored) == ["load", "canary", "promote", "promote", "retire"]
    assert stored.steps[2].spec == {"servers": 1}


async def test_a_promotion_without_a_wish_follows_its_models_default(world: World) -> None:
    await serve_one(world)
    await set_default(world, "m", "canary")
    assert (await promote(world)).rollout.strategy == "canary"


async def test_a_put_that_moves_a_label_follows_the_default_too(world: World) -> None:
    await set_default(world, "m", "canary")
    first = await world.deploy({1}, stable=1)
    assert first.rollout.strategy == "direct"
    await world.done(first)
    loading = await world.deploy({1, 2}, stable=1)
    assert loading.rollout.strategy == "direct"
    await world.done(loading)
    moving = await world.deploy({1, 2}, stable=2)
    assert moving.rollout.strategy == "canary"
    assert names(moving.rollout) == ["load", "bake", "gate", "promote", "retire"]


async def test_a_label_for_trying_out_is_moved_directly(world: World) -> None:
    await serve_one(world)
    await set_default(world, "m", "canary")
    assert (await promote(world, label="canary")).rollout.strategy == "direct"
    with pytest.raises(FieldInvalid, match="canary"):
        await promote(world, "canary", version=3, label="canary")


async def test_an_unknown_strategy_is_refused(world: World) -> None:
    await serve_one(world)
    with pytest.raises(FieldInvalid) as refused:
        await promote(world, "nothing")
    assert refused.value.field == "strategy"


async def test_a_group_follows_one_strategy(world: World) -> None:
    await serve_one(world)
    await world.done(await world.deploy({1}, "other", stable=1))
    await set_default(world, "m", "canary")
    items = [("m", PromoteRequest(version=2)), ("other", PromoteRequest(version=2))]
    with pytest.raises(FieldInvalid, match="different defaults"):
        await promotion.promote_group(world.db, FLEET, items, world.call())
    named = [(model, replace(one, strategy="canary")) for model, one in items]
    outcome = begun(await promotion.promote_group(world.db, FLEET, named, world.call()))
    assert outcome.rollout.strategy == "canary"
    assert (await world.heads())["other"].labels == {"stable": 2, "canary": 2}


async def test_a_dry_run_tells_the_steps_and_changes_nothing(world: World) -> None:
    await serve_one(world)
    request = PromoteRequest(version=2, strategy="canary")
    call = world.call(dry_run=True)
    planned = await promotion.promote(world.db, FLEET, "m", request, call)
    assert isinstance(planned, Planned)
    steps = [str(one.name) for one in planned.plan.steps]
    assert steps == ["load", "canary", "bake", "gate", "promote", "retire"]
    assert await world.head() == serving(1, stable=1)


async def test_a_canary_that_fails_is_taken_back(world: World) -> None:
    await serve_one(world)
    outcome = await promote(world, "canary")
    for _ in range(2):
        await world.step(outcome.rollout.id)
    over = await world.step(outcome.rollout.id, {"a": FAILED, "b": REACHED})
    assert over.phase is Phase.ROLLED_BACK
    assert await world.head() == serving(1, stable=1)
    verified = [one.data["label"] for one in await world.events(EventKind.LABEL_VERIFIED)]
    assert verified == ["stable"]


async def test_a_failed_rollout_is_tried_again_by_the_edit_that_it_followed(world: World) -> None:
    await serve_one(world)
    await put(world, "slow", *WAVES)
    failed = await world.finish(await promote(world, "slow"), {"a": FAILED, "b": REACHED})
    await put(world, "slow", "load", "promote")
    again = await steer(world.db, failed.id, Verb.RETRY, world.call())
    assert (again.strategy, again.strategy_number) == ("slow", 1)
    assert names(again) == names(failed)


async def waiting_for_people(world: World) -> Rollout:
    await serve_one(world)
    await put(world, "people", *PEOPLE)
    outcome = await promote(world, "people")
    return await world.step(outcome.rollout.id)


async def test_somebody_else_approves(world: World) -> None:
    waiting = await waiting_for_people(world)
    with pytest.raises(Denied):
        await steer(world.db, waiting.id, Verb.APPROVE, by(world, "ada"))
    told = await steer(world.db, waiting.id, Verb.APPROVE, by(world, "bob", "looks good"))
    again = await steer(world.db, waiting.id, Verb.APPROVE, by(world, "bob"))
    assert again == told
    events = await world.events(EventKind.ROLLOUT_APPROVED)
    assert [(one.actor, one.reason) for one in events] == [("bob", "looks good")]
    for _ in range(3):
        told = await world.step(told.id)
    assert told.phase is Phase.SUCCEEDED


async def test_somebody_rejects(world: World) -> None:
    waiting = await waiting_for_people(world)
    over = await steer(world.db, waiting.id, Verb.REJECT, by(world, "bob", "not today"))
    assert (over.phase, over.sentence) == (Phase.ABORTED, "rejected by bob: not today")
    assert await world.head() == serving(1, stable=1)
    assert (await world.events(EventKind.ROLLOUT_REJECTED))[0].actor == "bob"


async def test_a_rollout_that_waits_for_nobody_is_not_rejected(world: World) -> None:
    await serve_one(world)
    outcome = await promote(world, "canary")
    for verb in (Verb.APPROVE, Verb.REJECT):
        with pytest.raises(PhaseForbids):
            await steer(world.db, outcome.rollout.id, verb, by(world, "bob"))


async def test_who_promotes_now_is_in_the_journal_with_what_was_skipped(world: World) -> None:
    waiting = await waiting_for_people(world)
    told = await steer(world.db, waiting.id, Verb.PROMOTE_NOW, by(world, "bob", "outage"))
    for _ in range(3):
        told = await world.step(told.id)
    assert told.phase is Phase.SUCCEEDED
    event = (await world.events(EventKind.ROLLOUT_HURRIED))[0]
    assert (event.actor, event.reason, event.data["skipped"]) == ("bob", "outage", ["approve"])


async def test_a_paused_rollout_is_approved_but_does_not_go_on(world: World) -> None:
    waiting = await waiting_for_people(world)
    await steer(world.db, waiting.id, Verb.PAUSE, world.call())
    told = await steer(world.db, waiting.id, Verb.APPROVE, by(world, "bob"))
    assert await world.step(told.id) == told
    await steer(world.db, told.id, Verb.RESUME, world.call())
    assert (await world.step(told.id)).step != told.step


async def test_a_gates_verdict_is_kept_on_its_step(world: World) -> None:
    await serve_one(world)
    await put(world, "judged", "load", {"gate": {"kind": "replay"}}, "promote")
    rollout = (await promote(world, "judged")).rollout
    await world.step(rollout.id)
    facts = Facts(ALL_REACHED, verdict=Verdict(Ruling.FAIL, "record 3 differs", {"worst": 3}))
    over = await advance_rollout(
        world.db, FLEET, rollout.id, facts, epoch=world.epoch, now=world.now
    )
    assert (over.phase, over.sentence) == (Phase.FAILED, "record 3 differs")
    kept = (await world.rollout(over.id)).steps[1].evidence["verdict"]
    assert kept == {"ruling": "fail", "sentence": "record 3 differs", "evidence": {"worst": 3}}


async def test_a_rollback_follows_no_strategy(world: World) -> None:
    await serve_one(world)
    await set_default(world, "m", "canary")
    outcome = await promote(world)
    back = await world.rollback(to_version=1)
    assert (back.rollout.strategy, names(back.rollout)) == ("direct", ["promote", "retire"])
    assert (await world.rollout(outcome.rollout.id)).superseded_by == back.rollout.id
    await world.done(back)
    assert (await world.head()).labels == {"stable": 1}
