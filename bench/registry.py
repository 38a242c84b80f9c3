"""`python -m bench.registry [--stores sqlite,postgres]`: 1,000 models × 1,000 versions registered.

What answers people and callers is timed beside a control plane that knows 10 × 10: the same calls
in turn, one after the other, 99th percentiles compared. All models are deployed, on no server.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvloop
from sqlalchemy import Integer, insert, literal, select, true

from bench.processes import free_port, python
from bench.table import Row, render, seconds
from control_plane.bootstrap import clock
from control_plane.domain.catalog import Model
from control_plane.domain.revision import Deployment, Kind
from control_plane.store import catalog, revisions, rows, schema
from control_plane.store.database import Database, cursor
from control_plane.store.tables import ModelRow, VersionRow
from tests.databases import fresh_database, postgres_server

SMALL, LARGE = (10, 10), (1_000, 1_000)
TURNS = 400
PAGE = 10
MOST = 2.0
_AT_ONCE = 20  # models whose versions are written in one transaction
_PATIENCE_S = 60.0
_SIGNATURES = {
    "serving_default": {
        "method_name": "tensorflow/serving/predict",
        "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 32]}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [-1, 1]}},
    }
}


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane with so many models of so many versions each."""

    http: httpx.AsyncClient
    models: int
    versions: int

    def name(self, turn: int) -> str:
        """Return one model's name after the other, far apart."""
        return name_of(turn * 617 % self.models)


Asked = tuple[str, str, Mapping[str, Any] | None]
Ask = Callable[[Plane, int], Asked]


def name_of(number: int) -> str:
    """Return the name of one model of all."""
    return f"model-{number:04}"


async def measure(home: Path, store: str) -> list[Row]:
    """Measure on one engine."""
    if store == "sqlite":
        small, large = (f"sqlite:///{home / one}.db" for one in ("small", "large"))
        for url in (small, large):
            schema.upgrade(url)
        return await _measured(home, store, (small, large))
    with (
        postgres_server() as postgres,
        fresh_database(postgres) as small,
        fresh_database(postgres) as large,
    ):
        return await _measured(home, store, (small, large))


async def _measured(home: Path, store: str, urls: tuple[str, str]) -> list[Row]:
    for url, (models, versions) in zip(urls, (SMALL, LARGE), strict=True):
        started = time.monotonic()
        await fill(url, models, versions)
        took_s = time.monotonic() - started
        sys.stderr.write(f"{store}: {models} × {versions} written in {took_s:.0f} s\n")
    async with (
        _serving(home / "small", urls[0], SMALL) as small,
        _serving(home / "large", urls[1], LARGE) as large,
    ):
        return [await _row(store, what, path, (small, large)) for what, path in _CALLS.items()]


