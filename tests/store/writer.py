"""A process that appends events and says each number once it is committed: killed by a test."""

import asyncio
import sys

from control_plane.store import journal
from control_plane.store.database import Database
from control_plane.store.files import hold
from tests.store.builders import an_event


async def main(url: str) -> None:
    db = Database.open(url)
    while True:
        async with db.begin() as s:
            appended = await journal.append(s, an_event(), an_event())
        print(appended[-1].seq, flush=True)


if __name__ == "__main__":
    with hold(sys.argv[1]):
        asyncio.run(main(sys.argv[1]))
