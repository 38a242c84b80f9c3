"""Leaders that are killed, ended or frozen are followed by others; workers share one port."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.chaos.leader_kills import measure
from tests.contract.served import free_port
from tests.databases import fresh_database, postgres_server
from tests.faults.processes import eventually
from tests.faults.replica_processes import PATIENCE_S, QUICK, checks, standing


def test_the_next_leader_ends_what_another_began(tmp_path: Path) -> None:
    ways = [signal.SIGKILL, signal.SIGTERM]
    measured = measure(tmp_path, ways, seed=3, environment=QUICK, count=2)
    assert measured.stale_pushes == 0
    assert [len(measured.over_s[way]) for way in ways] == [1, 1]


def test_a_leader_that_froze_before_it_sent_sends_nothing_when_it_comes_back(
    tmp_path: Path,
) -> None:
    before = "push.before_send"
    with standing(tmp_path, 2, {**QUICK, "TFSCTL_FAILPOINTS": f"{before}=sleep:1"}) as stand:
        frozen, other = stand.leader(), stand.follower()
        sent = frozen.log.read_text().count(before)
        rollout = stand.promote(other, 2)
        eventually(lambda: frozen.log.read_text().count(before), lambda seen: seen > sent)
        frozen.signal(signal.SIGSTOP)
        stand.over(other, rollout)
        stand.over(other, stand.promote(other, 1))
        pushed = stand.reloads(other)
        frozen.signal(signal.SIGCONT)
        eventually(lambda: "the lease ended before it was sent" in frozen.log.read_text(), bool)
        stand.wait_for(2)
        assert "leads 0 of 1" in frozen.checks()["leases"]
        assert stand.reloads(other) == pushed
        assert stand.server.label() == 1


@contextmanager
def workers(home: Path, port: int, count: int) -> Iterator[psutil.Popen]:
    """`tfsctl serve --workers` on PostgreSQL."""
    command = [sys.executable, "-m", "control_plane", "serve", "--workers", str(count)]
    with (
        postgres_server() as postgres,
        fresh_database(postgres) as url,
        (home / "log").open("wb") as log,
    ):
        where = ["--port", str(port), "--database-url", url, "--data-dir", str(home)]
        running = psutil.Popen([*command, "--auth", "off", *where], stdout=log, stderr=log)
        try:
            yield running
        finally:
            if running.is_running():
                running.kill()
            running.wait(20)


def workers_of(process: psutil.Popen) -> set[int]:
    return {one.pid for one in process.children()}


def test_workers_share_a_port_are_replaced_and_end_together(tmp_path: Path) -> None:
    port = free_port()

    def leases() -> str:
        return checks(port).get("leases", "")

    with workers(tmp_path, port, 2) as parent:
        eventually(leases, lambda seen: "replicas: 2" in seen, PATIENCE_S)
        first = min(workers_of(parent))
        os.kill(first, signal.SIGKILL)
        after = eventually(
            lambda: workers_of(parent), lambda seen: len(seen) == 2 and first not in seen
        )
        eventually(leases, lambda seen: "leads 1 of 1 fleets" in seen, PATIENCE_S)
        parent.terminate()
        assert parent.wait(20) == 0
        assert not any(psutil.pid_exists(pid) for pid in after)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
