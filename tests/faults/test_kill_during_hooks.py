"""kill -9 between what a hook did and the record of it: it runs again under the same id."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.client import calls
from control_plane.client.calls import Promotion
from tests.faults.processes import FLEET, MODEL, ControlPlane, Server, eventually
from tests.faults.test_hooks import gone
from tests.faults.test_kill_control_plane import control, servers
from tests.scenario.hook_target import HookTarget, Reply, hook_target

__all__ = ["control", "servers"]
STUCK_ONCE = """
import os, pathlib, sys, time
told = pathlib.Path(sys.argv[1])
first = not told.exists()
with told.open("a") as out:
    out.write(f"{os.getpid()} {os.environ['HOOK_RUN_ID']}\\n")
if first:
    time.sleep(600)
"""


@pytest.fixture
async def target() -> AsyncIterator[HookTarget]:
    async with hook_target() as made:
        yield made


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command `init` writes its pid and run; the first time it never ends by itself."""
    told, commands = tmp_path / "told", tmp_path / "commands.json"
    commands.touch(0o600)
    commands.write_text(json.dumps({"init": [sys.executable, "-c", STUCK_ONCE, str(told)]}))
    monkeypatch.setenv("TFSCTL_HOOK_COMMANDS_FILE", str(commands))
    return told


def lines(file: Path) -> list[list[str]]:
    return [one.split() for one in file.read_text().splitlines()] if file.exists() else []


async def create(control: ControlPlane, **hook: Any) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"http://127.0.0.1:{control.port}/api/v1/hooks", json=hook)
    assert answer.status_code == 201, answer.text


async def killed(control: ControlPlane) -> None:
    await asyncio.to_thread(control.kill)
    await asyncio.to_thread(control.start)


async def test_a_hook_that_ran_but_was_not_written_down_runs_again_under_its_id(
    target: HookTarget, told: Path, control: ControlPlane, servers: list[Server]
) -> None:
    url = target.url("/ask", Reply(hangs=True), Reply(200))
    await create(control, name="init", moment="before_load", command="init", timeout_s=60)
    await create(control, name="ask", moment="before_promote", http={"url": url}, timeout_s=60)
    promotion = Promotion(version=2, force=True)
    begun = await asyncio.to_thread(control.client.send, calls.promote(FLEET, MODEL, promotion))
    await asyncio.to_thread(eventually, lambda: lines(told), bool)
    await killed(control)
    await asyncio.to_thread(eventually, lambda: target.at("/ask"), bool)
    await killed(control)
    over: Any = await asyncio.to_thread(control.over, begun["rollout"]["id"])
    assert over["phase"] == "succeeded"
    assert {one.label() for one in servers} == {2}
    found = {one["name"]: one for one in over["hooks"]}
    assert {one["state"] for one in found.values()} == {"succeeded"}
    assert [one[1] for one in lines(told)] == [found["init"]["request_id"]] * 2
    asked = [one.headers["x-request-id"] for one in target.at("/ask")]
    assert asked == [found["ask"]["request_id"]] * 2
    assert await gone(int(lines(told)[0][0]))
