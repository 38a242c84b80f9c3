"""Hooks that misbehave: targets that hang, lie and flood, commands that fork and will not die."""

import asyncio
import json
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.errors import Invalid
from control_plane.domain.hook import Again, Bad, FailIf, Good, Http, Place, Tried
from control_plane.domain.hook_runs import OUTPUT_BYTES
from control_plane.serving.commands import argv_of, run
from control_plane.serving.hook_calls import HookCalls
from tests.scenario.hook_target import HookTarget, Reply, hook_target

BODY = {"id": "run-1", "rollout": "r1", "model": "m", "reason": "喜欢 $(touch x)"}
SOON_S, LONG_S = 0.5, 20.0


@pytest.fixture
async def target() -> AsyncIterator[HookTarget]:
    async with hook_target() as made:
        yield made


@pytest.fixture
async def calls() -> AsyncIterator[HookCalls]:
    made = HookCalls()
    yield made
    await made.close()


async def call(
    calls: HookCalls, url: str, rule: FailIf | None = None, s: float = LONG_S, **more: Any
) -> Tried:
    return await calls.call(Http(url, **more), BODY, rule, s)


# HTTP ---------------------------------------------------------------------------------------------


async def test_a_target_is_told_whose_run_it_is(target: HookTarget, calls: HookCalls) -> None:
    url = target.url("/initialize")
    tried = await call(calls, url, headers={"Authorization": "Bearer s"})
    assert tried == Tried(Good("answered 200"), 200)
    (asked,) = target.asked
    assert (asked.method, asked.body) == ("POST", BODY)
    assert asked.headers["x-request-id"] == "run-1"
    assert asked.headers["x-rollout-id"] == "r1"
    assert asked.headers["authorization"] == "Bearer s"


async def test_a_hidden_failure_is_found(target: HookTarget, calls: HookCalls) -> None:
    lie = Reply(body=b'{"errorMessage": "no weights"}', headers={"X-Fc-Error-Type": "Init"})
    url = target.url("/initialize", lie)
    assert (await call(calls, url)).outcome == Good("answered 200")
    for rule in (FailIf(Place.JSON, "errorMessage"), FailIf(Place.HEADER, "x-fc-error-type")):
        assert isinstance((await call(calls, url, rule)).outcome, Bad)


async def test_a_redirect_is_not_followed(target: HookTarget, calls: HookCalls) -> None:
    away = Reply(302, headers={"Location": target.url("/secret")})
    tried = await call(calls, target.url("/go", away))
    assert isinstance(tried.outcome, Bad)
    assert target.at("/secret") == []


async def test_a_hang_ends_at_the_timeout(target: HookTarget, calls: HookCalls) -> None:
    tried = await call(calls, target.url("/hang", Reply(hangs=True)), s=SOON_S)
    assert tried == Tried(Again("timed out after 0.5 s"))


async def test_a_flood_is_read_no_further_than_the_limit(
    target: HookTarget, calls: HookCalls
) -> None:
    url = target.url("/flood", Reply(endless=True))
    assert (await call(calls, url)).outcome == Good("answered 200")
    found = (await call(calls, url, FailIf(Place.JSON, "ok"))).outcome
    assert found == Bad("answered 200, but its body is too long, so ok cannot be read")


async def test_nobody_at_home_is_tried_again(target: HookTarget, calls: HookCalls) -> None:
    tried = await call(calls, "http://127.0.0.1:9/")
    assert isinstance(tried.outcome, Again)


