"""Who looks on during a run: watchers of each replica, and callers of the servers by label."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.chaos.ground import FLEET, LABEL, MODELS, Ground, Placed, answer_of, api_of, calls_of

LOOK_S, LIST_S = 0.25, 3.0
_PAGE = 500


class Watcher:
    """Follows the journal, the revisions and the lease through one replica, not its proxy."""

    def __init__(self, ground: Ground, replica: Placed, over: Callable[[], bool]) -> None:
        self._ground, self._replica, self._over = ground, replica, over
        self._by = f"watcher:{replica.name}"
        self._after = 0
        self._listed = 0.0

    async def run(self) -> None:
        """Look again and again until it is over; an answer that does not come is no news."""
        async with self._ground.http() as http:
            while not self._over():
                with suppress(httpx.HTTPError):
                    await self._look(http)
                await asyncio.sleep(LOOK_S)

    async def _look(self, http: httpx.AsyncClient) -> None:
        pen, began = self._ground.pen, time.monotonic()
        status = await self._read(http, f"/fleets/{FLEET}/status")
        leader = status["leader"] or {"epoch": 0, "replica": ""}
        told = {"epoch": leader["epoch"], "holder": leader["replica"], "began": began}
        pen.write(self._by, "leader.read", **told)
        found = await self._read(http, f"/events?after={self._after}&page_size={_PAGE}")
        if seqs := [one["seq"] for one in found["items"]]:
            self._after = seqs[-1]
            pen.write(self._by, "events.read", seqs=seqs)
        if began > self._listed + LIST_S:
            self._listed = began
            numbers = sorted(await self._revisions(http))
            pen.write(self._by, "revisions.read", numbers=numbers, through=self._by, began=began)

    async def _revisions(self, http: httpx.AsyncClient) -> list[int]:
        path = f"/fleets/{FLEET}/revisions?page_size={_PAGE}"
        found, token = [], ""
        while True:
            page = await self._read(http, path + (f"&page_token={token}" if token else ""))
            found += [int(one["revision"]) for one in page["items"]]
            if not (token := page.get("next_page_token", "")):
                return found

    async def _read(self, http: httpx.AsyncClient, path: str) -> Any:
        answer = await http.get(f"{api_of(self._replica)}{path}")
        answer.raise_for_status()
        return answer.json()


async def journal(http: httpx.AsyncClient, ground: Ground) -> int:
    """Write down the whole journal; return how much there is of it."""
    count = 0
    while True:
        url = f"{api_of(ground.replicas[0])}/events?after={count}&page_size={_PAGE}"
        answer = await http.get(url)
        answer.raise_for_status()
        for one in answer.json()["items"]:
            ground.pen.write("journal", "journal", event={"reason": "", "data": {}, **one})
            count = one["seq"]
        if not answer.json().get("next_page_token"):
            return count


class Predictor:
    """Asks one server, past its proxy, by label: as callers of models do."""

    def __init__(self, ground: Ground, server: Placed, over: Callable[[], bool]) -> None:
        self._ground, self._server, self._over = ground, server, over
        self._pause_s = ground.setup.servers / ground.setup.rate
        self._chance = random.Random(f"{ground.setup.seed} predictor {server.name}")

    async def run(self) -> None:
        """Ask at a steady rate until it is over."""
        async with calls_of(self._server) as predictions:
            due = time.monotonic()
            while not self._over():
                await self._asked(predictions, self._chance.choice(MODELS))
                due = max(due + self._pause_s, time.monotonic() - self._pause_s)
                await asyncio.sleep(max(due - time.monotonic(), 0))

    async def _asked(self, predictions: Any, model: str) -> None:
        began, pen = time.monotonic(), self._ground.pen
        told = {"server": self._server.name, "model": model, "label": LABEL, "began": began}
        answer = await answer_of(predictions, model)
        if isinstance(answer, int):
            pen.write("predictor", "predict.ok", **told, version=answer)
        else:
            code, _, message = answer.partition(": ")
            pen.write("predictor", "predict.err", **told, code=code, message=message)
