"""The fault proxy in front of an echo, on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.proxy import NOTHING, Fault, Proxy

PATIENCE_S = 10.0
BRIEFLY_S = 0.05


class Echo:
    """Answers what it gets, and remembers it."""

    def __init__(self) -> None:
        self.got = b""
        self.more = asyncio.Event()
        self.talks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self.talks.add(talk)
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                self.got += data
                self.more.set()
                writer.write(data)
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo.talk, "127.0.0.1", 0)
    made = await Proxy(("127.0.0.1", 0), server.sockets[0].getsockname()[:2], seed=1).start()
    yield made
    await made.close()
    server.close()
    await asyncio.gather(*echo.talks)


class Caller:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, data: bytes) -> bytes:
        """Send, and return as much as an answer, or what there was when the connection ended."""
        self.writer.write(data)
        try:
            return await asyncio.wait_for(self.reader.readexactly(len(data)), PATIENCE_S)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionResetError:
            return b""


Connect = Callable[[Proxy], Awaitable[Caller]]


@pytest.fixture
async def connected() -> AsyncIterator[Connect]:
    """Opens connections, and closes them at the end."""
    open_ones: list[Caller] = []

    async def connect(proxy: Proxy) -> Caller:
        open_ones.append(Caller(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return open_ones[-1]

    yield connect
    for one in open_ones:
        await closed(one.writer)


async def silent(caller: Caller) -> bool:
    try:
        await asyncio.wait_for(caller.reader.read(1), BRIEFLY_S)
    except TimeoutError:
        return True
    return False


async def test_without_a_fault_everything_passes(proxy: Proxy, connected: Connect) -> None:
    caller = await connected(proxy)
    data = b"x" * 200_000
    assert await caller.says(data) == data


async def test_what_is_delayed_arrives_late_and_whole(proxy: Proxy, connected: Connect) -> None:
    proxy.set(Fault(delay_s=0.2))
    caller = await connected(proxy)
    answer = asyncio.create_task(caller.says(b"late"))
    done, _ = await asyncio.wait([answer], timeout=BRIEFLY_S)
    assert not done
    assert await answer == b"late"


async def test_a_connection_is_cut_after_so_many_bytes(
    proxy: Proxy, echo: Echo, connected: Connect
) -> None:
    proxy.set(Fault(cut_after=3))
    caller = await connected(proxy)
    assert await caller.says(b"hello") == b""
    await asyncio.wait_for(echo.more.wait(), PATIENCE_S)
    assert echo.got == b"hel"


async def test_half_open_swallows_both_ways_until_it_is_healed(
    proxy: Proxy, echo: Echo, connected: Connect
) -> None:
    before = await connected(proxy)
    assert await before.says(b"a") == b"a"
    proxy.set(Fault(forwards=False, answers=False))
    after = await connected(proxy)
    for one in (before, after):
        one.writer.write(b"lost")
        assert await silent(one)
    assert echo.got == b"a"
    proxy.set(NOTHING)
    assert await before.reader.read() == b""
    assert await (await connected(proxy)).says(b"b") == b"b"


async def test_deaf_lets_requests_arrive_and_no_answers(
    proxy: Proxy, echo: Echo, connected: Connect
) -> None:
    proxy.set(Fault(answers=False))
    caller = await connected(proxy)
    caller.writer.write(b"done")
    await asyncio.wait_for(echo.more.wait(), PATIENCE_S)
    assert echo.got == b"done"
    assert await silent(caller)


async def test_nobody_behind_it_means_a_closed_connection(
    proxy: Proxy, connected: Connect, tmp_path: Path
) -> None:
    lonely = await Proxy(("127.0.0.1", 0), str(tmp_path / "nobody")).start()
    assert await (await connected(lonely)).says(b"x") == b""
    await lonely.close()


async def test_it_listens_on_sockets_of_the_file_system_too(proxy: Proxy, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    front = await Proxy(path, ("127.0.0.1", proxy.port)).start()
    caller = Caller(*await asyncio.open_unix_connection(path))
    assert await caller.says(b"x") == b"x"
    await closed(caller.writer)
    await front.close()


async def test_what_is_lost_arrived_and_is_answered_by_a_reset(proxy: Proxy, echo: Echo) -> None:
    lossy = await Proxy(("127.0.0.1", 0), ("127.0.0.1", proxy.port), loses=1.0).start()
    caller = Caller(*await asyncio.open_connection("127.0.0.1", lossy.port))
    assert await caller.says(b"done") == b""
    assert echo.got == b"done"
    await closed(caller.writer)
    await lossy.close()


async def test_refused_resets_what_is_open_and_whoever_comes(
    proxy: Proxy, connected: Connect
) -> None:
    before = await connected(proxy)
    assert await before.says(b"a") == b"a"
    proxy.set(Fault(refuses=True))
    assert await before.says(b"x") == b""
    assert await (await connected(proxy)).says(b"x") == b""
    proxy.set(NOTHING)
    assert await (await connected(proxy)).says(b"b") == b"b"
