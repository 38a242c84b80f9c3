"""Whatever is sent to a control plane: no answer is its own failure, and every error a problem.

`python -m tests.contract.cases --cases 100000 --seed 1` makes requests from the OpenAPI document,
round after round, each against a new `tfsctl serve` on SQLite with two dev servers that serve two
models, and prints `goal=… value=… seed=…`. Requests are sent side by side, so a failure is told
with the `curl` that sends its request again, not with all that was going on at the time.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from control_plane.api import problems
from tests.chaos.figures import machine
from tests.cli.living import Living, living
from tests.contract.case_making import Names, Request, requests

API: Final = "/api/v1"
MODEL, FLEET = "half_plus_two", "default"
SIDE_BY_SIDE: Final = 16
ANSWER_S: Final = 60.0
EACH: Final = 20  # of each operation and kind of data, in a round
OFTEN: Final = 250  # so many requests later, what they may have removed is put back
UNAVAILABLE: Final = {one["code"] for one in problems.explained().values() if one["status"] == 503}


@dataclass
class Verdict:
    """What came of the requests so far."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)  # by operation
    failures: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> int:
        return sum(self.accepted.values())


def wrong(status: int, content_type: str, body: bytes, path: str = "") -> str:
    """Say what is wrong with an answer; "" if nothing is."""
    if status < 400 or (path == "/readyz" and status == 503):  # a document of its own
        return ""
    if content_type.partition(";")[0] != problems.MEDIA_TYPE:
        return f"{status} is no problem document: {body[:200]!r}"
    code = json.loads(body)["code"]
    if status >= 500 and not (status == 503 and code in UNAVAILABLE):
        return f"{status} {code}: {body[:400]!r}"
    return ""


