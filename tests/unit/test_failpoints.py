"""Failpoints: their names, what arms them, and what the armed ones do."""

import ast
import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane import failpoints, settings
from control_plane.domain.errors import FieldInvalid, StoreBusy
from control_plane.failpoints import NAMES, failpoint

CODE = Path(failpoints.__file__).parent
DIES = """
import asyncio, sys
from control_plane import failpoints
failpoints.arm(sys.argv[1])
async def main():
    for number in range(3):
        print(number, flush=True)
        await failpoints.failpoint("lease.renewed")
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    yield
    failpoints.arm("")


def marked() -> Counter[str]:
    """How often each name stands in the code."""
    calls = (
        node
        for path in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    names = (ast.literal_eval(one.args[0]) for one in calls if one.func.id == "failpoint")  # type: ignore[attr-defined]
    return Counter(names)


def test_every_name_stands_at_one_place() -> None:
    assert marked() == dict.fromkeys(NAMES, 1)
    assert len(NAMES) >= 40


def test_every_name_is_in_the_docs() -> None:
    page = (CODE.parent / "docs" / "failpoints.md").read_text()
    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", page)) == set(NAMES)


async def test_what_is_not_armed_does_nothing() -> None:
    failpoints.arm("lease.renewed=raise")
    await failpoint("lease.acquired")


async def test_raise_is_as_if_the_database_had_not_answered_on_each_pass_or_on_one() -> None:
    failpoints.arm("lease.renewed=raise, lease.acquired=raise@2")
    for _ in range(2):
        with pytest.raises(StoreBusy, match=r"lease\.renewed"):
            await failpoint("lease.renewed")
    await failpoint("lease.acquired")
    with pytest.raises(StoreBusy):
        await failpoint("lease.acquired")
    await failpoint("lease.acquired")


async def test_sleep_holds_up_its_own_task_alone() -> None:
    failpoints.arm("lease.renewed=sleep:60")
    held = asyncio.ensure_future(failpoint("lease.renewed"))
    await asyncio.sleep(0)
    assert not held.done()
    await failpoint("lease.acquired")
    held.cancel()


@pytest.mark.parametrize(("action", "seen"), [("die", "0\n"), ("die@3", "0\n1\n2\n")])
def test_die_ends_the_process_there_as_kill_9_does(action: str, seen: str) -> None:
    command = [sys.executable, "-c", DIES, f"lease.renewed={action}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-9, seen)
    assert ended.stderr == "failpoint lease.renewed die\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lease.renewd=die", "there is no 'lease.renewd'; there are: request.begun, "),
        ("lease.renewed", "lease.renewed cannot do ''"),
        ("lease.renewed=explode", "cannot do 'explode'"),
        ("lease.renewed=sleep", "cannot do 'sleep'"),
        ("lease.renewed=die@0", "cannot do 'die@0'"),
        ("lease.renewed=die,", "there is no ''"),
        ("lease.renewed=die,lease.renewed=raise", "lease.renewed is given twice"),
    ],
)
def test_a_process_refuses_to_start_with_what_is_not_known(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFSCTL_FAILPOINTS", text)
    with pytest.raises(FieldInvalid) as refused:
        settings.load()
    assert refused.value.field == "failpoints"
    assert words in refused.value.text
