"""The page about gates: its examples are strategies, and every field has its words."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.gate import Replay, check_gate, parse_gate
from control_plane.domain.strategy import to_json
from control_plane.domain.strategy_document import parse

PAGE = (Path(__file__).parents[2] / "docs" / "gates.md").read_text()
SECTIONS = {
    found[1]: found[2] for found in re.finditer(r"(?ms)^## (\w+): .*?$(.*?)(?=^## |\Z)", PAGE)
}
EXAMPLES = {
    name: re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for name, text in SECTIONS.items()
}


def _known(document: Any) -> set[str]:
    """What a refusal says that could have been given."""
    with pytest.raises(FieldInvalid) as refused:
        check_gate("gate", document)
    return set(refused.value.hint.partition(" ")[2].replace("of ", "").split(", "))


KINDS = sorted(_known({"kind": "?"}))


def _gate(kind: str) -> dict[str, Any]:
    (text,) = EXAMPLES[kind]
    steps = [one["gate"] for one in yaml.safe_load(text)["steps"] if "gate" in one]
    (found,) = steps
    return dict(found)


def test_every_kind_of_gate_and_the_approval_have_a_section() -> None:
    assert sorted(SECTIONS) == sorted([*KINDS, "approve"])


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_shows_a_strategy_that_can_be_stored(name: str) -> None:
    (text,) = EXAMPLES[name]
    assert name in str(to_json(parse(yaml.safe_load(text))))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_gate_is_explained(kind: str) -> None:
    known = _known({"kind": kind, "?": 1}) - {"kind", "name"}
    assert known
    assert [one for one in known if f"`{one}`" not in SECTIONS[kind]] == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [("replay", ("tolerance",)), ("freeze", ("windows", 0)), ("metrics", ("per",))],
)
def test_every_field_within_a_field_is_explained(kind: str, path: tuple[str | int, ...]) -> None:
    document = _gate(kind)
    inner: Any = document
    for part in path:
        inner = inner[part]
    inner["?"] = 1
    known = _known({name: one for name, one in document.items() if name != "name"})
    assert len(known) > 1
    assert [one for one in known if f"`{one}`" not in SECTIONS[kind]] == []


def test_the_example_of_a_replay_is_read_as_it_is_meant() -> None:
    gate = parse_gate("gate", _gate("replay"))
    assert isinstance(gate, Replay)
    assert (gate.request_set, gate.records, gate.required) == ("golden", 100, True)
    assert gate.models["embedder"].max_abs == 0.1
