"""`tfsctl fleet import`, of what a server serves already."""

from pathlib import Path

from tests.cli.living import Living


def config(served: Living, *names: str) -> str:
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{served.models}/half_plus_two"'
        " model_version_policy { specific { versions: 1 } } }"
        for name in names
    )
    return f"model_config_list {{ {entries} }}"


def test_a_file_is_imported_and_says_what_would_go_out_first(
    served: Living, tmp_path: Path
) -> None:
    file = tmp_path / "models.config"
    file.write_text(config(served, "half_plus_two", "twin"))
    dry = served.tfsctl("fleet", "import", str(file), "--dry-run", "-o", "table")
    assert dry.code == 0, dry
    assert "all of it is deployed so already" in dry.out
    assert "half_plus_two: 1, labels stable=1" in dry.out
    assert "one, once it is taken over: no changes but our markers" in dry.out
    assert "twin: nothing of it is loaded" in dry.err
    done = served.tfsctl("fleet", "import", "-", stdin=config(served, "half_plus_two"))
    assert done.data["changed"] is False
    assert served.tfsctl("fleet", "import", str(tmp_path / "none")).code == 2
    assert served.tfsctl("fleet", "import", "-", stdin="model_config_list {").code == 2
