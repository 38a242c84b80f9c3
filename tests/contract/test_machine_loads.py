"""How versions are found, loaded and unloaded, as by TensorFlow Serving."""

from control_plane.devserver.config import All, Entry, Flags, Latest, Specific
from control_plane.devserver.refusal import Code
from tests.contract.machine_lab import BROKEN, OK, TWO_TRIES, disk, entry, lab, serving_m


def test_one_missing_base_path_freezes_every_model_but_not_deletions() -> None:
    made = lab(entry("m", 1), entry("other", 1))
    made.disk.vanish("/other")
    made.pushed(entry("m", 1, 2), entry("other", 1))
    made.run(60)
    assert made.states() == {1: "AVAILABLE"}
    assert made.machine.resolve("other") == 1
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states("other") == {1: "END"})
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "AVAILABLE"})


def test_a_list_of_which_nothing_exists_unloads_everything() -> None:
    made = serving_m(1, 2)
    assert made.pushed(entry("m", 9)) == OK
    made.until(lambda: made.states() == {2: "END", 1: "END"})


def test_a_vanished_version_is_unloaded_and_loaded_again_when_it_is_back() -> None:
    made = serving_m(1, 2)
    made.disk.vanish("/m", 2)
    made.until(lambda: made.states() == {2: "END", 1: "AVAILABLE"})
    made.disk.put("/m", 2)
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "AVAILABLE"})


def test_names_are_numbers_in_any_spelling_and_nothing_else() -> None:
    storage = disk()
    storage.put("/odd", "007", "7x", ".tmp-8", "saved")
    made = lab(Entry("odd", "/odd", policy=All()), storage=storage)
    assert made.states("odd") == {7: "AVAILABLE"}


def test_a_plain_file_counts_as_a_version_and_fails_while_it_says_start() -> None:
    storage = disk()
    storage.file("/m", "9")
    made = lab(entry("m", 1), storage=storage)
    made.pushed(Entry("m", "/m", policy=All()))
    made.until(lambda: made.states().get(9) == "END")
    assert made.error("m", 9) == (
        Code.FAILED_PRECONDITION,
        (
            "Error while attempting to reserve resources to load servable {name: m version: 9}: "
            "/m/9; Not a directory"
        ),
    )


def test_the_latest_policy_follows_the_highest_numbers() -> None:
    made = lab(Entry("m", "/m", policy=Latest(0)))
    assert made.states() == {3: "AVAILABLE"}
    made.disk.put("/m", 4)
    made.until(lambda: made.states() == {4: "AVAILABLE", 3: "END"})


def test_from_1_to_2_serves_1_until_2_is_available() -> None:
    made = serving_m(1)
    made.pushed(entry("m", 2))
    assert made.course(lambda: made.machine.resolve("m"), 2) == [1, 2]
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "END"})


def test_from_1_and_2_to_3_unloads_1_before_3_is_loaded() -> None:
    made = serving_m(1, 2)
    made.pushed(entry("m", 3))
    made.until(lambda: made.states().get(3) == "LOADING")
    assert made.states() == {3: "LOADING", 2: "AVAILABLE", 1: "END"}
    made.until(lambda: made.states() == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_an_inline_load_stops_everything_else() -> None:
    made = serving_m(1)
    made.push(entry("m", 1, 2), entry("slow", 1))
    made.until(lambda: made.states("slow") == {1: "LOADING"})
    made.push(entry("m", 1, 2, 3), entry("slow", 1))
    made.run(7)
    assert 3 not in made.states()
    made.until(lambda: made.states().get(3) == "AVAILABLE")


def test_load_threads_let_others_load_meanwhile() -> None:
    made = serving_m(1, flags=Flags(num_load_threads=2, num_unload_threads=1))
    made.push(entry("m", 1, 2), entry("slow", 1))
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "AVAILABLE"}, within_s=3)
    assert made.states("slow") == {1: "LOADING"}


