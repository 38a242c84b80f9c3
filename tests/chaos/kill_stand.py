"""A control plane that dies at failpoints, its dev servers, and clients that do not give up.

Whoever asks for something repeats it, with the same Idempotency-Key, until there is an answer; a
process that died is started again, unarmed. Everything is written into the history that
`tests.chaos.checker` reads.
"""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from control_plane.serving import stubs
from tests.chaos.history import Pen
from tests.contract.served import free_port
from tests.faults.plane import answering
from tests.faults.processes import MODELS, Forked, Zygote
from tests.scenario.hook_target import HookTarget

FLEET, PATIENCE_S = "default", 60.0
POLL_S = 0.1  # of the dev servers' file systems
ONE, TWO, HOOKED = "one", "two", "hooked"
HOOKS, ON_EVENT = ("before_promote", "after_promote"), "on_event"
QUICK: Mapping[str, str] = {
    "TFSCTL_AUTH": "off",
    "TFSCTL_OBSERVE_INTERVAL_S": "0.5",
    "TFSCTL_SWEEP_S": "2",
    "TFSCTL_LEASE_TTL_S": "1.5",
    "TFSCTL_LEASE_RENEW_S": "0.4",
    "TFSCTL_SEND_MARGIN_S": "0.3",
}


class Stuck(AssertionError):
    """Something did not happen in time."""


def until(good: Callable[[], bool], what: Callable[[], object], s: float = PATIENCE_S) -> None:
    """Wait for something; fail with what was there instead."""
    ends_at = time.monotonic() + s
    while not good():
        if time.monotonic() > ends_at:
            raise Stuck(f"after {s:g} s: {what()}")
        time.sleep(0.03)


class Served:
    """A dev server without TensorFlow, which writes down what really happened there."""

    def __init__(self, zygote: Zygote, home: Path, name: str) -> None:
        self.name, self.port = name, free_port()
        self.history = home / f"server-{name}.jsonl"
        config = home / f"{name}.config"
        config.write_text("model_config_list {}")
        argv = ["--no_predict", f"--port={self.port}", f"--model_config_file={config}"]
        argv += [f"--file_system_poll_wait_seconds={POLL_S}", "--max_num_load_retries=0"]
        self.process = zygote.devserver(home / "dev.log", [*argv, f"--history_file={self.history}"])
        self._channel = grpc.insecure_channel(self.address)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def label(self, model: str, label: str) -> int:
        """Ask where a label points; -1 if there is no answer."""
        asked = stubs.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name, asked.model_spec.version_label = model, label
        try:
            told = stubs.PredictionServiceStub(self._channel).GetModelMetadata(asked, timeout=5)
        except grpc.RpcError:
            return -1
        return int(told.model_spec.version.value)

    def close(self) -> None:
        self._channel.close()
        self.process.kill()


