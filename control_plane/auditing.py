"""What is done about the audit chain beside serving: its anchors, and a check without a server."""

import asyncio
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from control_plane import keys
from control_plane.domain.audit import Head, anchor_line, moment
from control_plane.domain.errors import ControlPlaneError
from control_plane.settings import Settings

if TYPE_CHECKING:
    from control_plane.store.database import Database

ANCHOR_S: Final = 60.0
log = structlog.get_logger()


def lines(file: Path) -> Iterable[str]:
    """Return the lines of an anchor file; none where there is no file yet."""
    return file.read_text().splitlines() if file.exists() else ()


async def anchor(
    db: "Database", file: Path, clock: Callable[[], datetime], every_s: float = ANCHOR_S
) -> None:
    """Write where the chain ends to a file and to the log, now and then, until cancelled."""
    from control_plane.services import audit

    last = Head(0, "")
    while True:
        try:
            head = await audit.head(db)
            if head != last:
                await asyncio.to_thread(_append, file, anchor_line(head, moment(clock())))
                log.info("audit anchor", seq=head.seq, seal=head.seal)
                last = head
        except (ControlPlaneError, OSError) as error:
            log.warning("could not anchor the audit chain", error=str(error))
        await asyncio.sleep(every_s)


def verify(settings: Settings) -> dict[str, Any]:
    """Check the chain of a database without a server; see `services.audit.verdict_json`.

    Raises:
        FieldInvalid: there is no audit key.
        StoreBusy: the database does not answer.
    """
    return asyncio.run(_verify(settings))


async def _verify(settings: Settings) -> dict[str, Any]:
    from control_plane.services import audit
    from control_plane.store.database import Database

    db = Database.open(settings.url, audit_keys=keys.of_audit(settings))
    try:
        found = await audit.verify(db, lambda: lines(settings.anchors))
    finally:
        await db.close()
    return audit.verdict_json(found)


def _append(file: Path, line: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
