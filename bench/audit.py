"""`python -m bench.audit [--records 1000000]`: how long it takes to verify an audit chain."""

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from control_plane.domain.audit import Keys, Record, anchor_line, document
from control_plane.services import audit
from control_plane.store import schema
from control_plane.store.database import Database

_KEYS = Keys("k" * 32)
_STATE = {"versions": [1, 2], "labels": {"stable": 1}, "policy": {"kind": "specific"}}
_KEY = {"fleet": "default", "model": "ranker"}
_CHANGE = {"of": "deployments", "key": _KEY, "before": _STATE, "after": _STATE}
_INTO = f"INSERT INTO audit ({', '.join(Record._fields)}) VALUES ({', '.join('?' * 11)})"


def _records(count: int) -> Iterator[Record]:
    prev = ""
    for seq in range(1, count + 1):
        events = [{"seq": 2 * seq, "kind": "revision.created"} | _KEY]
        made = Record(
            seq=seq,
            at="2026-01-01T00:00:00.000000Z",
            actor="ada",
            token="8290ce410937",
            address="192.0.2.7",
            request=f"a6eaf750b183-{seq:x}",
            call="POST /api/v1/fleets/default/deployments/ranker:promote",
            document=document(events, [_CHANGE]),
            key="",
            prev=prev,
        )
        sealed = _KEYS.sealed(made)
        prev = sealed.seal
        yield sealed


async def _measured(url: str) -> str:
    db = Database.open(url, audit_keys=_KEYS)
    try:
        anchor = anchor_line(await audit.head(db), "now")
        began, cpu = time.perf_counter(), time.process_time()
        found = await audit.verify(db, lambda: [anchor])
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    finally:
        await db.close()
    return f"{found.checked} records, {found.wrong} wrong: {took_s:.2f} s, {cpu_s:.2f} s of CPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "control-plane.db"
        schema.upgrade(f"sqlite:///{file}")
        with closing(sqlite3.connect(file)) as db:
            db.executemany(_INTO, _records(count))
            db.commit()
        sys.stdout.write(f"{asyncio.run(_measured(f'sqlite:///{file}'))}\n")


if __name__ == "__main__":
    main()
