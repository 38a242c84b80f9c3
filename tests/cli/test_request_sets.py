"""`tfsctl model request-set` against a running control plane."""

from pathlib import Path

from tests.cli.living import Living

MODEL = "half_plus_two"


def test_a_set_is_uploaded_shown_and_deleted(served: Living, tmp_path: Path) -> None:
    tfsctl = served.tfsctl
    file = tmp_path / "golden.jsonl"
    file.write_text('{"instances": [1.0]}\n{"instances": [2.0]}\n')
    add = ("model", "request-set", "add", MODEL, "golden", str(file))
    assert tfsctl(*add, "--dry-run").code == 0
    assert tfsctl.ok(*add)["records"] == 2
    assert tfsctl(*add).code == 5
    listed = tfsctl("model", "request-set", "list", MODEL, "-o", "name")
    assert listed.out.split() == ["golden"]
    shown = tfsctl.ok("model", "request-set", "show", MODEL, "golden")
    assert (shown["form"], shown["size_bytes"]) == ("json", file.stat().st_size)
    assert tfsctl("model", "request-set", "delete", MODEL, "golden", "--yes").code == 0
    assert tfsctl("model", "request-set", "show", MODEL, "golden").code == 3


def test_what_is_no_set_is_refused_with_the_record(served: Living, tmp_path: Path) -> None:
    tfsctl = served.tfsctl
    file = tmp_path / "odd.jsonl"
    file.write_text('{"instances": [1.0]}\n{"instances": ["x"]}\n')
    refused = tfsctl("model", "request-set", "add", MODEL, "odd", str(file))
    assert (refused.code, "record 2: " in refused.err) == (2, True)
    nothing = str(tmp_path / "nothing")
    assert tfsctl("model", "request-set", "add", MODEL, "odd", nothing).code == 2
