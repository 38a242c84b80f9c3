"""Leaders that are killed and frozen are followed by others; two processes share one port."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.leader_kills import measure
from tests.databases import fresh_database, postgres_server
from tests.faults.replica_processes import QUICK, Replica, eventually


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with postgres_server() as postgres, fresh_database(postgres) as url:
        made = Replica(tmp_path, url, "one", QUICK)
        yield made
        made.close()


def test_the_next_leader_ends_what_a_killed_or_frozen_one_began(tmp_path: Path) -> None:
    ways = [signal.SIGKILL, signal.SIGSTOP]
    measured = measure(tmp_path, ways, seed=3, environment=QUICK, count=2)
    assert measured.stale_pushes == 0
    assert [len(measured.took_s[way]) for way in ways] == [1, 1]


def workers_of(replica: Replica) -> set[int]:
    return {one.pid for one in psutil.Process(replica.pid).children()}


def test_workers_share_a_port_are_replaced_and_end_together(replica: Replica) -> None:
    replica.start("--workers", "2")
    eventually(replica.checks, lambda seen: "replicas: 2" in seen.get("leases", ""))
    before = workers_of(replica)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: workers_of(replica), lambda seen: len(seen - {killed}) == 2)
    eventually(replica.checks, lambda seen: "leads 1 of 1 fleets; replicas: 2" in seen["leases"])
    replica.signal(signal.SIGTERM)
    assert replica.wait() == 0
    assert not any(psutil.pid_exists(pid) for pid in before)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", replica.port))
