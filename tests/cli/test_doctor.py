"""`tfsctl doctor` and `tfsctl server change`, against a server that runs."""

from tests.cli.living import Living


def test_the_doctor_tells_and_its_exit_code_says_whether_something_is_wrong(served: Living) -> None:
    tfsctl = served.tfsctl
    known = tfsctl("doctor", "one", "--json")
    assert known.code == 0, known
    assert {one["check"]: one["verdict"] for one in known.data["findings"]}["paths"] == "ok"
    changed = tfsctl.ok("server", "change", "one", "--flag", "num_load_threads=0")
    assert changed["flags"] == {"num_load_threads": 0}
    bad = tfsctl("doctor", "-o", "table")
    assert bad.code == 11
    line = next(line for line in bad.out.splitlines() if "load-threads" in line)
    assert "problem" in line
    assert "--num_load_threads=2" in line
    forgot = tfsctl.ok("server", "change", "one", "--flag", "num_load_threads=null")
    assert forgot["flags"] == {}
    assert tfsctl("doctor", "one", "-o", "name").out.splitlines()[0] == "one/reachability"
    assert tfsctl("doctor", "nobody").code == 3


def test_a_rest_address_is_told_later_and_taken_back(served: Living) -> None:
    tfsctl = served.tfsctl
    given = tfsctl.ok("server", "change", "one", "--rest-address", "127.0.0.1:1")
    assert given["rest_address"] == "127.0.0.1:1"
    assert tfsctl("doctor", "one").code == 11
    assert tfsctl.ok("server", "change", "one", "--rest-address", "")["rest_address"] == ""
    assert tfsctl("doctor", "one").code == 0


def test_a_fleet_is_told_what_to_do_on_drift_and_a_server_to_go_back(served: Living) -> None:
    tfsctl = served.tfsctl
    changed = tfsctl.ok("fleet", "change", "default", "--on-drift", "alert")
    assert changed["on_drift"] == "alert"
    assert tfsctl("fleet", "change", "default", "--on-drift", "nonsense").code == 2
    assert tfsctl.ok("server", "enforce", "one", "--reason", "ours")["name"] == "one"
    assert tfsctl("server", "enforce", "nobody").code == 3
