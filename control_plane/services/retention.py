"""What is forgotten, and when: a little at a time, so that no delete holds up those who write.

Answers under an Idempotency-Key go after a day, runs of hooks that an event called for after
`EVENT_RUNS_DAYS`. The journal is kept for ever unless somebody says for how many days. What of it
is older goes then, with the runs of hooks and the plans of rollouts that ended: all but what tells
which version answered where, and who moved it. Revisions and rollouts always stay. Audit records
have days of their own, and also stay for ever unless somebody says so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from control_plane.domain.answering import TOLD_BY
from control_plane.store import audit, hooks, idempotency, journal, plans
from control_plane.store.database import Database, Session

EVENT_RUNS_DAYS: Final = 30
BATCH: Final = 500  # rows in a transaction: some milliseconds
_PAUSE_S: Final = 0.1  # between two, for others
_Forget: TypeAlias = Callable[[Session], Awaitable[int]]  # returns how many rows it has dealt with


async def forget(
    db: Database, now: datetime, journal_days: int | None, audit_days: int | None = None
) -> int:
    """Delete what is too old; return how many rows were looked at or deleted.

    Raises:
        StoreBusy: the database is busy; what was deleted until then is gone.
    """
    runs_before = now - timedelta(days=EVENT_RUNS_DAYS)
    work: list[_Forget] = [
        partial(idempotency.forget, most=BATCH),
        partial(hooks.forget_runs_of_events, before=runs_before, most=BATCH),
    ]
    if journal_days is not None:
        before = now - timedelta(days=journal_days)
        work += [
            partial(journal.forget, before=before, most=BATCH, but=TOLD_BY),
            partial(hooks.forget_runs_of_rollouts, before=before, most=BATCH),
            partial(plans.forget, before=before, most=BATCH),
        ]
    if audit_days is not None and db.audit_keys is not None:
        old = now - timedelta(days=audit_days)
        work.append(partial(audit.forget, keys=db.audit_keys, before=old, most=BATCH))
    return sum([await _forget_all(db, one) for one in work])


async def _forget_all(db: Database, some: _Forget) -> int:
    total = 0
    while True:
        async with db.begin() as s:
            gone = await some(s)
        total += gone
        if gone < BATCH:
            return total
        await asyncio.sleep(_PAUSE_S)
