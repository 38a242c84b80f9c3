"""The composition root: settings in, a running control plane out.

Clocks and randomness enter here.
"""

import asyncio
import ctypes
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import control_plane
from control_plane import auditing, failpoints, keys, telemetry, upkeep, workers
from control_plane.api.app import create_app
from control_plane.api.parts import ApiOptions, AppParts
from control_plane.api.parts import Running as RunningApi
from control_plane.api.problems import status_of
from control_plane.domain.address import parse_ip_addresses
from control_plane.domain.errors import Conflict
from control_plane.domain.leasing import ALONE
from control_plane.metrics import CountedServer, Metrics
from control_plane.reconcile.loop import Options, Reconciler
from control_plane.services import access
from control_plane.services.feed import Feed
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.lookup import Lookup
from control_plane.settings import Settings
from control_plane.store import files, notices
from control_plane.store.database import Database
from control_plane.store.engines import IDLE_S
from control_plane.store.notices import Notice
from control_plane.web.door import Door
from control_plane.web.site import Site

_M_ARENA_MAX = -8  # malloc.h
_SWITCH_S = 0.001  # a commit that is through waits so long, at most, for a busy event loop
log = structlog.get_logger()


def clock() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a short random id."""
    return secrets.token_hex(6)


def new_secret() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def serve(settings: Settings) -> None:
    """Run the control plane until it is told to end.

    Raises:
        Conflict: the port is taken, or another process serves this SQLite database.
        SchemaMismatch: the schema is not the one needed, and `migrate` is off.
    """
    telemetry.configure_logging(settings.log_level, settings.log_format)
    _use_one_arena()
    sys.setswitchinterval(_SWITCH_S)
    listener = listen(settings.host, settings.port)
    if settings.workers > 1:
        settings = keys.with_shutdown_key(settings, new_secret)
        upkeep.make_home(settings)
        upkeep.prepare(settings)
        workers.fork(settings.workers, listener)
    uvloop.run(_serve(settings, listener))


def _use_one_arena() -> None:
    """Keep glibc from giving each thread a heap of its own: 7 MB less; ours wait for the most."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


@dataclass(slots=True)
class Running:
    """A control plane that serves."""

    url: str
    ended: asyncio.Task[None]  # done when it was told to end and did


@asynccontextmanager
async def running(
    settings: Settings,
    listener: socket.socket | None = None,
    told_to_end: asyncio.Event | None = None,
) -> AsyncIterator[Running]:
    """Serve until the block ends; `url` answers from the block's first line on.

    It listens on its own unless it is given a socket, and also ends when `told_to_end` is set.
    """
    failpoints.arm(settings.failpoints)
    listener = listener or listen(settings.host, settings.port)
    told_to_end, url = told_to_end or asyncio.Event(), _url(listener)
    async with _composed(settings, told_to_end.set) as (app, reconciler):
        server = _Server(_server_config(app, settings), app.state.running.feed, reconciler)
        ended = asyncio.create_task(_serve_until(server, listener, told_to_end))
        try:
            while not (server.started or ended.done()):  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
            gc.freeze()  # what start-up made lives for ever: no collection need look at it
            log.info("control plane serves", url=url, auth=settings.auth)
            yield Running(url, ended)
        finally:
            server.should_exit = True
            await ended
            log.info("control plane ended")


class _Server(uvicorn.Server):
    """Ends in an order that others can take over from at once."""

    def __init__(self, config: uvicorn.Config, feed: Feed, reconciler: Reconciler) -> None:
        super().__init__(config)
        self._feed = feed
        self._reconciler = reconciler

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Be ready no more, let go of streams and fleets, and only then wait for requests."""
        await self._feed.close()
        stopping = asyncio.create_task(self._reconciler.stop())
        await super().shutdown(sockets)
        await stopping


async def _serve_until(
    server: uvicorn.Server, listener: socket.socket, told_to_end: asyncio.Event
) -> None:
    async def end() -> None:
        await told_to_end.wait()
        server.should_exit = True

    ending = asyncio.create_task(end())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()


def end_by_signals_in_order(told: Callable[[], None] = lambda: None) -> None:
    """Have SIGINT and SIGTERM call this alone, while the server does not handle them itself.

    It does not yet while we start; and it hands the signal on after its own shutdown, when the
    loop and the store are still to close.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told())


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    Raises:
        Conflict: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        text = f"cannot listen on {host}:{port}: {error.strerror}"
        raise Conflict(text, hint="choose another with --port") from None
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    loop, told_to_end = asyncio.get_running_loop(), asyncio.Event()
    end_by_signals_in_order(lambda: _call_in(loop, told_to_end.set))
    async with running(settings, listener, told_to_end) as control:
        await control.ended


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(call)