def test_retries_say_loading_without_an_error_and_stop_for_good_after_the_last() -> None:
    made = lab(flags=TWO_TRIES)
    call = made.push(entry("bad", 1))
    made.run(7)
    assert (made.states("bad"), made.error("bad", 1)) == ({1: "LOADING"}, (0, ""))
    assert call.answer is None
    made.until(lambda: call.answer is not None)
    assert call.answer == ("UNKNOWN", BROKEN)
    made.disk.put("/bad", 1)
    made.run(600)
    assert made.states("bad") == {1: "END"}


def test_files_repaired_during_the_retries_are_loaded() -> None:
    made = lab(flags=TWO_TRIES)
    call = made.push(entry("bad", 1))
    made.run(3)
    made.disk.put("/bad", 1)
    made.until(lambda: call.answer == OK)


def test_a_failed_version_is_tried_again_after_a_drop_that_a_poll_has_seen() -> None:
    made = lab(entry("m", 1))
    made.disk.corrupt("/m", 2)
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states() == {2: "END", 1: "AVAILABLE"})
    made.disk.put("/m", 2)
    made.pushed(entry("m", 1))
    made.pushed(entry("m", 1, 2))
    made.run(5)
    assert made.states()[2] == "END", "the drop was never seen"
    made.pushed(entry("m", 1))
    made.run(1.2)
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states() == {2: "AVAILABLE", 1: "AVAILABLE"})


def test_end_stays_from_the_last_load_until_the_next_one_starts() -> None:
    made = serving_m(1, 2)
    made.pushed(entry("m", 1))
    made.until(lambda: made.states()[2] == "END")
    made.run(0.15)
    made.pushed(entry("m", 1, 2))
    assert made.states()[2] == "END"
    course = made.course(lambda: made.states()[2], "AVAILABLE")
    assert course == ["END", "START", "LOADING", "AVAILABLE"]


def test_taking_out_a_name_leaves_a_version_in_start_for_good() -> None:
    made = serving_m(1, flags=TWO_TRIES)
    made.pushed(entry("m", 1), entry("other", 1))
    made.disk.corrupt("/m", 2)
    made.pushed(entry("m", 1, 2), entry("other", 1, 2))
    made.until(lambda: made.states().get(2) == "LOADING")
    assert made.states("other") == {2: "START", 1: "AVAILABLE"}
    assert made.pushed(entry("m", 1, 2)) == OK
    made.run(600)
    assert made.states("other") == {2: "START", 1: "END"}
    assert made.pushed(entry("m", 1, 2), entry("other", 2)) == OK
    assert made.states("other") == {2: "AVAILABLE", 1: "END"}


def test_dropping_a_version_in_start_while_its_name_stays_ends_it() -> None:
    made = lab(flags=TWO_TRIES)
    made.disk.corrupt("/m", 3)
    made.push(entry("m", 1, 2, 3))
    made.until(lambda: made.states().get(3) == "LOADING")
    made.push(entry("m", 1, 3))
    made.until(lambda: made.states() == {3: "END", 2: "END", 1: "AVAILABLE"})
    assert made.error("m", 2) == (0, "")


def test_going_back_after_a_failed_switch_is_postponed_for_good() -> None:
    made = serving_m(1)
    made.disk.corrupt("/m", 2)
    made.pushed(entry("m", 2))
    made.until(lambda: made.states() == {2: "END", 1: "AVAILABLE"})
    for versions in ([1], [1, 3]):
        assert made.pushed(entry("m", *versions)) == OK
        made.run(60)
        assert made.states() == {2: "END", 1: "AVAILABLE"}
    made.pushed(entry("m", 3))
    made.until(lambda: made.states() == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_dropping_a_failed_version_beside_a_good_one_postpones_nothing() -> None:
    made = serving_m(1)
    made.disk.corrupt("/m", 2)
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states().get(2) == "END")
    made.pushed(entry("m", 1))
    made.pushed(entry("m", 1, 3))
    made.until(lambda: made.states() == {3: "AVAILABLE", 2: "END", 1: "AVAILABLE"})


