"""`python -m bench.model_page`: what a model's page costs, with 100 versions on 50 servers.

Once where all servers say the same, and once where no two of them do, so that each needs a column.
"""

import asyncio
import gzip
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from bench.table import middle
from control_plane.domain.catalog import Model, Version
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.record import to_json
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.state import State
from control_plane.services.access import LOCAL
from control_plane.services.resolve import Resolved
from control_plane.store import catalog, fleets, journal, leases, revisions, schema
from control_plane.store.database import Database
from control_plane.web.model import PLACES
from control_plane.web.visit import Visit

VERSIONS, SERVERS, ROUNDS = 100, 50, 9
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SIGNATURES = {
    "serving_default": {
        "method_name": "tensorflow/serving/predict",
        "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 4]}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [-1]}},
    }
}


async def filled(home: Path, *, alike: bool) -> Database:
    """Return a database with one large model."""
    url = f"sqlite:///{home / ('alike.db' if alike else 'odd.db')}"
    schema.upgrade(url)
    db = Database.open(url)
    async with db.begin() as s:
        await catalog.add_model(s, Model("m", "/models/m", NOW, "bench"))
        for number in range(1, VERSIONS + 1):
            version = Version("m", number, NOW, "bench", size_bytes=1_000, signatures=SIGNATURES)
            await catalog.add_version(s, version)
        wanted = Deployment("m", frozenset(range(1, VERSIONS + 1)), {"stable": 99, "canary": 100})
        await revisions.append(
            s,
            "default",
            kind=Kind.DEPLOY,
            actor="bench",
            reason="",
            changes={"m": wanted},
            expected={"m": 0},
            now=NOW - timedelta(hours=20),
        )
        lease = await leases.acquire(s, "default", "bench", 3_600)
        assert lease is not None
        for at in range(SERVERS):
            name = f"server-{at:02}"
            made = Server("default", name, f"10.0.0.{at}:8500", NOW, taken_over=True)
            await fleets.add_server(s, made)
            document = to_json(_seen(at, alike=alike)) | {"status": "ready", "sentence": "serving"}
            await fleets.save_observed(s, "default", name, document, epoch=lease.epoch)
            await journal.append(s, *_loads(name))
    return db


def _seen(at: int, *, alike: bool) -> Observed:
    states = {
        number: VersionSeen(State.AVAILABLE, NOW.timestamp(), served=True)
        for number in range(1, VERSIONS + 1)
    }
    if not alike:
        states[at + 1] = VersionSeen(State.END, NOW.timestamp(), error_code=5, error="no such file")
    labels = {"m": {"stable": 99, "canary": 100}}
    return Observed(at=NOW.timestamp(), reachable=True, models={"m": states}, labels=labels)


def _loads(server: str) -> list[Event]:
    kind, found = EventKind.VERSION_STATE_CHANGED, []
    for number in range(1, VERSIONS + 1):
        for state, before, minutes in (("LOADING", "", 0), ("AVAILABLE", "LOADING", 1)):
            at = NOW - timedelta(hours=18) + timedelta(minutes=number + minutes)
            data = {"version": number, "state": state, "before": before, "error": ""}
            made = Event(kind, at, "loop", "default", "m", server, data=data)
            found.append(made)
    return found


def visit(db: Database, resolved: Resolved) -> Visit:
    """A browser that asks for the page."""
    headers = [(b"accept-encoding", b"gzip"), (b"host", b"bench")]
    path = "/fleets/default/models/m"
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
        "server": ("bench", 80),
        "path_params": {"fleet": "default", "model": "m"},
    }
    parts: Any = SimpleNamespace(
        db=db,
        auth_required=False,
        feed=SimpleNamespace(seq=1),
        resolved=resolved,
        clock=lambda: NOW,
        version="bench",
    )
    return Visit(parts, Request(scope), LOCAL, ("models",), lambda name, **_: f"/{name}")


async def measured(home: Path, *, alike: bool) -> str:
    """Return a line with the middle of some rounds."""
    db = await filled(home, alike=alike)
    resolved = Resolved(db)
    await resolved.refresh("default")
    show = next(one.answer for one in PLACES if one.name == "model")
    times: list[tuple[float, float]] = []
    body = b""
    for _ in range(ROUNDS):
        began, cpu = time.perf_counter(), time.process_time()
        body = bytes((await show(visit(db, resolved))).body)
        times.append((time.perf_counter() - began, time.process_time() - cpu))
    await db.close()
    took, spent = (middle([one[i] for one in times[1:]]) * 1_000 for i in range(2))
    size = f"{len(gzip.decompress(body)) // 1_000} kB, {len(body) // 1_000} kB sent"
    kind = "all servers say the same" if alike else "no two servers say the same"
    return f"{kind}: {took:.0f} ms, {spent:.0f} ms of them CPU; at most 150; {size}"


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        print(f"{VERSIONS} versions × {SERVERS} servers")
        for alike in (True, False):
            print(await measured(Path(home), alike=alike))


if __name__ == "__main__":
    asyncio.run(main())
