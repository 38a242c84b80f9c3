"""How a server starts, answers and forgets, as TensorFlow Serving does."""

from control_plane.devserver.config import Entry, Flags, Latest
from control_plane.devserver.machine import Machine
from control_plane.devserver.refusal import Code
from control_plane.domain.state import State
from tests.contract.machine_lab import OK, ONE_TRY, Lab, disk, entry, lab, refusal_of, serving_m


def test_the_ports_stay_closed_until_every_model_of_the_file_has_a_version() -> None:
    made = Lab(entry("m", 1), entry("slow", 1))
    made.until(lambda: made.states() == {1: "AVAILABLE"})
    assert not made.machine.ready
    made.ready()
    assert made.states("slow") == {1: "AVAILABLE"}


def test_a_failing_model_of_the_file_ends_the_server() -> None:
    made = Lab(entry("m", 1), entry("bad", 1))
    made.until(lambda: made.machine.failed is not None)
    assert made.machine.failed == (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: bad version: 1} due to error: DATA_LOSS: no}, }"
    )
    assert made.machine.due() is None


def test_one_failed_version_ends_the_server_although_another_was_loadable() -> None:
    storage = disk()
    storage.corrupt("/m", 9, seconds=0)
    made = Lab(Entry("m", "/m", policy=Latest(2)), storage=storage)
    made.until(lambda: made.machine.failed is not None)
    assert "{name: m version: 9}" in (made.machine.failed or "")


def test_the_ports_stay_closed_until_all_loads_that_began_have_ended() -> None:
    made = Lab(entry("slow", 1, 2))
    made.disk.put("/slow", 2)
    made.until(lambda: made.states("slow") == {2: "AVAILABLE", 1: "LOADING"})
    assert not made.machine.ready
    made.ready()
    assert made.states("slow") == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_a_missing_base_path_keeps_the_ports_closed_until_it_appears() -> None:
    made = Lab(entry("ghost", 1))
    made.run(60)
    assert not made.machine.ready
    made.disk.put("/ghost", 1)
    made.ready()


def test_labels_in_the_file_end_the_server_without_the_flag() -> None:
    made = Lab(entry("m", 1, stable=1))
    assert made.machine.failed == (
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 1 "
        "of model m, which is not currently available for inference"
    )


def test_a_logging_config_in_the_file_ends_the_server_after_everything_was_loaded() -> None:
    made = Lab(Entry("m", "/m", logging=True))
    made.until(lambda: made.machine.failed is not None)
    assert made.states() == {3: "AVAILABLE"}
    expected = (
        "Failed to start server. Error: INVALID_ARGUMENT: No request-logger-creator provided."
    )
    assert made.machine.failed == expected


def test_labels_are_not_initialised_before_any_config_was_accepted() -> None:
    machine = Machine(ONE_TRY, disk(), None)
    assert machine.ready
    asked = refusal_of(lambda: machine.resolve("m", label="stable"))
    assert asked == ("UNAVAILABLE", "Model labels does not init yet.stable")


def test_after_an_empty_list_at_start_labels_are_merely_unknown() -> None:
    made = lab()
    asked = refusal_of(lambda: made.machine.resolve("m", label="stable"))
    assert asked == ("INVALID_ARGUMENT", "Unrecognized servable version label: stable")


def test_without_polls_the_server_never_starts() -> None:
    made = Lab(entry("m", 1), flags=Flags(file_system_poll_wait_seconds=-1))
    made.run(100)
    assert not made.machine.ready
    assert made.machine.due() is None


def test_what_is_not_there_is_not_found_in_these_words() -> None:
    machine = serving_m(1).machine
    for act, message in (
        (lambda: machine.status("nobody"), "Could not find any versions of model nobody"),
        (lambda: machine.status("m", 9), "Could not find version 9 of model m"),
        (lambda: machine.resolve("nobody"), "Servable not found for request: Latest(nobody)"),
        (lambda: machine.resolve("m", 9), "Servable not found for request: Specific(m, 9)"),
    ):
        assert refusal_of(act) == ("NOT_FOUND", message)
    assert refusal_of(lambda: machine.resolve("nobody", label="x"))[0] == "INVALID_ARGUMENT"
    nameless = refusal_of(lambda: machine.resolve(""))
    assert nameless == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")


def test_a_removed_model_stays_on_record_until_the_process_ends() -> None:
    made = serving_m(1)
    made.pushed()
    made.run(3600)
    assert made.machine.status("m", 1)[1].state is State.END
    restarted = lab(storage=made.disk)
    assert restarted.states() == {}


def test_file_polling_reverts_what_was_pushed() -> None:
    flags = Flags(model_config_file_poll_wait_seconds=5, max_num_load_retries=0)
    made = Lab(entry("m", 1), flags=flags, file=lambda: [entry("m", 1)]).ready()
    made.run(1)
    assert made.pushed(entry("m", 1, stable=1), entry("other", 1)) == OK
    made.until(lambda: made.states("other") == {1: "END"})
    assert made.machine.labels == {}


def test_a_refused_reload_has_no_effect() -> None:
    made = serving_m(1)
    made.machine.refuse_next_reload(Code.UNAVAILABLE, "connection reset")
    assert made.pushed() == ("UNAVAILABLE", "connection reset")
    assert made.pushed(entry("m", 1, stable=1)) == OK


def test_a_crash_answers_nobody() -> None:
    made = serving_m(1)
    call = made.push(entry("m", 1), entry("other", 1))
    made.machine.crash()
    made.run(60)
    assert (call.answer, made.machine.ready, made.machine.due()) == (None, False, None)
