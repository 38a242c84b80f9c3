"""`tfsctl strategy`, and promotions that follow one."""

from pathlib import Path

import yaml

from tests.cli.living import Living

MODEL = "half_plus_two"
CAREFUL = """
description: the canary first
steps:
- load
- canary
- bake: {seconds: 0.2}
- promote: {waves: [1, 100%]}
- retire
"""


def test_a_strategy_is_written_followed_and_deleted(served: Living, tmp_path: Path) -> None:
    tfsctl = served.tfsctl
    file = tmp_path / "careful.yaml"
    file.write_text(CAREFUL)
    assert tfsctl.ok("strategy", "put", str(file))["number"] == 1
    assert tfsctl("-o", "name", "strategy", "list").out.split() == ["canary", "careful", "direct"]
    shown = tfsctl("-o", "table", "strategy", "show", "careful").out
    assert yaml.safe_load(shown)["steps"][2] == {"bake": {"seconds": 0.2}}
    again = tfsctl("strategy", "put", "-", "--name", "careful", stdin=shown)
    assert again.data["number"] == 1
    promoted = tfsctl("promote", MODEL, "2", "--force", "--strategy", "careful")
    assert (promoted.code, promoted.data["strategy"]) == (0, {"name": "careful", "number": 1})
    assert tfsctl.ok("status", MODEL)["labels"] == {"stable": 2, "canary": 2}
    tfsctl.ok("strategy", "delete", "careful", "--yes")
    assert tfsctl("strategy", "show", "careful").code == 3
    assert tfsctl.ok("strategy", "show", "careful", "--number", "1")["number"] == 1


def test_what_is_no_strategy_is_a_usage_error(served: Living, tmp_path: Path) -> None:
    tfsctl = served.tfsctl
    file = tmp_path / "odd.yaml"
    file.write_text("steps: [promote]")
    refused = tfsctl("strategy", "put", str(file))
    assert (refused.code, "steps[0]" in refused.err) == (2, True)
    file.write_text("[]")
    assert tfsctl("strategy", "put", str(file)).code == 2
    assert tfsctl("strategy", "put", str(tmp_path / "nothing")).code == 2
    assert tfsctl("promote", MODEL, "3", "--force", "--strategy", "odd").code == 2


def test_a_model_gets_a_default(served: Living) -> None:
    tfsctl = served.tfsctl
    assert tfsctl.ok("strategy", "default", MODEL, "canary")["default_strategy"] == "canary"
    assert tfsctl("strategy", "default", MODEL, "nothing").code == 2
    assert tfsctl.ok("strategy", "default", MODEL, "")["default_strategy"] == ""
