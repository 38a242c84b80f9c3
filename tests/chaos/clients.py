"""Who calls the API during a run: they promote, roll back and read, and write down each try."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.ground import BAD, FLEET, GOOD, LABEL, MODELS, Ground, api_of

TRIES = 12
TIMEOUT_S = 2.0
AGAIN_S = 0.4
WATCH_S = 12.0  # how long a rollout is waited for before the next operation


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a client wants, however often it has to ask."""

    name: str  # also its Idempotency-Key and its reason
    verb: str
    model: str
    body: Mapping[str, Any]

    @property
    def path(self) -> str:
        there = f"/fleets/{FLEET}/deployments/{self.model}"
        return there if self.verb == "read" else f"{there}:{self.verb}"


class Client:
    """One caller; it goes through the proxies, to any replica."""

    def __init__(self, ground: Ground, number: int, over: Callable[[], bool]) -> None:
        self._ground, self._over = ground, over
        self._by = f"client:{number}"
        self._chance = random.Random(f"{ground.setup.seed} {self._by}")
        self._count = 0

    async def run(self) -> None:
        """Do one thing after the other until it is over."""
        async with self._ground.http(TIMEOUT_S) as http:
            while not self._over():
                rollout = await self._carried_out(http, self._next())
                if rollout and self._chance.random() < 0.8:
                    await self._watched(http, rollout)
                await asyncio.sleep(self._chance.uniform(0, 0.5))

    def _next(self) -> Operation:
        self._count += 1
        verbs = {"promote": 6, "rollback": 2, "read": 2}
        (verb,) = self._chance.choices([*verbs], [*verbs.values()])
        name = f"{self._by}-{self._count}"
        model = self._chance.choice(MODELS)
        return Operation(name, verb, model, self._body(verb, model, name))

    def _body(self, verb: str, model: str, name: str) -> Mapping[str, Any]:
        match verb:
            case "promote":
                version = self._chance.choice([*GOOD, *GOOD, *GOOD, BAD[model]])
                supersede = self._chance.random() < 0.15
                asked = {"version": version, "label": LABEL, "force": True, "reason": name}
                return {**asked, "supersede": supersede}
            case "rollback":
                target = self._chance.choice([*GOOD, *[None] * 6])
                return {"reason": name} | ({"to_version": target} if target else {})
            case _:
                return {}

    async def _carried_out(self, http: httpx.AsyncClient, wanted: Operation) -> str:
        """Ask until there is an answer; return the rollout that it names."""
        for _ in range(TRIES):
            told = await self._tried(http, wanted)
            if told is not None:
                return told
            await asyncio.sleep(AGAIN_S * self._chance.uniform(0.5, 1.5))
        return ""

    async def _tried(self, http: httpx.AsyncClient, wanted: Operation) -> str | None:
        """Ask once; None: nobody knows whether it happened."""
        replica = self._chance.choice(self._ground.replicas)
        told = {"op": wanted.name, "verb": wanted.verb, "model": wanted.model}
        asked = {**told, "through": replica.name, "version": wanted.body.get("version")}
        asked["version"] = asked["version"] or wanted.body.get("to_version")
        self._ground.pen.write(self._by, "api.call", **asked)
        url = f"{api_of(replica, through_proxy=True)}{wanted.path}"
        try:
            answer = await self._sent(http, url, wanted)
        except httpx.HTTPError as error:
            self._ground.pen.write(self._by, "api.unknown", **told, error=repr(error))
            return None
        return self._read(told, answer)

    async def _sent(self, http: httpx.AsyncClient, url: str, wanted: Operation) -> httpx.Response:
        if wanted.verb == "read":
            return await http.get(url)
        headers = {"Idempotency-Key": wanted.name}
        return await http.post(url, json=wanted.body, headers=headers)

    def _read(self, told: Mapping[str, Any], answer: httpx.Response) -> str | None:
        pen, code = self._ground.pen, answer.status_code
        if code >= 500 or code == 429:
            pen.write(self._by, "api.unknown", **told, error=f"{code} {answer.text[:300]}")
            return None
        body = answer.json()
        if not answer.is_success:
            pen.write(self._by, "api.refused", **told, status=code, code=body.get("code", ""))
            return ""
        rollout = (body.get("rollout") or {}).get("id", "")
        found = {"rollout": rollout, "revision": body.get("revision", 0)}
        pen.write(self._by, "api.ok", **told, status=code, **found)
        return str(rollout)

    async def _watched(self, http: httpx.AsyncClient, rollout: str) -> None:
        """Wait until a rollout is over, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                while not self._over() and await self._is_live(http, rollout):
                    await asyncio.sleep(0.1)

    async def _is_live(self, http: httpx.AsyncClient, rollout: str) -> bool:
        replica = self._chance.choice(self._ground.replicas)
        with suppress(httpx.HTTPError):
            answer = await http.get(f"{api_of(replica)}/rollouts/{rollout}")
            return not answer.is_success or bool(answer.json()["live"])
        return True
