"""Commands of hooks: which there are, and running one so that nothing of it is left.

Commands are declared in a local file that only its owner, who is us, can read or write; a name is
all that comes over the API. A command runs without a shell, in a session of its own, is told its
subject on stdin, and has ended with all its children when `run` returns.
"""

import asyncio
import json
import os
import signal
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from control_plane.domain.errors import Invalid
from control_plane.domain.hook import Again, Tried, judge_exit
from control_plane.domain.hook_runs import OUTPUT_BYTES

GRACE_S: Final = 1.0  # between SIGTERM and SIGKILL
_READ_BYTES: Final = 64 << 10
_BREATH_S: Final = 0.005  # between reads, so that a flood cannot take the whole loop
_MARK: Final = "HOOK_RUN_ID"
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_ROUNDS: Final = 10
_FILE_BYTES: Final = 1 << 20
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class CommandsUnusable(Invalid):
    """The file of hook commands cannot be used."""


def argv_of(file: Path | None, name: str) -> tuple[str, ...]:
    """Return what a command's name stands for; the file is read and checked each time.

    Raises:
        CommandsUnusable: there is no file, others may touch it, or it does not know the name.
    """
    if file is None:
        raise CommandsUnusable("commands are switched off: no file declares them")
    argv = _declared(file).get(name)
    if argv is None:
        raise CommandsUnusable(f"{file} declares no command {name}")
    texts = [one for one in argv if isinstance(one, str)] if isinstance(argv, list) else []
    if not texts or texts != argv or not texts[0].startswith("/"):
        raise CommandsUnusable(f"{file}: {name} is not a list of texts with an absolute path first")
    return tuple(texts)


async def run(argv: Sequence[str], body: bytes, mark: str, timeout_s: float) -> Tried:
    """Run a command to its end, or to its timeout's; `mark` names it and its children.

    What an earlier process of ours left behind under this mark is ended first.
    """
    await asyncio.to_thread(_end_marked, mark)
    reading, writing = os.pipe()
    tail = _Tail(reading)
    try:
        process = await _started(argv, body, mark, writing)
    except (OSError, ValueError) as error:
        os.close(writing)
        await tail.close()
        return Tried(judge_exit(127), 127, f"cannot be started: {error}")
    os.close(writing)
    try:
        in_time = await _ended(process, timeout_s)
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        await asyncio.shield(asyncio.to_thread(_end_marked, mark))
        await process.wait()
        await tail.close()
    code = process.returncode
    outcome = judge_exit(code or 0) if in_time else Again(f"timed out after {timeout_s:g} s")
    return Tried(outcome, code if in_time else None, tail.text)


def _declared(file: Path) -> Mapping[str, object]:
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise CommandsUnusable(f"{file} is not a file")
            if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
                hint = f"chmod 600 {file}, and own it"
                raise CommandsUnusable(f"{file} is not for its owner, us, alone", hint=hint)
            declared = json.loads(opened.read(_FILE_BYTES))
    except OSError as error:
        raise CommandsUnusable(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CommandsUnusable(f"{file} is no JSON") from None
    if not isinstance(declared, dict):
        raise CommandsUnusable(f"{file} is not an object of names and their argument lists")
    return declared


async def _started(
    argv: Sequence[str], body: bytes, mark: str, writing: int
) -> asyncio.subprocess.Process:
    with tempfile.TemporaryFile() as told:
        told.write(body)
        told.seek(0)
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=told,
            stdout=writing,
            stderr=writing,
            cwd="/",
            env={"PATH": _PATH, "LANG": "C.UTF-8", _MARK: mark},
            start_new_session=True,
        )


async def _ended(process: asyncio.subprocess.Process, timeout_s: float) -> bool:
    """Wait for a command; end it politely when it takes too long, and say so."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await process.wait()
            return True
    _signal_group(process.pid, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_marked(mark: str) -> None:
    """Kill every process that carries the mark, those that left the group too."""
    wanted = f"{_MARK}={mark}".encode()
    for _ in range(_ROUNDS):
        marked = [pid for pid in _processes() if wanted in _environment(pid)]
        for pid in marked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not marked:
            return


def _processes() -> list[int]:
    with suppress(OSError):
        return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]
    return []


def _environment(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


class _Tail:
    """Drains a pipe and keeps its end."""

    def __init__(self, reading: int) -> None:
        self._reading = reading
        self._kept = bytearray()
        os.set_blocking(reading, False)
        self._task = asyncio.create_task(self._drain())

    @property
    def text(self) -> str:
        """What was kept, as text that any database can hold."""
        text = bytes(self._kept).decode("utf-8", "replace").replace("\x00", "�")
        return text.encode()[-OUTPUT_BYTES:].decode("utf-8", "ignore")

    async def close(self) -> None:
        """Take what is left, for as long as `GRACE_S`; the writers are gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await asyncio.shield(self._task)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        os.close(self._reading)

    async def _drain(self) -> None:
        while (data := await self._read()) != b"":
            self._kept += data
            del self._kept[:-OUTPUT_BYTES]
            if len(data) == _READ_BYTES:
                await asyncio.sleep(_BREATH_S)

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(BlockingIOError):
                return os.read(self._reading, _READ_BYTES)
            ready = asyncio.Event()
            loop.add_reader(self._reading, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self._reading)
