"""The docs: complete, made from the code where they can be, and right about commands and links."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.domain.events import EventKind
from control_plane.settings import PREFIX, Settings
from tests.docs import reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = reference.pages()
COMMANDS = dict(reference.commands())
_GROUPS = {name.rsplit(" ", 1)[0] for name in COMMANDS}


@pytest.mark.parametrize("name", sorted(MADE))
def test_reference_pages_are_what_the_code_says(name: str) -> None:
    on_disk = (ROOT / "docs" / name).read_text()
    assert on_disk == MADE[name], "run `python -m tests.docs.reference`"


def test_every_command_event_and_setting_is_in_the_reference() -> None:
    assert all(f"## `{name}" in MADE["cli.md"] for name in COMMANDS)
    assert all(f"| `{kind}` |" in MADE["events.md"] for kind in EventKind)
    variables = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    assert all(f"| `{name}` |" in MADE["settings.md"] for name in variables)


def test_settings_named_in_the_docs_exist() -> None:
    known = set(re.findall(r"TFSCTL_[A-Z_]+", MADE["settings.md"]))
    for page in PAGES:
        assert set(re.findall(r"TFSCTL_[A-Z_]+", page.read_text())) <= known, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_shown_in_the_docs_exist_with_their_options(page: Path) -> None:
    for line in _shown(page.read_text()):
        name, options = _parsed(line)
        assert name in COMMANDS, line
        known = {text for one in COMMANDS[name].params for text in (*one.opts, *one.secondary_opts)}
        assert options <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        target, _, _heading = link.partition("#")
        assert (page.parent / target).exists(), link


def _shown(text: str) -> Iterator[str]:
    """Every `tfsctl …` line of the code blocks, and every one in backquotes."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if found := re.match(r"\s*(?:\.venv/bin/)?(tfsctl [^#'\"]*)", line):
                yield found[1].strip()
    yield from re.findall(r"`(tfsctl [a-z][^`]*)`", text)


def _parsed(line: str) -> tuple[str, set[str]]:
    words = line.split()
    length = 2
    while " ".join(words[:length]) in _GROUPS and length < len(words):
        length += 1
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    return " ".join(words[:length]), options