async def _row(store: str, what: str, path: Ask, planes: tuple[Plane, Plane]) -> Row:
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-20, TURNS):
        for plane, took in zip(planes, times, strict=True):
            asked = (
                await path(plane, turn) if asyncio.iscoroutinefunction(path) else path(plane, turn)
            )
            started = time.perf_counter()
            answer = await plane.http.request(*asked[:2], json=asked[2])
            if turn >= 0:
                took.append(time.perf_counter() - started)
            answer.raise_for_status()
    small, large = (sorted(one)[int(len(one) * 0.99)] for one in times)
    medians = [sorted(one)[len(one) // 2] for one in times]
    ratio = large / small
    text = f"{store}: {what}, p99 (median {seconds(medians[1])} : {seconds(medians[0])})"
    return Row("g", text, seconds(large), seconds(small), ratio, f"≤ {MOST:g}", ratio <= MOST)


def _models(plane: Plane, turn: int) -> Asked:
    del plane, turn
    return "GET", f"/models?page_size={PAGE}", None


def _middle(plane: Plane, turn: int) -> Asked:
    after = plane.name(turn) if plane.models > PAGE else name_of(0)
    return "GET", f"/models?page_size={PAGE // 2}&page_token={cursor(after)}", None


def _search(plane: Plane, turn: int) -> Asked:
    return "GET", f"/models?page_size={PAGE}&q={plane.name(turn)}", None


def _no_match(plane: Plane, turn: int) -> Asked:
    del plane, turn
    return "GET", f"/models?page_size={PAGE}&q=nothing-is-called-so", None


def _versions(plane: Plane, turn: int) -> Asked:
    return "GET", f"/models/{plane.name(turn)}/versions?page_size={PAGE}", None


def _version(plane: Plane, turn: int) -> Asked:
    return "GET", f"/models/{plane.name(turn)}/versions/{1 + turn % plane.versions}", None


def _resolve(plane: Plane, turn: int) -> Asked:
    return "GET", f"/fleets/default/models/{plane.name(turn)}/labels/stable", None


_CALLS: Mapping[str, Ask] = {
    "list models": _models,
    "list models, a page in the middle": _middle,
    "search, one found": _search,
    "search, none found": _no_match,
    "list versions": _versions,
    "show a version": _version,
    "resolve": _resolve,
}


async def fill(url: str, models: int, versions: int) -> None:
    """Write models with their versions, and deploy all of them."""
    db, now = Database.open(url), clock()
    names = [name_of(number) for number in range(models)]
    try:
        async with db.begin() as s:
            for name in names:
                described = f"What {name} is for, in a sentence as people write them."
                await catalog.add_model(
                    s, Model(name, f"/models/{name}", now, "bench", described, owner="team")
                )
        for begin in range(0, models, _AT_ONCE):
            async with db.begin() as s:
                await s.execute(_versions_of(names[begin : begin + _AT_ONCE], versions, now))
        head = {one: Deployment(one, frozenset({versions}), {"stable": versions}) for one in names}
        async with db.begin() as s:
            await revisions.append(
                s,
                "default",
                kind=Kind.DEPLOY,
                actor="bench",
                reason="",
                changes=head,
                expected=dict.fromkeys(names, 0),
                now=now,
            )
    finally:
        await db.close()


def _versions_of(names: Sequence[str], count: int, now: Any) -> Any:
    """Insert so many versions of each of these models, in one statement."""
    first = select(literal(1, Integer).label("n")).cte("numbers", recursive=True)
    numbers = first.union_all(select(first.c.n + 1).where(first.c.n < count))
    constants: dict[str, Any] = {
        "created_at": now,
        "created_by": "bench",
        "size_bytes": 1_000_000,
        "digest": "d" * 64,
        "fault": "",
        "signatures": _SIGNATURES,
        "fingerprint": "",
        "description": "",
        "tags": {},
        "metrics": {"auc": 0.9},
        "source": "bench",
        "rv": 1,
    }
    table = rows.table_of(VersionRow)
    values = [literal(one, table.c[name].type) for name, one in constants.items()]
    both = rows.table_of(ModelRow).join(numbers, true())
    chosen = select(ModelRow.name, numbers.c.n, *values).select_from(both)
    chosen = chosen.where(ModelRow.name.in_(names))
    return insert(table).from_select(["model", "number", *constants], chosen)


@asynccontextmanager
async def _serving(home: Path, url: str, size: tuple[int, int]) -> AsyncIterator[Plane]:
    port = free_port()
    settings = {
        "TFSCTL_DATABASE_URL": url,
        "TFSCTL_DATA_DIR": str(home),
        "TFSCTL_PORT": str(port),
        "TFSCTL_AUTH": "off",
    }
    base = f"http://127.0.0.1:{port}/api/v1"
    with python(home.with_suffix(".log"), "-m", "control_plane", "serve", **settings):
        async with httpx.AsyncClient(base_url=base, timeout=_PATIENCE_S) as http:
            plane = Plane(http, *size)
            await _until_it_resolves(plane)
            yield plane


async def _until_it_resolves(plane: Plane) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                if (await plane.http.get(_resolve(plane, 0)[1])).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def main() -> int:
    """Measure and print; fail if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry", description=__doc__)
    parser.add_argument("--stores", default="sqlite,postgres", help="which, with commas")
    found: list[Row] = []
    for store in parser.parse_args().stores.split(","):
        home = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            found += uvloop.run(measure(home, store))
        except BaseException:
            sys.stderr.write(f"the logs are in {home}\n")
            raise
        shutil.rmtree(home)
    print(render(found))
    return int(any(row.met is False for row in found))


if __name__ == "__main__":
    sys.exit(main())