@asynccontextmanager
async def _composed(
    settings: Settings, shut_down: Callable[[], None]
) -> AsyncIterator[tuple[FastAPI, Reconciler]]:
    """Open everything in order, and close it in the opposite one."""
    upkeep.make_home(settings)
    settings = keys.with_shutdown_key(settings, new_secret)
    with files.hold(settings.url):
        await asyncio.to_thread(upkeep.prepare, settings)
        idle_s = min(IDLE_S, settings.lease_ttl_s * 0.4)
        audit_keys = keys.of_audit(settings, new_secret)
        db = Database.open(settings.url, idle_s=idle_s, audit_keys=audit_keys)
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        connect = partial(CountedServer, metrics)
        reconciler = Reconciler(db, connect, clock, _loop_options(settings))
        metrics.fleets_led.set_function(reconciler.leads)
        try:
            if settings.auth == "on":
                await _first_admin(db, settings.admin_token_file)
            app = create_app(_parts(settings, db, reconciler, registry, shut_down))
            app.router.routes.append(Door(site_of(app.state.running)))
            await reconciler.start()
            async with _beside(
                metrics.measure_lag(),
                metrics.count_rollouts(db),
                upkeep.forget(db, clock, settings.journal_days, audit_days=settings.audit_days),
                auditing.anchor(db, settings.anchors, clock),
                notices.follow(db, _hearing(app, reconciler)),
            ):
                yield app, reconciler
        finally:
            await reconciler.stop()
            await db.close()


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this while the block runs."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _hearing(app: FastAPI, reconciler: Reconciler) -> Callable[[Notice], None]:
    def heard(notice: Notice) -> None:
        app.state.running.feed.poke()
        reconciler.heard(notice)

    return heard


def _parts(
    settings: Settings,
    db: Database,
    reconciler: Reconciler,
    registry: CollectorRegistry,
    shut_down: Callable[[], None],
) -> AppParts:
    return AppParts(
        db=db,
        auth_required=settings.auth == "on",
        reconciler=reconciler,
        connect=GrpcModelServer,
        clock=clock,
        new_id=new_id,
        new_secret=new_secret,
        registry=registry,
        lookup=Lookup(parse_ip_addresses("dns_servers", settings.dns_servers)),
        version=control_plane.__version__,
        health=reconciler.health,
        started=reconciler.started,
        turns=reconciler.turns,
        anchored=partial(auditing.lines, settings.anchors),
        shut_down=workers.end_parent if settings.workers > 1 else shut_down,
        options=ApiOptions(
            docs=settings.api_docs,
            body_bytes=settings.body_bytes,
            predict_body_bytes=settings.predict_body_bytes,
            predict_timeout_s=settings.predict_timeout_s,
            streams=settings.event_streams,
            wait_s=settings.wait_s,
            shutdown_key=settings.shutdown_key,
        ),
    )


def site_of(running: RunningApi) -> Site:
    """Give the dashboard what the API has."""
    parts = running.parts
    return Site(
        db=parts.db,
        access=running.access,
        feed=running.feed,
        resolved=running.resolved,
        predictor=running.predictor,
        auth_required=parts.auth_required,
        clock=parts.clock,
        new_id=parts.new_id,
        new_secret=parts.new_secret,
        version=parts.version,
        nudge=parts.reconciler.nudge,
        latency_ms=parts.reconciler.latency_ms,
        status_of=status_of,
        streams=running.streams,
        most_streams=parts.options.streams,
        predict_timeout_s=parts.options.predict_timeout_s,
    )


def _loop_options(settings: Settings) -> Options:
    # The lock on a SQLite file proves that the last process is gone, so its lease is taken at once.
    several = not settings.url.startswith("sqlite")
    who = f"{socket.gethostname()[:80]}-{os.getpid()}-{secrets.token_hex(3)}"
    return Options(
        observe_interval_s=settings.observe_interval_s,
        sweep_s=settings.sweep_s,
        discovery_s=settings.discovery_s,
        dns_servers=parse_ip_addresses("dns_servers", settings.dns_servers),
        hook_commands_file=settings.hook_commands_file,
        holder=who if several else ALONE,
        terms=settings.lease,
    )


def _server_config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )


async def _first_admin(db: Database, file: Path) -> None:
    """Write the first admin token aside before the database knows it, so that none is lost."""
    secret = new_secret()
    id_ = new_id()
    aside = file.with_suffix(f".{id_}")  # other workers do the same at this moment
    keys.write(aside, f"cp_{id_}_{secret}")
    made = await access.first_admin(db, id_=id_, secret=secret, now=clock())
    if made is None:
        aside.unlink()
        return
    aside.rename(file)
    log.info("the first admin token is in a file", file=str(file), name=made.token.name)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
