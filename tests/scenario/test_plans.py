"""What a dry run foretells is what a model server gets, byte for byte.

Between the control plane and each model server stands a wire that passes everything on and keeps
the configs of reloads, with their answers.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import text_format

from control_plane.domain.assigned import owner_label
from control_plane.domain.promotion import DeployRequest, PromoteRequest, RollbackRequest
from control_plane.domain.record import from_json
from control_plane.domain.standing import Status
from control_plane.domain.strategy import Named
from control_plane.domain.strategy_document import parse
from control_plane.services import deployments, fleets, promotion
from control_plane.services.changes import Call, Outcome, Planned
from control_plane.services.commit import nothing_more
from control_plane.services.fleets import ServerRequest
from control_plane.services.plan_view import plan_json
from control_plane.serving import stubs
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.config import config_text
from control_plane.store import catalog, strategies
from control_plane.store import fleets as store
from control_plane.store.database import installation
from tests.scenario.stage import FLEET, TOLD, DevServer, Stage, now, until

RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
NAMES = ("a", "b")
UseCase = Callable[[Call], Awaitable[Outcome]]


@dataclass
class Wire(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Passes calls on to a model server; keeps what reloads carry and what comes of them."""

    channel: Any
    configs: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def service(self, details: Any) -> Any:
        method = details.method

        async def passed_on(request: bytes, context: Any) -> bytes:
            call = self.channel.unary_unary(method)(request, timeout=context.time_remaining())
            if method == RELOAD:
                config = stubs.ReloadConfigRequest.FromString(request).config
                self.configs.append(text_format.MessageToString(config))
                self.codes.append((await call.code()).name)
            try:
                answer: bytes = await call
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details())
                raise
            return answer

        return grpc.unary_unary_rpc_method_handler(passed_on)


@dataclass
class Wired:
    """A stage whose servers are reached by wires."""

    stage: Stage
    wires: dict[str, Wire] = field(default_factory=dict)
    opened: list[Any] = field(default_factory=list)

    async def server(self, name: str) -> None:
        made = self.stage.servers[name] = DevServer(name, self.stage.home, {})
        made.start()
        channel = grpc.aio.insecure_channel(made.address)
        wire = self.wires[name] = Wire(channel)
        proxy = grpc.aio.server()
        proxy.add_generic_rpc_handlers((wire,))
        port = proxy.add_insecure_port("127.0.0.1:0")
        await proxy.start()
        self.opened += [proxy, channel]
        address = f"127.0.0.1:{port}"
        request = ServerRequest(address, name, take_over=True, flags=TOLD)
        await fleets.add_server(
            self.stage.db, FLEET, request, actor="test", now=now(), commit=nothing_more
        )
        self.stage.clients[name] = GrpcModelServer(address)

    async def close(self) -> None:
        for one in self.opened:
            await (one.stop(None) if hasattr(one, "stop") else one.close())

    async def settled(self) -> None:
        """Wait until every server is ready, and what was seen of it last is written."""
        for name, wire in self.wires.items():
            await self.stage.settles(name, Status.READY)
            last = wire.configs[-1]
            await until(partial(self._written, name), last.__eq__)

    async def _written(self, name: str) -> str:
        async with self.stage.db.read() as s:
            document = await store.observed(s, FLEET, name) or {}
            owner = owner_label(await installation(s), FLEET)
        verified = from_json(document).verified
        return config_text(verified.config, verified.marker, owner) if verified else ""

    async def foretold(self, use_case: UseCase) -> dict[str, Any]:
        """Rehearse it, do it, and hold what the servers got against the plan."""
        planned = await use_case(call(dry_run=True))
        assert isinstance(planned, Planned)
        plan = plan_json(planned)
        for wire in self.wires.values():
            wire.configs.clear()
            wire.codes.clear()

        def agreed(again: Planned) -> dict[str, Any]:
            assert plan_json(again)["plan_hash"] == plan["plan_hash"]
            return plan

        await self.stage.done(self.stage._started(await use_case(replace(call(), agreed=agreed))))
        await self.settled()
        for name, wire in self.wires.items():
            told = [one["config"] for one in plan["reloads"] if one["server"] == name]
            assert wire.configs == told
            assert set(wire.codes) <= {"OK"}
        return plan


ids = iter(range(1, 1000))


def call(*, dry_run: bool = False) -> Call:
    return Call("test", now(), f"p{next(ids)}", "a plan", dry_run)


@pytest.fixture
async def wired(stage: Stage) -> AsyncIterator[Wired]:
    made = Wired(stage)
    for name in NAMES:
        await made.server(name)
    await stage.start_loop()
    yield made
    await stage.stop_loop()
    await made.close()


