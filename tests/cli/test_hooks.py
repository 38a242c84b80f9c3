"""`tfsctl hook` against a running control plane."""

from tests.cli.living import Tfsctl


def test_a_hook_is_added_shown_and_deleted(tfsctl: Tfsctl) -> None:
    url = "http://127.0.0.1:9/initialize"
    made = ("hook", "add", "init", "--moment", "after_load", "--url", url)
    assert tfsctl(*made, "--fail-if-json", "errorMessage", "-o", "name").out == "init\n"
    shown = tfsctl("hook", "show", "init", "-o", "json").data
    assert (shown["http"]["url"], shown["fail_if"]) == (url, {"json": "errorMessage"})
    assert f"POST {url}" in tfsctl("hook", "list", "-o", "table").out
    assert tfsctl("hook", "runs", "init", "-o", "json").data == []
    assert tfsctl(*made).code == 5
    assert tfsctl("hook", "delete", "init", "--yes").code == 0
    assert tfsctl("hook", "show", "init").code == 3


def test_a_hook_that_does_nothing_is_refused_with_the_field(tfsctl: Tfsctl) -> None:
    ran = tfsctl("hook", "add", "idle", "--moment", "before_load")
    assert ran.code == 2
    assert "exactly one of http, command, builtin" in ran.err
