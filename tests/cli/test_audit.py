"""`tfsctl audit`, over the API and beside it."""

import json
import sqlite3
from contextlib import closing

from tests.cli.living import Living


def test_records_are_exported_and_verified_and_tampering_is_found(plane: Living) -> None:
    tfsctl = plane.tfsctl
    tfsctl.ok("fleet", "add", "eu")
    tfsctl.ok("fleet", "add", "us")
    exported = [json.loads(line) for line in tfsctl("audit", "export").out.splitlines()]
    assert [(one["seq"], one["changes"][0]["key"]) for one in exported] == [
        (2, {"name": "us"}),
        (1, {"name": "eu"}),
    ]
    assert tfsctl("audit", "export", "--actor", "eve").out == ""
    assert (plane.home / "audit-key").stat().st_mode & 0o777 == 0o600
    offline = ("audit", "verify", "--offline", "--data-dir", str(plane.home))
    for verify in (("audit", "verify"), offline):
        told = tfsctl.ok(*verify)
        assert (told["ok"], told["checked"], told["faults"]) == (True, 2, [])
    with closing(sqlite3.connect(plane.home / "control-plane.db", timeout=30)) as db:
        db.execute("DROP TRIGGER audit_changed")
        db.execute("UPDATE audit SET actor = 'eve' WHERE seq = 1")
        db.commit()
    for verify in (("audit", "verify"), offline):
        ran = tfsctl(*verify)
        assert ran.code == 11
        assert ran.data["faults"] == ["record 1: its seal is not its own"]
        assert "record 1: its seal is not its own" in ran.err


def test_without_the_key_nothing_is_verified_beside_the_api(plane: Living) -> None:
    url = f"sqlite:///{plane.home}/control-plane.db"
    elsewhere = str(plane.home / "elsewhere")
    ran = plane.tfsctl(
        "audit", "verify", "--offline", "--database-url", url, "--data-dir", elsewhere
    )
    assert ran.code == 2
    assert "audit_key_file" in ran.err
    assert plane.tfsctl("audit", "verify", "--offline", TFSCTL_AUDIT_KEY="short").code == 2
