"""What a reload does, refuses and blocks, as with TensorFlow Serving."""

import random

import pytest

from control_plane.devserver.config import All, Entry, Flags, Specific
from control_plane.devserver.machine import Machine
from tests.contract.machine_lab import (
    BARE,
    BROKEN,
    OK,
    ONE_TRY,
    UNAVAILABLE_2,
    WITH_FLAG,
    Lab,
    disk,
    entry,
    lab,
    refusal_of,
    serving_m,
)


def test_a_refused_config_changes_nothing() -> None:
    made = serving_m(1)
    relative = Entry("new", "models/new")
    for config, message in (
        ([entry("m", 2), entry("m", 2)], "Illegal to list model m multiple times in config list"),
        (
            [entry("m", 2), relative],
            "Expected model new to have an absolute path or URI; got base_path()=models/new",
        ),
    ):
        assert made.pushed(*config) == ("INVALID_ARGUMENT", message)
    made.run(5)
    assert made.states() == {1: "AVAILABLE"}


def test_object_storage_is_an_absolute_path() -> None:
    made = serving_m(1)
    made.disk.put("gs://bucket/new", 1)
    assert made.pushed(entry("m", 1), Entry("new", "gs://bucket/new")) == OK


def test_a_missing_platform_refuses_every_later_reload() -> None:
    made = serving_m(1)
    wedged = ("INVALID_ARGUMENT", f"Illegal setting {BARE}, model name is new")
    assert made.pushed(entry("m", 1, kept=1), Entry("new", "/other", platform="")) == wedged
    assert made.machine.labels == {"m": {"kept": 1}}
    for later in ([entry("m", 1)], [entry("m", 1), Entry("new", "/other")], []):
        assert made.pushed(*later) == wedged


def test_both_ways_to_name_a_platform_wedge_too() -> None:
    made = serving_m(1)
    both = Entry("new", "/other", model_type=1)
    assert made.pushed(both)[0] == "INVALID_ARGUMENT"
    assert made.pushed()[0] == "INVALID_ARGUMENT"


def test_the_old_way_alone_to_name_a_platform_is_fine() -> None:
    made = serving_m(1)
    assert made.pushed(entry("m", 1), Entry("other", "/other", platform="", model_type=1)) == OK


def test_an_unsupported_platform_is_remembered_until_a_reload_without_that_model() -> None:
    made = serving_m(1)
    odd = Entry("new", "/other", platform="torch")
    asked = ("INVALID_ARGUMENT", "Model new requests unsupported platform torch")
    assert made.pushed(entry("m", 1), odd) == asked
    assert made.pushed(entry("m", 1), Entry("new", "/other")) == (
        "INVALID_ARGUMENT",
        (
            "Illegal to change a model's platform. For model new platform was torch "
            "and new platform requested is tensorflow"
        ),
    )
    assert made.pushed(entry("m", 1)) == OK
    assert made.pushed(entry("m", 1), Entry("new", "/other")) == OK


def test_a_logging_config_refuses_a_reload_that_was_applied() -> None:
    made = serving_m(1)
    logged = Entry("m", "/m", policy=Specific((1, 2)), logging=True, labels={"stable": 1})
    refused = ("INVALID_ARGUMENT", "No request-logger-creator provided.")
    assert made.pushed(logged) == refused
    assert made.machine.labels == {"m": {"stable": 1}}
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "AVAILABLE"})
    assert made.pushed(logged) == refused


def test_a_failed_load_is_reported_once_and_everything_else_is_applied() -> None:
    made = serving_m(1)
    config = [entry("m", 1, stable=1), entry("bad", 1), entry("other", 1)]
    assert made.pushed(*config) == ("UNKNOWN", BROKEN)
    assert made.states("other") == {1: "AVAILABLE"}
    assert made.machine.resolve("m", label="stable") == 1
    assert made.pushed(*config) == OK
    assert made.states("bad") == {1: "END"}


def test_a_reload_waits_for_the_first_version_only() -> None:
    made = lab()
    assert made.pushed(entry("m", 1, 2, 3)) == OK
    assert made.states() == {3: "AVAILABLE", 2: "START", 1: "START"}


def test_a_failing_version_answers_a_reload_before_a_good_one_is_loaded() -> None:
    storage = disk()
    storage.corrupt("/pair", 2, error="no")
    storage.put("/pair", 1)
    made = lab(storage=storage)
    code, message = made.pushed(Entry("pair", "/pair", policy=All()))
    assert (code, "{name: pair version: 2}" in message) == ("UNKNOWN", True)
    made.until(lambda: made.states("pair") == {2: "END", 1: "AVAILABLE"})


@pytest.mark.parametrize("versions", [(), (9,)])
def test_a_new_model_without_any_wanted_version_blocks_all_reloads(versions: tuple[int]) -> None:
    made = serving_m(1)
    first = made.push(entry("m", 1), entry("other", *versions))
    second = made.push(entry("m", 1))
    made.run(300)
    assert (first.answer, second.answer) == (None, None)
    assert made.machine.resolve("m") == 1