class Sender:
    """Sends to one control plane."""

    def __init__(self, plane: Living, servers: Sequence[str], verdict: Verdict) -> None:
        self._plane = plane
        self._servers = servers
        self._verdict = verdict
        token = plane.tfsctl.environment["TFSCTL_TOKEN"]
        self._http = httpx.AsyncClient(
            base_url=plane.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_S,
            limits=httpx.Limits(max_connections=SIDE_BY_SIDE),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def names(self) -> Names:
        """What exists, by the parameter or field that names it."""
        answer = await self._http.get(f"{API}/rollouts")
        return {
            "fleet": [FLEET, FLEET, "spare"],
            "model": [MODEL, MODEL, "twin"],
            "version": [1, 2, 3],
            "against": [1, 2],
            "label": ["stable", "stable", "canary"],
            "server": ["one", "two"],
            "number": [1, 2, 3],
            "to_revision": [1, 2],
            "to_version": [1, 2],
            "id": [one["id"] for one in answer.json()["items"]] or ["none"],
            "verb": ["pause", "resume", "abort", "approve", "retry", "promote-now"],
            "strategy": ["canary", "default", "slow"],
            "source": ["found"],
            "code": ["invalid"],
            "hooks": ["told"],
            "tokens": ["robot"],
            "request-sets": ["recorded"],
            "kind": ["model.created", "rollout.ended"],
            "versions": [[1], [1, 2], [1, 2, 3]],
            "labels": [{"stable": 1}, {"stable": 2, "canary": 1}],
            "address": ["127.0.0.1:9", *self._servers],
            "base_path": [str(self._plane.models / MODEL), str(self._plane.home)],
            "config": [self._config()],
            "items": [[{"model": name, "version": 2} for name in (MODEL, "twin")]],
        }

    def _config(self) -> str:
        entry = f'name: "third" base_path: "{self._plane.models / MODEL}"'
        return f"model_config_list {{ config {{ {entry} }} }}"

    async def furnish(self) -> None:
        """Make what the names stand for, as far as it is not there."""
        found = self._plane.home / "found.txt"
        found.write_text("")
        deployed = {"versions": [1, 2], "labels": {"stable": 1, "canary": 2}, "supersede": True}
        slow = {"steps": ["load", "canary", {"bake": {"seconds": 600}}, "promote"]}
        source = {"name": "found", "kind": "file", "path": str(found), "force": True}
        hook = {"name": "told", "moment": "on_event", "events": ["model.created"]}
        for name in (MODEL, "twin"):
            body = {"name": name, "base_path": str(self._plane.models / MODEL), "force": True}
            await self._make("POST", "/models", body)
            await self._make("POST", f"/models/{name}/versions:scan")
        await self._make("POST", "/fleets", {"name": "spare"})
        for name, address in zip(("one", "two"), self._servers, strict=True):
            body = {"name": name, "address": address, "take_over": True}
            await self._make("POST", f"/fleets/{FLEET}/servers", body)
        await self._make("PUT", "/strategies/slow", slow)
        await self._make("POST", "/hooks", hook | {"http": {"url": "http://127.0.0.1:9/"}})
        await self._make("POST", "/tokens", {"name": "robot", "role": "viewer"})
        await self._make("POST", f"/fleets/{FLEET}/sources", source)
        lines = '{"instances": [1.0]}\n'
        await self._make("POST", f"/models/{MODEL}/request-sets/recorded", lines)
        for name in (MODEL, "twin"):
            await self._make("PUT", f"/fleets/{FLEET}/deployments/{name}", deployed)

    async def settled(self) -> None:
        """Wait until what was deployed is served, so that something can be moved."""
        async with asyncio.timeout(ANSWER_S):
            while True:
                path = f"{API}/fleets/{FLEET}/deployments"
                found = (await self._http.get(path)).json()["items"]
                if found and all(one["status"]["phase"] == "converged" for one in found):
                    return
                await asyncio.sleep(0.1)

    async def _make(self, method: str, path: str, body: Any = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = "application/x-ndjson" if isinstance(body, str) else "application/json"
        headers = {"Content-Type": kind} if body is not None else {}
        request = Request("furnish", method, API + path, headers, b"" if body is None else content)
        await self._send(request)

    async def send(self, made: Iterable[Request]) -> None:
        """Send all of them, some side by side."""
        waiting = iter(made)

        async def one_after_the_other() -> None:
            for one in waiting:
                self._verdict.sent += 1
                await self._send(one)
                if self._verdict.sent % OFTEN == 0:
                    await self.furnish()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SIDE_BY_SIDE):
                tasks.create_task(one_after_the_other())

    async def _send(self, one: Request) -> None:
        try:
            try:
                status, why = await self._answer(one)
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                status, why = await self._answer(one)  # it was about to close an idle connection
        except httpx.HTTPError as error:
            status, why = 0, f"no answer: {error!r}"
        self._verdict.statuses[status] += 1
        self._verdict.accepted[one.operation] += 200 <= status < 300
        if why:
            told = f"{one.operation}: {why}\n  {one.curl(self._plane.url)}"
            self._verdict.failures.append(told)
            sys.stderr.write(f"{told}\n")

    async def _answer(self, one: Request) -> tuple[int, str]:
        sending = self._http.stream(
            one.method, one.target, headers=dict(one.headers), content=one.content
        )
        async with sending as answer:
            kind = answer.headers.get("content-type", "")
            if kind.startswith("text/event-stream"):  # it does not end; its beginning will do
                async for _ in answer.aiter_raw():
                    break
                return answer.status_code, ""
            path, status = answer.url.path, answer.status_code
            return status, wrong(status, kind, await answer.aread(), path)


async def play(cases: int, seed: int, home: Path, each: int = EACH) -> Verdict:
    """Send so many requests, in as many rounds as it takes."""
    verdict, number = Verdict(), seed
    while verdict.sent < cases:
        folder = home / str(number)
        folder.mkdir()
        with living(folder) as plane:
            servers = [plane.dev_server() for _ in range(2)]
            await _round(Sender(plane, servers, verdict), cases - verdict.sent, each, number)
            _check_log(folder / "control-plane.log", verdict)
        number += 1
        sys.stderr.write(f"{verdict.sent}/{cases} failures={len(verdict.failures)}\n")
    return verdict


async def _round(sender: Sender, most: int, each: int, number: int) -> None:
    try:
        await sender.furnish()
        await sender.settled()
        document = (await sender._http.get("/openapi.json")).json()
        made = await asyncio.to_thread(requests, document, await sender.names(), each, number)
        await sender.send(made[:most])
    finally:
        await sender.close()


def _check_log(log: Path, verdict: Verdict) -> None:
    """What the API did not tell may stand there: the loop, too, has to survive what it was told."""
    for line in log.read_text().splitlines():
        if '"level": "error"' in line or "Traceback" in line:
            verdict.failures.append(f"{log}: {line[:2000]}")
            sys.stderr.write(f"{verdict.failures[-1]}\n")


def main() -> int:
    """Print the figure; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cases-", ignore_cleanup_errors=True) as home:
        verdict = asyncio.run(play(asked.cases, asked.seed, Path(home)))
    told = " ".join(f"{status}:{count}" for status, count in sorted(verdict.statuses.items()))
    never = sorted(name for name, count in verdict.accepted.items() if count == 0)
    print(
        f"goal={asked.cases} value={verdict.sent} failures={len(verdict.failures)}"
        f" seed={asked.seed} accepted={verdict.succeeded} never-accepted={len(never)} {told}"
    )
    sys.stderr.write(f"never accepted: {', '.join(never)}\n")
    print(machine())
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    sys.exit(main())
