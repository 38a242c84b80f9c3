"""Who uses the stack while it is hurt: callers of the model, one who promotes, one who follows."""

import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import httpx

from control_plane.serving import stubs
from tests.system.parts import PATIENCE_S, Stack

FLEET, MODEL, LABEL = "default", "half_plus_two", "stable"
API = f"/api/v1/fleets/{FLEET}"
_RATE_S = 0.05
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def through_nginx(stack: Stack, timeout_s: float = 40.0) -> httpx.Client:
    """A client of the control plane, as people have it."""
    return httpx.Client(
        base_url=stack.url,
        verify=ssl.create_default_context(cafile=stack.certificate),
        headers={"Authorization": f"Bearer {stack.token}"},
        timeout=timeout_s,
        trust_env=False,
    )


class Caller(threading.Thread):
    """Does one thing again and again until it is told to end; what goes wrong ends the run."""

    def __init__(self, stack: Stack, told_to_end: threading.Event) -> None:
        super().__init__(daemon=True)
        self.stack, self.told_to_end = stack, told_to_end
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def work(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Wait for its end, and raise what ended it early."""
        self.join(PATIENCE_S * 2)
        assert not self.is_alive(), f"{type(self).__name__} does not end"
        if self.error is not None:
            raise self.error


class ModelCaller(Caller):
    """Asks one model server by label; the other one when that does not answer."""

    def __init__(self, stack: Stack, told_to_end: threading.Event) -> None:
        super().__init__(stack, told_to_end)
        self.answered: Counter[int] = Counter()
        self.second_tries = 0
        self.failures: Counter[str] = Counter()

    def work(self) -> None:
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 200),
        ]
        channels = [
            grpc.insecure_channel(f"127.0.0.1:{one.port}", options=options)
            for one in self.stack.servers
        ]
        services = [stubs.PredictionServiceStub(one) for one in channels]
        turn = 0
        while not self.told_to_end.wait(_RATE_S):
            turn += 1
            self._ask(services[turn % 2], services[(turn + 1) % 2])
        for one in channels:
            one.close()

    def _ask(self, first: Any, second: Any) -> None:
        asked = stubs.PredictRequest()
        asked.model_spec.name, asked.model_spec.version_label = MODEL, LABEL
        try:
            answer = self._answer(first, asked)
            if answer is None:
                self.second_tries += 1
                answer = self._answer(second, asked)
        except grpc.RpcError as error:
            self.failures[f"{error.code().name}: {error.details()}"[:120]] += 1
            return
        if answer is None:
            self.failures["neither server answers"] += 1
        else:
            self.answered[answer] += 1

    def _answer(self, service: Any, asked: Any) -> int | None:
        """The version that answered; None if the server is away."""
        try:
            return int(service.Predict(asked, timeout=5).model_spec.version.value)
        except grpc.RpcError as error:
            gone = error.code() in _AWAY and "label" not in (error.details() or "")
            if gone:
                return None
            raise


class Resolver(Caller):
    """Asks through nginx where the label points, and counts what there is instead of an answer."""

    def __init__(self, stack: Stack, told_to_end: threading.Event) -> None:
        super().__init__(stack, told_to_end)
        self.answered, self.from_memory = 0, 0
        self.unanswered: Counter[str] = Counter()

    def work(self) -> None:
        with through_nginx(self.stack, timeout_s=5.0) as http:
            while not self.told_to_end.wait(_RATE_S):
                try:
                    answer = http.get(f"{API}/models/{MODEL}/labels/{LABEL}")
                except httpx.HTTPError as error:
                    self.unanswered[type(error).__name__] += 1
                    continue
                if answer.is_success:
                    self.answered += 1
                    self.from_memory += "age" in answer.headers
                else:
                    self.unanswered[f"{answer.status_code} {answer.json().get('code', '')}"] += 1


@dataclass
class Acknowledged:
    """What a promotion was answered with."""

    rollout: str
    revision: int
    version: int


class Promoter(Caller):
    """Promotes through nginx, back and forth; each write has a key, and is sent until answered."""

    def __init__(self, stack: Stack, told_to_end: threading.Event) -> None:
        super().__init__(stack, told_to_end)
        self.acknowledged: list[Acknowledged] = []
        self.phases: Counter[str] = Counter()
        self.sent_again = 0
        self.refused: Counter[str] = Counter()

    def work(self) -> None:
        version = 1
        with through_nginx(self.stack) as http:
            while not self.told_to_end.is_set():
                version = 3 - version
                body = {
                    "label": LABEL,
                    "version": version,
                    "force": True,
                    "reason": "back and forth",
                }
                told = self._sent(http, f"{API}/deployments/{MODEL}:promote", body)
                if told is None:
                    continue
                one = told["rollout"]
                self.acknowledged.append(Acknowledged(one["id"], one["to_revision"], version))
                self.phases[self._end(http, one["id"])] += 1

    def _sent(self, http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
        key, deadline = {"Idempotency-Key": uuid.uuid4().hex}, time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = http.post(path, json=body, headers=key)
                if answer.is_success and "rollout" in answer.json():
                    return answer.json()
                if answer.status_code < 500:
                    self.refused[f"{answer.status_code}: {answer.text}"[:160]] += 1
                    return None
            self.sent_again += 1
            time.sleep(0.3)
        raise TimeoutError(f"POST {path} is never answered")

    def _end(self, http: httpx.Client, rollout: str) -> str:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = http.get(f"/api/v1/rollouts/{rollout}")
                if answer.is_success and not answer.json()["live"]:
                    return str(answer.json()["phase"])
            time.sleep(0.1)
        return "still live"

    def lost(self, read: Callable[[str], Any]) -> list[str]:
        """The acknowledged promotions that the control plane does not know of, or otherwise."""
        found = []
        for one in self.acknowledged:
            rollout = read(f"/api/v1/rollouts/{one.rollout}")
            revision = read(f"{API}/revisions/{one.revision}")
            if rollout is None or revision is None or rollout["to_revision"] != one.revision:
                found.append(one.rollout)
        return found


class Follower(Caller):
    """Follows the journal through nginx, and comes back where a stream was cut."""

    def __init__(self, stack: Stack, told_to_end: threading.Event) -> None:
        super().__init__(stack, told_to_end)
        self.seen: list[int] = []
        self.streams = 0

    def work(self) -> None:
        with through_nginx(self.stack, timeout_s=15.0) as http:
            while not self.told_to_end.is_set():
                with suppress(httpx.HTTPError):
                    self._follow(http)
                time.sleep(0.2)

    def _follow(self, http: httpx.Client) -> None:
        after = str(self.seen[-1] if self.seen else 0)
        with http.stream("GET", "/api/v1/events:stream", headers={"Last-Event-ID": after}) as told:
            if not told.is_success:
                return
            self.streams += 1
            for line in told.iter_lines():
                if line.startswith("data: {"):
                    self.seen.append(int(json.loads(line.removeprefix("data: "))["seq"]))
                if self.told_to_end.is_set():
                    return