def test_reloads_whose_callers_gave_up_are_applied_in_turn() -> None:
    made = serving_m(1)
    calls = [
        made.push(entry("m", 1), entry("ghost", 1)),
        made.push(entry("m", 1, stable=1), entry("ghost", 1)),
    ]
    made.run(60)
    assert made.machine.labels == {}
    made.disk.put("/ghost")
    made.run(2)
    assert [call.answer for call in calls] == [None, None]
    made.disk.corrupt("/ghost", 1, seconds=0)
    made.until(lambda: all(call.answer for call in calls))
    assert made.machine.labels == {"m": {"stable": 1}}


def test_queued_reloads_may_be_applied_in_any_order() -> None:
    seen = set()
    for seed in range(20):
        made = Lab(entry("m", 1), chooser=random.Random(seed)).ready()
        made.push(entry("m", 1), entry("ghost", 1))
        for name in ("first", "second"):
            made.push(entry("m", 1, **{name: 1}), entry("ghost", 1))
        made.disk.put("/ghost", 1)
        made.run(5)
        seen.add(next(iter(made.machine.labels["m"])))
    assert seen == {"first", "second"}


def test_a_poll_interval_of_zero_never_finds_anything_again() -> None:
    flags = Flags(file_system_poll_wait_seconds=0, max_num_load_retries=0)
    made = serving_m(1, flags=flags)
    assert made.pushed(entry("m", 1, 2)) == OK
    made.run(100)
    assert made.states() == {1: "AVAILABLE"}
    blocked = made.push(entry("m", 1), entry("other", 1))
    made.run(100)
    assert blocked.answer is None


def test_a_poll_interval_of_zero_still_lets_models_be_deleted() -> None:
    flags = Flags(file_system_poll_wait_seconds=0, max_num_load_retries=0)
    made = serving_m(1, flags=flags)
    assert made.pushed() == OK
    made.until(lambda: made.states() == {1: "END"})


def test_delete_and_add_before_the_delete_was_seen_hangs_for_good_and_keeps_serving() -> None:
    made = lab(entry("m", 1), entry("other", 1))
    made.disk.put("/other", 2, seconds=8)
    made.pushed(entry("m", 1), entry("other", 1, 2))
    made.until(lambda: made.states("other") == {2: "LOADING", 1: "AVAILABLE"})
    assert made.pushed(entry("other", 1, 2)) == OK
    hung = made.push(entry("m", 1), entry("other", 1, 2))
    made.run(600)
    assert hung.answer is None
    assert made.states() == {1: "AVAILABLE"}
    assert made.machine.resolve("m") == 1


def test_an_early_re_add_answers_unknown_without_a_cause_and_loads_later() -> None:
    made = serving_m(1)
    made.run(0.32)
    assert made.pushed() == OK
    readded = made.pushed(entry("m", 1))
    assert readded == ("UNKNOWN", "1 model(s) did not become available: {{{name: m version: 1}}, }")
    made.until(lambda: made.states() == {1: "AVAILABLE"})


def test_a_re_add_after_the_end_was_seen_waits_for_the_new_load() -> None:
    made = serving_m(1)
    made.pushed()
    made.until(lambda: made.states() == {1: "END"})
    assert made.pushed(entry("m", 1)) == OK
    assert made.states() == {1: "AVAILABLE"}


def test_a_first_config_over_the_wire_that_partly_fails_orphans_what_it_loaded() -> None:
    made = Lab()
    made.machine = Machine(ONE_TRY, made.disk, None)
    assert made.pushed(entry("m", 1), entry("bad", 1))[0] == "UNKNOWN"
    made.until(lambda: made.states() == {1: "AVAILABLE"})
    assert made.pushed(entry("other", 1)) == OK
    assert made.states() == {1: "AVAILABLE"}
    hung = made.push(entry("other", 1), entry("m", 1))
    made.run(600)
    assert hung.answer is None


def test_a_label_on_a_version_that_is_not_available_refuses_the_whole_reload() -> None:
    made = serving_m(1)
    assert made.pushed(entry("other", 1), entry("m", 1, 2, stable=1, canary=2)) == UNAVAILABLE_2
    made.run(3)
    assert (made.states("other"), made.machine.labels) == ({}, {})


def test_the_flag_allows_new_labels_but_no_move_to_an_unavailable_version() -> None:
    made = serving_m(1, flags=WITH_FLAG)
    assert made.pushed(entry("m", 1, stable=1, canary=2)) == OK
    expected = ("NOT_FOUND", "Servable not found for request: Specific(m, 2)")
    assert refusal_of(lambda: made.machine.resolve("m", label="canary")) == expected
    assert made.pushed(entry("m", 1, stable=2)) == UNAVAILABLE_2
    assert made.pushed(entry("m", 1)) == OK
    assert made.pushed(entry("m", 1, stable=2)) == OK


def test_a_dangling_label_blocks_all_reloads_without_the_flag() -> None:
    made = serving_m(1, 2)
    assert made.pushed(entry("m", 1, stable=2)) == OK
    made.until(lambda: made.states() == {2: "END", 1: "AVAILABLE"})
    assert made.pushed(entry("m", 1, stable=2), entry("other", 1)) == UNAVAILABLE_2
    assert made.pushed(entry("m", 1, stable=1), entry("other", 1)) == OK


def test_the_empty_string_is_a_label() -> None:
    made = serving_m(1)
    assert made.pushed(Entry("m", "/m", policy=Specific((1,)), labels={"": 1})) == OK
    assert made.machine.resolve("m", label="") == 1
