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


FROZEN = """
steps:
- load
- gate:
    kind: freeze
    windows: [{from: "2020-01-01T00:00:00Z", to: "2120-01-01T00:00:00Z", reason: sale}]
- approve: {count: 1}
- promote
"""


def test_a_freeze_is_exit_code_five_a_gate_six_and_a_broken_glass_passes_both(
    served: Living, tmp_path: Path
) -> None:
    tfsctl = served.tfsctl
    file = tmp_path / "frozen.yaml"
    file.write_text(FROZEN)
    tfsctl.ok("strategy", "put", str(file))
    asked = ("promote", MODEL, "3", "--force", "--strategy", "frozen")
    refused = tfsctl(*asked)
    assert (refused.code, "(sale)" in refused.err, "break_glass" in refused.err) == (5, True, True)
    started = tfsctl(*asked, "--break-glass", "prod is down", "--no-wait")
    assert started.code == 0
    rollout = started.data["id"]
    blocked = tfsctl("rollout", "promote-now", rollout)
    assert (blocked.code, "waiting for approval: 0 of 1" in blocked.err) == (6, True)
    assert tfsctl("rollout", "promote-now", rollout, "--break-glass", "prod is down").code == 0
    assert tfsctl("rollout", "watch", rollout).code == 0
    assert tfsctl.ok("status", MODEL)["labels"]["stable"] == 3
    tfsctl.ok("strategy", "delete", "frozen", "--yes")
