"""A control plane with two servers, whose rollouts take every kind of step and run every hook."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from control_plane.client import calls, hook_calls, strategy_calls
from control_plane.client.answers import Rollout
from control_plane.client.calls import DeploymentSpec, Promotion, Rollback, ServerSpec
from control_plane.domain.hook import Moment
from tests.faults.processes import FLEET, MODEL, MODELS, ControlPlane, Server, Zygote, eventually
from tests.scenario.hook_target import Asked, HookTarget, Reply, hook_target

POLL_S = 0.1
LABELS = ("stable", "canary")
PASS = Reply(body=b'{"verdict": "pass", "reason": "good"}')
FAIL = Reply(body=b'{"verdict": "fail", "reason": "bad"}')
HANG = Reply(hangs=True)
BETWEEN, LOAD, DOUBT, CANARY, BAKE, GATE, WORD, FIRST, LAST, DRAIN, RETIRE = range(-1, 10)


@dataclass(frozen=True)
class Place:
    """Where in a rollout of the strategy `every` a control plane is killed."""

    at: int = BETWEEN  # the number of the step under way
    stuck: tuple[int, int] | None = None  # in which step a server stops, or it were over too soon
    moved: int = 0  # on how many servers the label has moved by then


PLACES: Mapping[str, Place] = {
    "before_load": Place(),
    "load": Place(LOAD),
    "after_load": Place(),
    "before_promote": Place(),
    "canary": Place(CANARY, stuck=(DOUBT, 1)),
    "bake": Place(BAKE),
    "gate": Place(GATE),
    "approve": Place(WORD),
    "first wave": Place(FIRST, stuck=(WORD, 0)),
    "last wave": Place(LAST, stuck=(WORD, 1), moved=1),
    "after_promote": Place(moved=2),
    "before_unload": Place(moved=2),
    "drain": Place(DRAIN, moved=2),
    "retire": Place(RETIRE, stuck=(DRAIN, 1), moved=2),
    "after_unload": Place(moved=2),
}
HOOKS = tuple(name for name, one in PLACES.items() if one.at == BETWEEN)


class Plane:
    """What runs, what people do with it, and what is seen of it."""

    def __init__(self, control: ControlPlane, servers: list[Server], target: HookTarget) -> None:
        self.control, self.servers, self.target = control, servers, target
        self.new, self.old, self.older = 2, 1, 0  # promoted last, stable before it, kept before
        self.last = 2  # no version is promoted twice
        self.approved: set[int] = set()
        self.stopped: set[int] = set()

    def send(self, call: Any) -> Any:
        return self.control.client.send(call)

    def set_up(self, home: Path) -> None:
        """Version 2 is stable everywhere, version 1 is kept; each promotion goes to a new one."""
        for version in range(1, 30):
            shutil.copytree(MODELS / MODEL / "1", home / MODEL / str(version))
        self.send(calls.add_model(MODEL, str(home / MODEL)))
        self.send(calls.scan(MODEL))
        flags = {"file_system_poll_wait_seconds": POLL_S, "max_num_load_retries": 0}
        for number, server in enumerate(self.servers):
            spec = ServerSpec(server.address, f"s{number}", take_over=True, flags=flags)
            self.send(calls.add_server(FLEET, spec))
        self.deploy(1, 2, stable=1)
        self.deploy(1, 2, stable=2)
        self._strategies()
        for moment in Moment:
            self.send(hook_calls.add_hook(self._hook(moment)))

    def _strategies(self) -> None:
        person = {"approve": {"count": 1, "exclude_author": False}}
        gate = {"gate": {"kind": "http", "url": self.target.url("/gate", PASS), "timeout_s": 60}}
        waves = {"promote": {"waves": [1, "100%"]}}
        for name, pause_s in (("every", 0.1), ("slow", 1.5)):
            pause = {"seconds": pause_s}
            begin = ["load", person, "canary", {"bake": pause}, gate, person]
            steps = [*begin, waves, {"drain": pause}, "retire"]
            self.send(strategy_calls.put_strategy(name, {"steps": steps}))
        self.send(
            strategy_calls.put_strategy("early", {"steps": ["load", gate, "canary", "promote"]})
        )

    def _hook(self, moment: Moment) -> dict[str, Any]:
        many = moment in (Moment.AFTER_LOAD, Moment.BEFORE_UNLOAD)
        told = {"http": {"url": self.target.url(f"/{moment}", Reply())}, "timeout_s": 60}
        events = {"events": ["rollout.ended"]} if moment is Moment.ON_EVENT else {}
        scope = {"scope": "server" if many else "rollout"}
        return {"name": moment, "moment": moment, **told, **scope, **events}

    # What happens -------------------------------------------------------------------------------

    def promote(self, strategy: str, *places: str, gate: Reply = PASS) -> str:
        """Start a promotion that hangs in those of the places that are asked of the target."""
        self._next()
        self.approved.clear()
        self.target.asked.clear()
        for place in (*HOOKS, "on_failure", "gate"):
            good = gate if place == "gate" else Reply()
            self.target.url(f"/{place}", *([HANG, good] if place in places else [good]))
        if "load" in places:
            self.stop(1)  # from the start: nothing that a test could see comes before it
        promotion = Promotion(version=self.new, strategy=strategy, force=True)
        return str(self.send(calls.promote(FLEET, MODEL, promotion))["rollout"]["id"])

    def _next(self) -> None:
        self.last += 1
        self.older, self.old, self.new = self.old, self.new, self.last

    def failed(self) -> None:
        """The version that was promoted last is gone; everything is as it was before."""
        self.new, self.old = self.old, self.older

    def deploy(self, *versions: int, stable: int) -> None:
        """Say by hand what is served; the label for trying out goes along."""
        labels = dict.fromkeys(LABELS, stable)
        spec = DeploymentSpec(versions, labels, keep_previous=1, force=True)
        self.succeeded(self.send(calls.deploy(FLEET, MODEL, spec)))

    def promote_at_once(self) -> None:
        self._next()
        promotion = Promotion(version=self.new, strategy="direct", force=True)
        self.succeeded(self.send(calls.promote(FLEET, MODEL, promotion)))

    def roll_back(self, version: int) -> str:
        self.target.asked.clear()
        back = calls.roll_back(FLEET, MODEL, Rollback(to_version=version))
        return str(self.send(back)["rollout"]["id"])

    def succeeded(self, started: Any) -> None:
        ended = self.control.over(started["rollout"]["id"])
        assert ended["phase"] == "succeeded", ended["sentence"]

    def bring(self, rollout_id: str, place: str) -> None:
        """Let a rollout go on until it is inside a place."""

        def inside(rollout: Rollout) -> bool:
            self.tend(rollout, place)
            return under_way(rollout) == PLACES[place].at and self.shows(place)

        eventually(lambda: self.control.rollout(rollout_id), inside)

    def tend(self, rollout: Rollout, place: str = "") -> None:
        """Be the people that it waits for; stop a server in time."""
        at, here = under_way(rollout), PLACES.get(place, Place())
        approving = at != BETWEEN and rollout["steps"][at]["name"] == "approve"
        if here.stuck is not None and here.stuck[0] == at:
            self.stop(here.stuck[1])
        if approving and at != here.at and at not in self.approved:
            self.approved.add(at)
            self.send(calls.steer(rollout["id"], "approve"))

    def stop(self, number: int) -> None:
        self.stopped.add(number)
        self.servers[number].stop()

    def go_on(self) -> None:
        for number in self.stopped:
            self.servers[number].go_on()
        self.stopped.clear()

    def kill(self) -> datetime:
        """End the control plane with -9 and start it anew; return when it was gone."""
        self.control.kill()
        at = datetime.now(UTC)
        self.control.start()
        return at

    def finish(self, rollout_id: str) -> Any:
        def over(rollout: Rollout) -> bool:
            self.tend(rollout)
            return not rollout["live"]

        def told(rollouts: set[str]) -> bool:
            return rollout_id in rollouts

        ended = eventually(lambda: self.control.rollout(rollout_id), over)
        eventually(lambda: {one.body["rollout"] for one in self.target.at("/on_event")}, told)
        return ended

    # What is seen -------------------------------------------------------------------------------

    def shows(self, place: str) -> bool:
        """Whether what a place is about has begun, as others see it."""
        one = self.servers[0]
        match place:
            case "load":
                return one.state(self.new) != ""
            case "canary":
                return one.label("canary") == self.new
            case "last wave":
                return one.label() == self.new
            case "retire":
                return one.state(self.older) == "END"
            case "bake" | "approve" | "first wave" | "drain":
                return True
            case _:
                return bool(self.target.at(f"/{place}"))

    def asked(self, *but: str) -> list[Asked]:
        """What hooks and gates asked since the last rollout began, in order."""
        return [one for one in self.target.asked if one.path not in but]

    def check_labels(self, place: str) -> None:
        """The label is where the rollout has brought it, on every server that answers."""
        for number, one in enumerate(self.servers):
            if number not in self.stopped:
                moved = number < PLACES[place].moved
                assert one.label() == (self.new if moved else self.old)

    def serving(self, server: Server) -> dict[str, Any]:
        """What a server itself says, in words that are the same for every promotion."""
        names = {self.new: "new", self.old: "old", self.older: "older"}
        told = {label: names.get(server.label(label)) for label in LABELS}
        return told | {name: server.state(version) for version, name in names.items()}

    def story(self, rollout: Any) -> dict[str, Any]:
        """How a rollout went, without what differs from one to the next."""
        events = self.control.client.items(calls.events(model=MODEL))
        ours = [one for one in events if one.get("rollout") == rollout["id"]]
        told = [one for one in ours if not one["kind"].startswith("hook.")]
        return {
            "end": (rollout["phase"], rollout["sentence"], rollout["laggards"]),
            "steps": [(one["name"], one["phase"], one["servers"]) for one in rollout["steps"]],
            "events": [(one["kind"], one["data"].get("step", "")) for one in told],
            "hooks": sorted((one["name"], one["server"], one["state"]) for one in rollout["hooks"]),
            "ended": sorted(one["data"]["hook"] for one in ours if one["kind"] == "hook.ended"),
            "asked": list(dict.fromkeys(one.path for one in self.asked("/on_event"))),
            "servers": [self.serving(one) for one in self.servers],
        }


def under_way(rollout: Rollout) -> int:
    """The number of the step under way; -1 between two."""
    begun = (n for n, one in enumerate(rollout["steps"]) if one["phase"] == "progressing")
    return next(begun, BETWEEN)


@contextmanager
def answering() -> Iterator[HookTarget]:
    """A target that answers in a thread of its own."""
    ready: Future[tuple[HookTarget, Callable[[], object]]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(_answer(ready),))
    thread.start()
    target, end = ready.result(10)
    try:
        yield target
    finally:
        end()
        thread.join()


async def _answer(ready: "Future[tuple[HookTarget, Callable[[], object]]]") -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    async with hook_target() as target:
        ready.set_result((target, lambda: loop.call_soon_threadsafe(ended.set)))
        await ended.wait()


@contextmanager
def running_plane(zygote: Zygote, home: Path, database_url: str = "") -> Iterator[Plane]:
    servers = [Server(home, name, POLL_S) for name in ("one", "two")]
    control = ControlPlane(zygote, home, database_url)
    try:
        with answering() as target:
            control.start()
            made = Plane(control, servers, target)
            made.set_up(home)
            yield made
    finally:
        control.kill()
        control.client.close()
        for one in servers:
            one.close()
