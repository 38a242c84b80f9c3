"""The dev server's command line."""

import pytest

from control_plane.devserver.config import Flags
from control_plane.devserver.flags import BadFlag, Options, parse_flags


def test_nothing_given_means_the_real_defaults() -> None:
    options = parse_flags([])
    assert options == Options()
    assert (options.port, options.host) == (8500, "127.0.0.1")
    assert options.flags.max_num_load_retries == 5
    assert options.flags.load_retry_interval_micros == 60_000_000
    assert (options.flags.num_load_threads, options.flags.num_unload_threads) == (0, 0)
    assert not options.flags.allow_version_labels_for_unavailable_models


def test_values_follow_an_equals_sign_or_a_space() -> None:
    options = parse_flags(["--port=1", "--host", "::1", "--file_system_poll_wait_seconds", "-1"])
    assert options == Options(Flags(file_system_poll_wait_seconds=-1), port=1, host="::1")


def test_booleans_may_stand_alone() -> None:
    options = parse_flags(
        ["--no_predict", "--allow_version_labels_for_unavailable_models", "false", "--port=1"]
    )
    assert options == Options(port=1, no_predict=True)


def test_what_is_unknown_or_without_effect_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    options = parse_flags(
        ["--magic=1", "--more", "magic", "--rest_api_num_threads", "2", "--port=1"]
    )
    assert options == Options(port=1)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "unknown argument: --magic",
        "unknown argument: --more",
        "not emulated: --rest_api_num_threads",
    ]


@pytest.mark.parametrize("word", ["--port=x", "--port", "--no_predict=maybe"])
def test_a_value_of_the_wrong_type_is_refused(word: str) -> None:
    with pytest.raises(BadFlag, match="Couldn't interpret value"):
        parse_flags([word])
