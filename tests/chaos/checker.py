"""Proves the invariants of a run from its history: pure, from lines to violations.

`python -m tests.chaos.checker FILE…` checks history files that a run left.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.chaos.check_journal import (
    check_journal,
    check_leases,
    check_outages,
    check_reads,
    check_revisions,
    check_rollbacks,
    check_rollouts,
    check_writes,
)
from tests.chaos.check_servers import check_servers
from tests.chaos.history import Record, read
from tests.chaos.violation import Violation

CHECKS: tuple[Callable[[Sequence[Record]], Iterator[Violation]], ...] = (
    check_servers,
    check_writes,
    check_reads,
    check_revisions,
    check_journal,
    check_rollouts,
    check_leases,
    check_outages,
    check_rollbacks,
)


def check(history: Sequence[Record]) -> list[Violation]:
    """Return everything that was broken, in the order of time."""
    return sorted(one for each in CHECKS for one in each(history))


def main() -> int:
    found = check(read(Path(one) for one in sys.argv[1:]))
    sys.stdout.writelines(f"{one}\n" for one in found)
    sys.stdout.write(f"{len(found)} violations\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
