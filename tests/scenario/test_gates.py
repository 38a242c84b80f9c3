import json
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.request_set import RequestSet
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.strategy import CANARY as BUILT_IN
from control_plane.domain.strategy import GateSpec, Named, spec_json
from control_plane.domain.strategy_document import parse
from control_plane.services import promotion, request_sets
from control_plane.services.commit import nothing_more
from control_plane.store import catalog, strategies
from control_plane.store import fleets as store
from tests.contract.pages import Pages, pages
from tests.contract.recordings import half, predicted, sentiment, tfrecord, write_warm_up
from tests.scenario.stage import FLEET, MODELS, Resolved, Stage, now, until

REPLAY = {"gate": {"kind": "replay", "tolerance": {"max_abs": 0.01}}}
CANARY = ["load", {"canary": {}}, {"bake": {"seconds": 0.5}}, REPLAY, "promote", "retire"]
TEXTS = [["很"], ["很", "喜欢"], ["喜欢", "喜欢", "喜欢"], ["垃圾"]]
PASSES = b'{"verdict": "pass", "reason": "fine"}'


@pytest.fixture
async def play(stage: Stage) -> AsyncIterator["Play"]:
    made = Play(stage)
    yield made
    await made.stop()


@pytest.fixture
def web() -> Iterator[Pages]:
    with pages() as made:
        yield made