async def test_proxies_of_the_environment_are_not_used(
    target: HookTarget, calls: HookCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert (await call(calls, target.url("/direct"))).outcome == Good("answered 200")


async def test_nothing_of_an_answers_body_is_kept(target: HookTarget, calls: HookCalls) -> None:
    tried = await call(calls, target.url("/meta", Reply(body=b"credentials")))
    assert tried.output == ""


# Commands -----------------------------------------------------------------------------------------


async def python(code: str, s: float = LONG_S, mark: str = "") -> Tried:
    body = json.dumps(BODY).encode()
    return await run([sys.executable, "-c", code], body, mark or f"test-{os.getpid()}", s)


def alive(pid: int) -> bool:
    """Whether a process still runs; one that waits to be buried does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status != "Z"


async def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def test_a_command_is_told_on_stdin_and_its_output_is_kept() -> None:
    tried = await python("import sys, json; print(json.load(sys.stdin)['reason'])")
    assert tried == Tried(Good("exit 0"), 0, BODY["reason"] + "\n")


async def test_a_command_sees_a_bare_environment_and_no_shell(tmp_path: Path) -> None:
    tried = await python("import os; print(sorted(os.environ), os.getcwd())")
    names = {"LANG", "PATH", "HOOK_RUN_ID", "LC_CTYPE"}
    listed, _, folder = tried.output.strip().rpartition(" ")
    assert (set(json.loads(listed.replace("'", '"'))) | names, folder) == (names, "/")
    echoed = await run(["/bin/echo", "$(id)", "; id"], b"", "echo", LONG_S)
    assert echoed.output == "$(id) ; id\n"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("raise SystemExit(7)", Bad("exit 7")),
        ("import os; os.kill(os.getpid(), 9)", Bad("ended by signal 9")),
    ],
)
async def test_a_command_that_fails_is_not_tried_again(code: str, outcome: Bad) -> None:
    assert (await python(code)).outcome == outcome


async def test_a_command_that_does_not_exist_fails() -> None:
    tried = await run(["/nonexistent/command"], b"", "none", LONG_S)
    assert isinstance(tried.outcome, Bad)
    assert "No such file" in tried.output


async def test_a_flood_is_drained_and_its_end_kept() -> None:
    code = "import sys\nfor n in range(400): sys.stdout.write('x' * 10000)\nprint('喜欢')"
    tried = await python(code)
    assert tried.outcome == Good("exit 0")
    assert tried.output.endswith("x喜欢\n")
    assert len(tried.output.encode()) <= OUTPUT_BYTES


async def test_a_flood_without_end_is_ended_at_the_timeout() -> None:
    tried = await run(["/usr/bin/yes"], b"", "yes", SOON_S)
    assert tried.outcome == Again("timed out after 0.5 s")
    assert len(tried.output) == OUTPUT_BYTES


HANG = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{before}
if os.fork() == 0:
    {child}
    print(os.getpid(), flush=True)
    time.sleep(600)
time.sleep(600)
"""


@pytest.mark.parametrize("child", ["pass", "os.setsid()", "os.setsid(); os.fork() and os._exit(0)"])
async def test_a_hang_and_its_children_are_killed_whatever_they_ignore(child: str) -> None:
    tried = await python(HANG.format(before="", child=child), s=SOON_S)
    assert isinstance(tried.outcome, Again)
    pids = [int(line) for line in tried.output.split()]
    assert pids
    for pid in pids:
        assert await gone(pid)


LEAVE = """
import os, time
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    os.write(tell, b"!")
    time.sleep(600)
os.read(told, 1)
"""


async def test_children_left_behind_by_a_command_that_ended_are_killed() -> None:
    tried = await python(LEAVE)
    assert tried.outcome == Good("exit 0")
    assert await gone(int(tried.output))


async def test_a_cancelled_command_leaves_nothing(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    before = f"open({str(told)!r}, 'w').write(str(os.getpid()))"
    task = asyncio.create_task(python(HANG.format(before=before, child="pass")))
    await eventually(lambda: told.exists() and told.read_text() != "")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert await gone(int(told.read_text()))


async def test_what_an_earlier_process_left_is_ended_before_the_run_is_done_anew(
    tmp_path: Path,
) -> None:
    left = await asyncio.create_subprocess_exec("/bin/sleep", "600", env={"HOOK_RUN_ID": "the-run"})
    assert (await run(["/bin/true"], b"", "the-run", LONG_S)).outcome == Good("exit 0")
    assert await left.wait() == -9


async def eventually(good: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not good():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# The file of commands -----------------------------------------------------------------------------


def declared(tmp_path: Path, content: str, mode: int = 0o600) -> Path:
    file = tmp_path / "commands.json"
    file.write_text(content)
    file.chmod(mode)
    return file


def test_a_command_is_what_the_file_says(tmp_path: Path) -> None:
    file = declared(tmp_path, '{"purge": ["/usr/bin/purge", "--all", "$HOME"]}')
    assert argv_of(file, "purge") == ("/usr/bin/purge", "--all", "$HOME")


@pytest.mark.parametrize("bit", [stat.S_IRGRP, stat.S_IWGRP, stat.S_IROTH, stat.S_IWOTH])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, bit: int) -> None:
    file = declared(tmp_path, '{"purge": ["/bin/true"]}', 0o600 | bit)
    with pytest.raises(Invalid, match="alone"):
        argv_of(file, "purge")


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(declared(tmp_path, '{"purge": ["/bin/true"]}'))
    with pytest.raises(Invalid, match="cannot be read"):
        argv_of(link, "purge")


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", '{"other": ["/bin/true"]}', '{"purge": []}', '{"purge": "/bin/true"}'),
        *('{"purge": ["true"]}', '{"purge": ["/bin/echo", 1]}', '{"purge": {}}'),
    ],
)
def test_what_declares_no_such_command_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(Invalid, match=r"commands\.json"):
        argv_of(declared(tmp_path, content), "purge")


def test_without_a_file_commands_are_switched_off() -> None:
    with pytest.raises(Invalid, match="switched off"):
        argv_of(None, "purge")