class Control:
    """One control plane: a process on a port, started again and again."""

    def __init__(self, zygote: Zygote, home: Path, url: str, name: str) -> None:
        self.name, self.log = name, home / f"{name}.log"
        self._zygote, port = zygote, free_port()
        self._settings = {
            **QUICK,
            "TFSCTL_PORT": str(port),
            "TFSCTL_DATABASE_URL": url,
            "TFSCTL_DATA_DIR": str(home),
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.process: Forked | None = None

    @property
    def gone(self) -> bool:
        return self.process is None or self.process.ended()

    def start(self, failpoints: str = "") -> None:
        """Start it; returns when it answers or is dead already."""
        self.kill()
        environment = {**self._settings, "TFSCTL_FAILPOINTS": failpoints}
        self.process = self._zygote.serve(self.log, environment)
        until(lambda: self.gone or self._ready(), lambda: f"{self.name} does not answer")

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def end(self) -> None:
        """End it politely, so that another one may lead at once."""
        if self.process is not None:
            self.process.signal(signal.SIGTERM)
            self.process.ended(10)
        self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None

    def passed(self, failpoint: str) -> bool:
        """Whether an armed failpoint has done what it was armed for."""
        return f"failpoint {failpoint} " in self.log.read_text()

    def close(self) -> None:
        self.kill()
        self.http.close()


class Stand:
    """Two servers, three models, a target for hooks, and the control planes."""

    def __init__(self, zygote: Zygote, home: Path, url: str, target: HookTarget) -> None:
        self.home, self.target = home, target
        self.several = not url.startswith("sqlite")
        self.pen = Pen(home / "clients.jsonl")
        self.servers = [Served(zygote, home, name) for name in ("a", "b")]
        self.control = Control(zygote, home, url, "main")
        self.beside = Control(zygote, home, url, "beside")  # runs only in plays about replicas
        self._asked: list[tuple[str, str, str, Any]] = []  # since the last kill: to be asked again
        self._ops = self._seen = 0
        self._versions = {ONE: 2, TWO: 2, HOOKED: 2}

    def set_up(self) -> None:
        """Version 1 of each model is served, 2 is loaded beside it."""
        names = {one.name: f"server:{one.port}" for one in self.servers}
        self.pen.write("runner", "run", servers=names, flagged=[])
        self.control.start()
        flags = {"file_system_poll_wait_seconds": POLL_S, "max_num_load_retries": 0}
        for one in self.servers:
            server = {"name": one.name, "address": one.address, "take_over": True, "flags": flags}
            self.ask("POST", f"/fleets/{FLEET}/servers", server)
        for model in (ONE, TWO, HOOKED):
            for version in (1, 2):
                self._copy(model, version)
            self.ask("POST", "/models", {"name": model, "base_path": str(self.home / model)})
            self.ask("POST", f"/models/{model}/versions:scan")
        if self.several:
            self.ask("POST", "/fleets", {"name": "other"})
        for moment in (*HOOKS, ON_EVENT):
            events = {"events": ["rollout.ended"]} if moment == ON_EVENT else {}
            http = {"url": self.target.url(f"/{moment}")}
            hook = {"name": moment, "moment": moment, "model": HOOKED, "http": http}
            self.ask("POST", "/hooks", hook | events)
        for model in (ONE, TWO, HOOKED):
            wanted = {"versions": [1, 2], "labels": {"stable": 1}, "force": True}
            self.write("deploy", model, f"/fleets/{FLEET}/deployments/{model}", wanted, "PUT")
        self.settle()

    # What people do -------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for something that is not about what is served, until it is done."""
        self._ops += 1
        return self._until_answered(f"op-{self._ops}", method, path, body)[1]

    def write(self, verb: str, model: str, path: str, body: Any, method: str = "POST") -> Any:
        """Ask for a change of what is served, until it is acknowledged; every try is written."""
        self._ops += 1
        op = f"op-{self._ops}"
        return self._written(op, verb, model, (method, path, {**body, "reason": op}))

    def _written(self, op: str, verb: str, model: str, asked: tuple[str, str, Any]) -> Any:
        about = {"op": op, "verb": verb, "model": model}
        version = asked[2].get("version") or asked[2].get("to_version")
        self.pen.write("client", "api.call", **about, version=version)
        status, told = self._until_answered(op, *asked)
        if not 200 <= status < 300:
            self.pen.write("client", "api.refused", **about, code=told.get("code", status))
            return told
        rollout = (told.get("rollout") or {}).get("id", "")
        done = {"rollout": rollout, "revision": told.get("revision", 0)}
        self.pen.write("client", "api.ok", **about, **done)
        self._asked.append((op, verb, model, asked))
        return told

    def ask_again(self) -> None:
        """Repeat every change that was acknowledged since the last time: it gets its answer."""
        asked, self._asked = self._asked, []
        for one in asked:
            self._written(*one)
        self._asked.clear()

    def _until_answered(self, op: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        told: Any = "nothing"
        ends_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_at:
            self.revive()
            try:
                answer = self.control.http.request(
                    method, f"/api/v1{path}", json=body, headers={"Idempotency-Key": op}
                )
            except httpx.TransportError as error:
                told = error
                continue
            if answer.status_code < 500:
                return answer.status_code, answer.json()
            told = answer.text
            if answer.status_code != 503:
                raise Stuck(f"{method} {path}: {told}")
            time.sleep(0.02)
        raise Stuck(f"{method} {path} gets no answer: {told}")

    def get(self, path: str) -> Any:
        status, told = self._until_answered("", "GET", path, None)
        if status >= 400:
            raise Stuck(f"GET {path}: {told}")
        return told

    def revive(self) -> None:
        """Start the control plane again if it is dead."""
        if self.control.gone:
            self.control.start()

    # What happens with the models -----------------------------------------------------------------

    def deployment(self, model: str) -> Any:
        return self.get(f"/fleets/{FLEET}/deployments/{model}")

    def other(self, model: str) -> int:
        """A version for `stable` that is loaded beside it, or else a new one."""
        told = self.deployment(model)
        loaded = [one for one in told["versions"] if one != told["labels"]["stable"]]
        return int(loaded[-1]) if loaded else self.new(model)

    def new(self, model: str) -> int:
        """Register a version that was never served."""
        self._versions[model] += 1
        version = self._versions[model]
        self._copy(model, version)
        self.ask("POST", f"/models/{model}/versions:scan")
        return version

    def broken(self, model: str) -> int:
        """Register a version that cannot be loaded."""
        self._versions[model] += 1
        version = self._versions[model]
        self._copy(model, version, "corrupt")
        self.ask("POST", f"/models/{model}/versions", {"version": version, "force": True})
        return version

    def _copy(self, model: str, version: int, source: str = "half_plus_two") -> None:
        made = self.home / model / f".{version}"
        shutil.copytree(MODELS / source / "1", made)
        made.rename(self.home / model / str(version))

    def over(self, rollout: str) -> Any:
        """Wait until a rollout has ended."""
        seen: list[Any] = [None]

        def ended() -> bool:
            seen[0] = self.get(f"/rollouts/{rollout}")
            return not seen[0]["live"]

        until(ended, lambda: f"rollout {rollout} is {seen[0]['phase']}: {seen[0]['sentence']}")
        return seen[0]

    # What is seen ---------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until nothing is left to be done, and every server is as it should be."""
        self.revive()
        left: list[str] = []

        def settled() -> bool:
            left[:] = [next(self._left(), "")]  # the first is enough
            return left == [""]

        until(settled, lambda: left[0])
        self.watch()

    def _left(self) -> Iterator[str]:
        for one in self.get(f"/fleets/{FLEET}/deployments")["items"]:
            if one["rollout"] or one["status"]["phase"] != "converged":
                yield f"{one['model']}: {one['status']['sentence']}"
            yield from self._astray(one)
        for one in self.get(f"/fleets/{FLEET}/servers")["items"]:
            if one["status"] != "ready":
                yield f"{one['name']} is {one['status']}: {one['sentence']}"
        ended = self.get(f"/events?kind=rollout.ended&model={HOOKED}&page_size=500")["items"]
        for hook in (*HOOKS, ON_EVENT):
            runs = self.get(f"/hooks/{hook}/runs")["items"]
            yield from (f"hook run {one['request_id']}" for one in runs if not one["ended_at"])
            if hook == ON_EVENT and len(runs) < len(ended):
                yield f"{len(ended) - len(runs)} runs of {hook}"

    def _astray(self, deployment: Any) -> Iterator[str]:
        """Labels that servers themselves do not answer as they should."""
        model = deployment["model"]
        for label, version in deployment["labels"].items():
            seen = {one.label(model, label) for one in self.servers}
            if seen != {version}:
                yield f"{label} of {model} is at {seen}, not {version}"

    def watch(self) -> None:
        """Look at the revisions, and at what is new in the journal."""
        began = time.monotonic()
        found = self.get(f"/fleets/{FLEET}/revisions?page_size=500")["items"]
        numbers = sorted(one["revision"] for one in found)
        self.pen.write("watcher", "revisions.read", numbers=numbers, through="main", began=began)
        events = self.events(self._seen)
        if events:
            seqs = [one["seq"] for one in events]
            self.pen.write("watcher", "events.read", seqs=seqs)
            self._seen = seqs[-1]

    def events(self, after: int = 0) -> list[Any]:
        """All events with a number above `after`."""
        found: list[Any] = []
        while page := self.get(f"/events?after={after}&page_size=500")["items"]:
            found += page
            after = page[-1]["seq"]
        return found

    def finish(self) -> list[Path]:
        """Write what is known at the end, and return the files of the history."""
        for event in self.events():
            self.pen.write("runner", "journal", event=event)
        for hook in self.get("/hooks")["items"]:
            for run in self.get(f"/hooks/{hook['name']}/runs")["items"]:
                self.pen.write("runner", "hook.run", run=run, hook=hook)
        for asked in (one for hook in (*HOOKS, ON_EVENT) for one in self.target.at(f"/{hook}")):
            told = {"id": asked.headers["x-request-id"], "rollout": asked.body["rollout"]}
            self.pen.write("runner", "hook.asked", **told)
        self.pen.write("runner", "end")
        return [self.home / "clients.jsonl", *(one.history for one in self.servers)]

    def close(self) -> None:
        for control in (self.control, self.beside):
            control.close()
        for one in self.servers:
            one.close()
        self.pen.close()


@contextmanager
def standing(zygote: Zygote, home: Path, url: str) -> Iterator[Stand]:
    """A stand that is set up."""
    with answering() as target:
        stand = Stand(zygote, home, url, target)
        try:
            stand.set_up()
            yield stand
        finally:
            stand.close()


def chance_of(seed: int, name: str) -> random.Random:
    """The chances of one failpoint: the same whatever else is run."""
    return random.Random(f"{seed} {name}")
