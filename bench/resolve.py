"""Row b: resolve against a bare route that returns the same bytes."""

import asyncio
import json
import sys
from pathlib import Path

import httpx

from bench import bare_route
from bench.processes import (
    PATIENCE_S,
    ControlPlane,
    control_plane,
    dev_servers,
    free_port,
    make_models,
    python,
)
from bench.table import Row, faster, middle

ROUNDS = 6
SPAN_S = 2.0
_PATH = "/api/v1/fleets/default/models/m00/labels/stable"


async def measure(home: Path) -> list[Row]:
    """Load both processes turn by turn, from a third."""
    models = make_models(home / "models", 2)
    async with (
        dev_servers(home, "dev", 1, models) as servers,
        control_plane(home, models, servers) as ours,
    ):
        headers = {"Authorization": f"Bearer {ours.token}"}
        body = await _body(f"{ours.url}{_PATH}", headers)
        port = free_port()
        module = ("-m", "bench.bare_route", str(ours.database), str(port), body)
        with python(home / "bare.log", *module):
            bare = f"127.0.0.1:{port}"
            async with asyncio.timeout(PATIENCE_S):
                await _until_same(bare, body, headers)
            return await _compare(ours, bare)


async def _compare(ours: ControlPlane, bare: str) -> list[Row]:
    address = ours.url.removeprefix("http://")
    turns = []
    for _ in range(ROUNDS):
        ours_figures = await _loaded(address, _PATH, ours.token)
        turns.append((ours_figures, await _loaded(bare, bare_route.PATH, ours.token)))
    per_s = [middle([turn[at]["per_s"] for turn in turns]) for at in (0, 1)]
    p99_s = (middle([turn[0]["p99_s"] for turn in turns]), middle([t[1]["p99_s"] for t in turns]))
    ratio = per_s[0] / per_s[1]
    rate = ("b", "resolve: requests per second", f"{per_s[0]:,.0f}/s", f"{per_s[1]:,.0f}/s")
    return [
        Row(*rate, ratio, "≥ 0.7", ratio >= 0.7),
        faster("b", "resolve: 99th percentile", p99_s, 0.7),
    ]


async def _loaded(address: str, path: str, token: str) -> dict[str, float]:
    arguments = ("-m", "bench.load", address, path, token, str(SPAN_S))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise ChildProcessError("the load ended early")
    return dict(json.loads(out))


async def _body(url: str, headers: dict[str, str]) -> str:
    async with httpx.AsyncClient(headers=headers) as client:
        return (await client.get(url)).raise_for_status().text


async def _until_same(bare: str, body: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(headers=headers) as client:
        while True:
            try:
                answer = await client.get(f"http://{bare}{bare_route.PATH}")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if answer.raise_for_status().text != body:
                raise ValueError("the bare route answers something else")
            return