def deploy(stage: Stage, model: str, *versions: int, **labels: int) -> UseCase:
    request = DeployRequest(frozenset(versions), labels, keep_previous=1)
    return lambda call: deployments.put_deployment(stage.db, FLEET, model, request, call)


def promote(stage: Stage, model: str, version: int) -> UseCase:
    request = PromoteRequest(version=version, force=True)
    return lambda call: promotion.promote(stage.db, FLEET, model, request, call)


def rollback(stage: Stage, model: str, to_version: int | None = None) -> UseCase:
    request = RollbackRequest(to_version=to_version)
    return lambda call: promotion.rollback(stage.db, FLEET, model, request, call)


def undeploy(stage: Stage, model: str) -> UseCase:
    return lambda call: deployments.undeploy(stage.db, FLEET, model, call)


def words(plan: dict[str, Any], server: str = "a") -> list[str]:
    return [one["why"] for one in plan["reloads"] if one["server"] == server]


async def test_every_reload_of_a_models_life_was_foretold(wired: Wired) -> None:
    stage = wired.stage
    await stage.model("half_plus_two", 1, 2, 3)
    await stage.model("scaled", 1, of="scaled")
    first = await wired.foretold(deploy(stage, "half_plus_two", 1, stable=1))
    assert words(first)[-1] == "half_plus_two: stable → 1"
    assert first["rollback"] is None
    await wired.foretold(deploy(stage, "scaled", 1, stable=1))
    plan = await wired.foretold(promote(stage, "half_plus_two", 2))
    assert words(plan) == ["load half_plus_two 2", "half_plus_two: stable → 2"]
    assert plan["rollback"] == "instant"
    plan = await wired.foretold(promote(stage, "half_plus_two", 3))
    assert words(plan)[-1] == "drop half_plus_two 1"
    plan = await wired.foretold(rollback(stage, "half_plus_two"))
    assert words(plan)[0] == "half_plus_two: stable → 2"
    assert plan["rollback"] == "instant"
    plan = await wired.foretold(rollback(stage, "half_plus_two", 1))
    assert words(plan)[0] == "load half_plus_two 1"
    assert plan["rollback"].endswith(" s load")
    await wired.foretold(undeploy(stage, "scaled"))
    await wired.foretold(undeploy(stage, "half_plus_two"))


async def test_where_memory_is_short_room_is_made_first_as_foretold(wired: Wired) -> None:
    stage = wired.stage
    await stage.model("m", 1, 2, 3)
    await wired.foretold(deploy(stage, "m", 1, stable=1))
    await wired.foretold(promote(stage, "m", 2))
    async with stage.db.begin() as s:
        sizes = await catalog.sizes(s, ["m"])
        a = await store.server(s, FLEET, "a")
        two_bytes = round(1.2 * (sizes["m", 2] + sizes["m", 3]))
        await store.save_server(s, replace(a, memory_bytes=two_bytes), None)
    plan = await wired.foretold(promote(stage, "m", 3))
    room = ["drop m 1 to make room", "load m 3", "m: stable → 3"]
    assert (words(plan, "a"), words(plan, "b")) == (room, room)
    assert plan["memory"]["a"]["fits"]
    assert "m 1 goes before anything is loaded: memory is short on a" in plan["warnings"]


async def test_models_that_move_together_are_foretold_together(wired: Wired) -> None:
    stage = wired.stage
    for model in ("m", "n"):
        await stage.model(model, 1, 2)
        await wired.foretold(deploy(stage, model, 1, stable=1))
    items = [(model, PromoteRequest(version=2, force=True)) for model in ("m", "n")]
    plan = await wired.foretold(lambda call: promotion.promote_group(stage.db, FLEET, items, call))
    assert words(plan) == ["load m 2; load n 2", "m: stable → 2; n: stable → 2"]


async def test_the_waves_of_a_strategy_are_foretold_server_by_server(wired: Wired) -> None:
    stage = wired.stage
    await stage.model("m", 1, 2)
    await wired.foretold(deploy(stage, "m", 1, stable=1))
    canary = {"canary": {"label": "canary", "servers": 1}}
    steps = ["load", canary, {"bake": {"seconds": 0.1}}, {"promote": {"waves": [1, "all"]}}]
    async with stage.db.begin() as s:
        assert await strategies.add(s, Named("waves", 1, parse({"steps": steps}), now(), "test"))
    request = PromoteRequest(version=2, strategy="waves", force=True)
    plan = await wired.foretold(lambda call: promotion.promote(stage.db, FLEET, "m", request, call))
    moves = ["load m 2", "m: canary → 2", "m: stable → 2"]
    assert (words(plan, "a"), words(plan, "b")) == (
        moves,
        ["load m 2", "m: canary → 2, stable → 2"],
    )
