"""`tfsctl source`, and draining, against a running control plane."""

from tests.cli.living import Living, Tfsctl, eventually


def names(tfsctl: Tfsctl) -> list[str]:
    return sorted(one["name"] for one in tfsctl.ok("server", "list", "-o", "json"))


def test_servers_of_a_file_are_registered_and_forgotten(plane: Living) -> None:
    tfsctl, file = plane.tfsctl, plane.home / "servers"
    address = plane.dev_server()
    name = address.replace(":", "-")
    file.write_text(f"{address}\n")
    add = ("source", "add", "found", "--kind", "file", "--path", str(file))
    made = tfsctl.ok(*add, "--take-over", "--grace-s", "1", "--flag", "num_load_threads=2")
    assert (made["take_over"], made["flags"]) == (True, {"num_load_threads": 2})
    eventually(lambda: names(tfsctl) == [name], "the server is registered")
    shown = tfsctl.ok("server", "show", name, "-o", "json")
    assert (shown["source"], shown["flags"]) == ("found", {"num_load_threads": 2})
    assert "lists 1 server" in tfsctl("source", "list", "-o", "table").out
    assert tfsctl("server", "remove", name, "--yes").code == 5
    changed = tfsctl.ok("source", "change", "found", "--grace-s", "2", "--ask")
    assert (changed["grace_s"], changed["take_over"]) == (2, False)
    assert tfsctl("source", "delete", "found", "--with-servers", "--yes").code == 0
    assert names(tfsctl) == []


def test_a_source_that_lists_nothing_is_refused_with_the_field(tfsctl: Tfsctl) -> None:
    ran = tfsctl("source", "add", "none", "--kind", "file", "--path", "/nowhere/servers")
    assert ran.code == 2
    assert "path" in ran.err
    assert "force" in ran.err


def test_a_server_is_drained_and_undrained(tfsctl: Tfsctl) -> None:
    tfsctl.ok("server", "add", "127.0.0.1:1", "--name", "one")
    drained = tfsctl.ok("server", "drain", "one", "--reason", "new kernel")
    assert (drained["drained"], drained["drain"]["reason"]) == (True, "new kernel")
    assert tfsctl.ok("server", "undrain", "one")["drained"] is False
    assert tfsctl("server", "drain", "two").code == 3
    assert tfsctl("server", "remove", "one", "--yes").code == 0


def test_a_fleet_is_changed(tfsctl: Tfsctl) -> None:
    changed = tfsctl.ok(
        "fleet", "change", "default", "--max-unavailable", "2", "--boot-config-dir", "/boot"
    )
    assert (changed["max_unavailable"], changed["boot_config_dir"]) == (2, "/boot")
    back = tfsctl.ok(
        "fleet", "change", "default", "--max-unavailable", "0", "--boot-config-dir", ""
    )
    assert (back["max_unavailable"], back["boot_config_dir"]) == (0, "")