def test_a_dropped_load_that_succeeds_is_reported_cancelled() -> None:
    made = lab(entry("m", 1), flags=Flags(num_load_threads=1, num_unload_threads=1))
    made.disk.put("/m", 2, seconds=5)
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states().get(2) == "LOADING")
    made.pushed(entry("m", 1))
    made.until(lambda: made.states()[2] == "END")
    assert made.error("m", 2) == (Code.CANCELLED, "Loading of servable cancelled")


def test_a_version_dropped_during_its_retries_ends_with_the_loaders_error() -> None:
    flags = Flags(num_load_threads=1, max_num_load_retries=5, load_retry_interval_micros=3_000_000)
    made = lab(entry("m", 1), flags=flags)
    made.disk.corrupt("/m", 2, error="no")
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states().get(2) == "LOADING")
    made.pushed(entry("m", 1))
    made.until(lambda: made.states()[2] == "END", within_s=6)
    assert made.error("m", 2) == (Code.DATA_LOSS, "no")


def test_changing_the_base_path_under_a_loaded_number_changes_nothing() -> None:
    made = serving_m(1)
    made.pushed(Entry("m", "/other", policy=Specific((1,))))
    made.run(10)
    assert made.states() == {1: "AVAILABLE"}


def test_one_request_in_flight_delays_what_is_published_on_other_models() -> None:
    made = lab(entry("m", 1), entry("other", 1))
    entered = made.machine.enter()
    made.pushed(entry("m", 1), entry("other", 2))
    made.run(30)
    assert made.machine.resolve("other") == 2
    assert made.states("other") == {2: "LOADING", 1: "AVAILABLE"}
    made.machine.leave(entered)
    made.until(lambda: made.states("other") == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_is_unloading_is_not_found_any_more() -> None:
    made = serving_m(1, 2)
    made.pushed(entry("m", 1))
    made.until(lambda: made.states()[2] == "UNLOADING")
    assert made.machine.serving == {("m", 1)}


def test_a_load_takes_two_tenths_of_a_second_and_an_unload_one() -> None:
    storage = disk()
    storage.put("/many", *range(20))
    made = lab(storage=storage)
    began = made.machine.now
    made.pushed(Entry("many", "/many", policy=All()))
    made.until(lambda: set(made.states("many").values()) == {"AVAILABLE"})
    assert 3 < made.machine.now - began < 6
    began = made.machine.now
    made.pushed()
    made.until(lambda: set(made.states("many").values()) == {"END"})
    assert 1.5 < made.machine.now - began < 3


def test_going_back_while_the_new_version_loads_cancels_nothing() -> None:
    made = serving_m(1)
    made.disk.put("/m", 2, seconds=3)
    made.pushed(entry("m", 2))
    made.until(lambda: made.states().get(2) == "LOADING")
    made.pushed(entry("m", 1))
    course = made.course(lambda: max(v for _, v in made.machine.serving), 2)
    assert course == [1, 2]
    made.until(lambda: made.states() == {2: "END", 1: "AVAILABLE"})


def test_a_load_repaired_before_its_drop_was_seen_serves_for_a_moment() -> None:
    flags = Flags(max_num_load_retries=1, load_retry_interval_micros=300_000)
    made = serving_m(1, flags=flags)
    made.disk.corrupt("/m", 2)
    made.pushed(entry("m", 1, 2))
    made.until(lambda: made.states().get(2) == "LOADING")
    made.pushed(entry("m", 1))
    made.disk.put("/m", 2)
    course = made.course(lambda: made.states()[2], "END")
    assert course == ["LOADING", "AVAILABLE", "UNLOADING", "END"]
    assert made.error("m", 2) == (0, "")
