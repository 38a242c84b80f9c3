"""A config file and what servers show of it -> deployments; and what would go out first."""

import pytest

from control_plane.domain.assignment import Assignment
from control_plane.domain.errors import FieldInvalid, ServersDiffer, StillLoading
from control_plane.domain.importing import ONLY_MARKERS, Listed, Shown, first_plan, resolved
from control_plane.domain.observed import Observed
from control_plane.domain.revision import Deployment
from control_plane.domain.state import State
from control_plane.serving.config import read_config
from tests.unit.planning import NOW, OWNER, strange, want

BOTH = frozenset({1, 2})
M = Listed("m", "/models/m", BOTH, {"stable": 1})
UP = State.AVAILABLE


def test_what_servers_show_is_what_is_deployed() -> None:
    seen = {"a": {"m": Shown(BOTH, {"stable": 1})}}
    assert resolved([M], seen).deployments == {"m": Deployment("m", BOTH, {"stable": 1})}
    assert resolved([M], seen).warnings == ()


def test_a_policy_is_what_servers_have_loaded() -> None:
    latest = Listed("m", "/models/m", None)
    seen = {"a": {"m": Shown(frozenset({7}), {"stable": 7})}}
    assert resolved([latest], seen).deployments == {
        "m": Deployment("m", frozenset({7}), {"stable": 7})
    }
    with pytest.raises(FieldInvalid, match="m names no versions"):
        resolved([latest], {})


def test_where_no_server_answers_the_file_is_taken_at_its_word() -> None:
    odd = Listed("m", "/models/m", BOTH, {"stable": 1, "old": 9})
    assert resolved([odd], {}).deployments == {"m": Deployment("m", BOTH, {"stable": 1})}


def test_what_differs_from_the_file_is_said() -> None:
    seen = {"a": {"m": Shown(frozenset({2, 3}), {"stable": 2})}}
    found = resolved([M], seen)
    assert found.deployments == {"m": Deployment("m", frozenset({2, 3}), {"stable": 2})}
    assert found.warnings == (
        "m 1 is listed and not loaded, so it is left out",
        "m 3 is loaded and not listed; it stays",
        "m: stable is listed on 1 and answers 2; that stays",
    )
    nothing = resolved([M], {"a": {"m": Shown(frozenset(), {})}})
    assert nothing.deployments == {}
    assert nothing.warnings == ("m: nothing of it is loaded, so it is left out",)


def test_servers_that_differ_are_named_with_what_they_serve() -> None:
    seen = {"a": {"m": Shown(BOTH, {"stable": 1})}, "b": {"m": Shown(BOTH, {"stable": 2})}}
    with pytest.raises(ServersDiffer, match=r"m is 1, 2 \(stable=1\) on a, .*stable=2\) on b"):
        resolved([M], seen)


def test_what_is_still_loading_is_not_left_out_but_waited_for() -> None:
    half = Shown(frozenset({1}), {}, loading=frozenset({2}))
    for seen in ({"b": {"m": half}}, {"a": {"m": Shown(BOTH, {"stable": 1})}, "b": {"m": half}}):
        with pytest.raises(StillLoading, match="m 2 is still loading on b") as refused:
            resolved([M], seen)
        assert refused.value.hint == "import again when it is loaded"
    ready = {"b": {"m": Shown(BOTH, {"stable": 1}, loading=frozenset())}}
    assert resolved([M], ready).deployments["m"].versions == BOTH


def planned(observed: Observed, *names: str) -> tuple[str, bool]:
    wants = {name: want(name, 1, stable=1) for name in names}
    found = first_plan(Assignment(wants, OWNER), observed, NOW)
    return found.sentence, found.only_markers


def test_the_first_plan_of_what_was_imported_is_our_markers_and_nothing_else() -> None:
    same = strange({"a": {1: UP}, "b": {1: UP}}, labels={n: {"stable": 1} for n in "ab"})
    assert planned(same, "a", "b") == (ONLY_MARKERS, True)


def test_the_first_plan_says_what_it_would_change() -> None:
    more = strange({"a": {1: UP}, "z": {4: UP}}, labels={"a": {"stable": 1}})
    assert planned(more, "a") == ("drops z 4", False)
    less = strange({"a": {1: UP}, "b": {}}, labels={"a": {"stable": 1}})
    assert planned(less, "a", "b") == ("loads b 1", False)
    assert planned(Observed(), "a")[1] is False


CONFIG = """
model_config_list {
  config { name: "m" base_path: "/models/m/" model_platform: "tensorflow"
    model_version_policy { specific { versions: 2 versions: 1 } }
    version_labels { key: "stable" value: 1 } version_labels { key: "_cp_0123" value: 1 } }
  config { name: "n" base_path: "s3://bucket/n" model_type: TENSORFLOW
    model_version_policy { latest { num_versions: 2 } } }
}
"""


def test_a_config_file_is_read_without_our_markers() -> None:
    assert read_config(CONFIG) == (M, Listed("n", "s3://bucket/n", None))


ENTRY = 'config {{ name: "{}" base_path: "{}" {} }}'
TORCH = 'model_platform: "torch"'
LONG_WAY = "model_version_policy { specific { versions: -1 } }"


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("model_config_list {", "text proto"),
        ("", "no model_config_list"),
        ("custom_model_config { }", "no model_config_list"),
        (f"model_config_list {{ {ENTRY.format('m', 'relative', '')} }}", "absolute"),
        (f"model_config_list {{ {ENTRY.format('a b', '/m', '')} }}", "valid name"),
        (f"model_config_list {{ {ENTRY.format('m', '/m', LONG_WAY)} }}", "version"),
        (
            f"model_config_list {{ {ENTRY.format('m', '/m', TORCH)} }}",
            "platform",
        ),
        (f"model_config_list {{ {ENTRY.format('m', '/m', '') * 2} }}", "more than once"),
    ],
)
def test_a_config_that_could_not_go_out_again_is_refused(config: str, word: str) -> None:
    with pytest.raises(FieldInvalid, match=word) as error:
        read_config(config)
    assert error.value.field == "config"