class Play:
    """A stage whose loop judges gates."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.edits = 0

    async def start(self) -> None:
        await self.stage.start_loop()

    async def stop(self) -> None:
        await self.stage.stop_loop()

    async def serve(self, model: str, second: str, requests: Sequence[Any] = ()) -> None:
        """Serve version 1 of a test model; version 2, of another, may bring requests along."""
        path = await self.stage.model(model, 1, of=model)
        shutil.copytree(MODELS / second, path / "2")
        if requests:
            write_warm_up(path / "2", tfrecord(predicted(one) for one in requests))
        await self.stage.scan(model)
        await self.stage.server("a", predicts=True)
        await self.start()
        await self.stage.done(await self.stage.deploy(model, 1, stable=1), 40)

    async def promote(self, model: str, *steps: Any) -> Rollout:
        self.edits += 1
        named = Named("judged", self.edits, parse({"steps": list(steps)}), now(), "test")
        async with self.stage.db.begin() as s:
            assert await strategies.add(s, named)
        request = PromoteRequest(version=2, force=True, strategy="judged")
        outcome = await promotion.promote(self.stage.db, FLEET, model, request, self.stage._call())
        return self.stage._started(outcome)

    async def holds(self, rollout: Rollout, words: str) -> Rollout:
        """Wait until a rollout says that its gate holds for this reason."""

        def told(one: Rollout) -> bool:
            assert one.phase.live, one.sentence
            return words in one.sentence

        return await until(lambda: self.stage.rollout(rollout), told, 20)


async def upload(play: Play, model: str, *bodies: Any) -> RequestSet:
    """Store requests as JSON lines under the name golden."""
    lines = "\n".join(map(json.dumps, bodies)).encode()
    key, db = (model, "golden"), play.stage.db
    return await request_sets.add(db, key, lines, actor="test", now=now(), commit=nothing_more)


def verdict_of(rollout: Rollout, kind: str) -> dict[str, Any]:
    gates = [one for one in rollout.steps if one.name is StepName.GATE]
    (found,) = (one.evidence["verdict"] for one in gates if one.spec["kind"] == kind)
    json.dumps(found, allow_nan=False)
    return dict(found)


async def test_a_canary_that_answers_alike_is_promoted_after_its_bake(play: Play) -> None:
    await play.serve("sentiment", "sentiment/1", [sentiment(*words) for words in TEXTS])
    rollout = await play.stage.done(await play.promote("sentiment", *CANARY), 40)
    assert await play.stage.label("a", "sentiment") == Resolved(2)
    assert await play.stage.label("a", "sentiment", "canary") == Resolved(2)
    verdict = verdict_of(rollout, "replay")
    assert verdict["ruling"] == "pass"
    evidence = verdict["evidence"]["models"]["sentiment"]
    assert (evidence["server"], evidence["current"], evidence["new"]) == ("a", 1, 2)
    assert evidence["requests"] == {"warm_up_of": 2}
    assert (evidence["answered"], evidence["outputs"]["softmax"]["max_abs"]) == (4, 0.0)
    baked = next(one for one in rollout.steps if one.name is StepName.BAKE)
    assert baked.ended_at is not None
    assert baked.started_at is not None
    assert baked.ended_at - baked.started_at >= timedelta(seconds=0.5)


async def test_perturbed_weights_are_rolled_back_and_stable_never_moved(play: Play) -> None:
    await play.serve("sentiment", "perturbed/1")
    bodies = ({"inputs": {"words": [one], "nwords": [len(one)]}} for one in TEXTS)
    made = await upload(play, "sentiment", *bodies)
    async with play.stage.db.begin() as s:  # only the server knows now what callers send
        known = await catalog.version(s, "sentiment", 1)
        await catalog.save_version(s, replace(known, signatures={}), None)
    golden = {"gate": REPLAY["gate"] | {"request_set": "golden"}}
    steps = [golden if one is REPLAY else one for one in CANARY]
    rollout = await play.stage.over(await play.promote("sentiment", *steps), 40)
    assert rollout.phase is Phase.ROLLED_BACK
    evidence = verdict_of(rollout, "replay")["evidence"]["models"]["sentiment"]
    assert evidence["worst_record"] == 3
    assert evidence["requests"] == {"request_set": "golden", "sha256": made.sha256}
    assert "softmax differs by max_abs 0.905 (at most 0.01); worst at record 3" in rollout.sentence
    assert await play.stage.label("a", "sentiment") == Resolved(1)
    reloads = await play.stage.events("server.reloaded")
    assert not any("stable → 2" in one.data["sentence"] for one in reloads)


async def test_what_cannot_be_replayed_fails_and_what_is_not_there_need_not(play: Play) -> None:
    await play.serve("half_plus_two", "half_plus_two/2", [half(1.0)])
    file = play.stage.models / "half_plus_two" / "2" / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes() * 2 + b"junk")
    broken = await ended(play, REPLAY)
    assert (broken.phase, broken.sentence) == (Phase.FAILED, "record 3: not a TFRecord file")
    assert verdict_of(broken, "replay")["evidence"] == {"record": 3}
    file.unlink()
    empty = await ended(play, REPLAY)
    assert empty.phase is Phase.FAILED
    assert empty.sentence.startswith("half_plus_two: nothing to replay: neither version 2 nor 1")
    await upload(play, "half_plus_two", {"instances": [1.0]}, {"instances": [2.0]})
    differing = await ended(play, REPLAY)
    assert "y differs by max_abs 100" in differing.sentence
    source = verdict_of(differing, "replay")["evidence"]["models"]["half_plus_two"]["requests"]
    assert source["request_set"] == "golden"
    await request_sets.delete(
        play.stage.db, ("half_plus_two", "golden"), actor="test", now=now(), commit=nothing_more
    )
    (built_in,) = (one for one in BUILT_IN.strategy.steps if isinstance(one, GateSpec))
    done = await ended(play, dict([spec_json(built_in)]))
    assert done.phase is Phase.SUCCEEDED
    told = verdict_of(done, "replay")["sentence"]
    assert told.startswith("half_plus_two: nothing could be compared: neither version 2 nor 1")


async def ended(play: Play, gate: dict[str, Any]) -> Rollout:
    """Promote with one gate, and wait for whatever end."""
    return await play.stage.over(await play.promote("half_plus_two", "load", gate, "promote"), 40)


async def test_gates_of_every_other_kind_hold_until_they_may_pass(play: Play, web: Pages) -> None:
    await play.serve("half_plus_two", "half_plus_two/2", [half(1.0)])
    web.answers["/metrics"] = (200, b'errors{model="half_plus_two"} 4\n')
    metrics = {
        "kind": "metrics",
        "source": f"{web.url}/metrics",
        "series": {"name": "errors", "labels": {"model": "{model}"}},
        "at_most": 0,
        "window_s": 0.1,
    }
    soon = (now() + timedelta(seconds=1)).isoformat()
    windows = [{"from": "2020-01-01T00:00Z", "to": "2099-01-01T00:00Z", "models": ["other"]}]
    rollout = await play.promote(
        "half_plus_two",
        "load",
        {"gate": {"kind": "schedule", "at": soon}},
        {"gate": {"kind": "freeze", "windows": windows}},
        {"gate": metrics},
        {"gate": {"kind": "probe", "min_requests": 20, "per_s": 50}},
        {"gate": {"kind": "http", "url": f"{web.url}/judge"}},
        "promote",
    )
    await play.holds(rollout, "/judge answers 404")
    await play.stop()  # whoever comes next asks again
    await play.start()
    await play.holds(rollout, "/judge answers 404")
    web.answers["/judge"] = (200, PASSES)
    done = await play.stage.done(rollout, 20)
    assert verdict_of(done, "http")["sentence"] == f"{web.url}/judge says pass: fine"
    assert verdict_of(done, "metrics")["sentence"] == "errors is 0"
    probed = verdict_of(done, "probe")["evidence"]
    assert probed["requests"] >= 20
    assert probed["failures"] == 0
    assert set(probed["by"]) == {"label", "version", "unlabelled"}
    told = json.loads(web.sent[-1])
    assert told["models"] == {"half_plus_two": {"current": 1, "new": 2}}


async def test_servers_with_the_new_version_are_measured_against_the_others(play: Play) -> None:
    await play.stage.model("half_plus_two", 1, 2)
    with pages() as canary, pages() as other:
        for name, web in (("a", canary), ("b", other)):
            web.answers["/m"] = (200, b"asked 100\nfailed 1\n")
            await play.stage.server(name)
            await seen_at(play.stage, name, web.url.removeprefix("http://"))
        await play.start()
        await play.stage.done(await play.stage.deploy("half_plus_two", 1, stable=1))
        gate = {
            "kind": "metrics",
            "path": "/m",
            "series": {"name": "failed"},
            "per": {"name": "asked"},
            "canary_ratio": 2,
            "min_samples": 50,
            "window_s": 0,
        }
        steps = ("load", {"canary": {"servers": 1}}, {"gate": gate}, "promote")
        rollout = await play.promote("half_plus_two", *steps)
        await play.holds(rollout, "waiting for 50 samples")
        other.answers["/m"] = (200, b"asked 200\nfailed 11\n")
        canary.answers["/m"] = (200, b"asked 200\nfailed 51\n")
        over = await play.stage.over(rollout)
    assert over.phase is Phase.ROLLED_BACK
    assert over.sentence == (
        "failed is 0.5 with the new version, 0.1 elsewhere: 5 times (at most 2)"
    )
    assert verdict_of(over, "metrics")["evidence"]["places"]["a"]["increase"] == 50
    for name in ("a", "b"):
        assert await play.stage.label(name, "half_plus_two") == Resolved(1)


async def seen_at(stage: Stage, name: str, rest_address: str) -> None:
    """Tell where a server's own series are."""
    async with stage.db.begin() as s:
        known = await store.server(s, FLEET, name)
        await store.save_server(s, replace(known, rest_address=rest_address), None)
