"""The checker against histories made by hand: each bad one breaks exactly one promise."""

from collections.abc import Callable

import pytest

from tests.chaos.checker import check
from tests.chaos.story import Story, deployed, promoted

BAD: list[tuple[str, Callable[[], Story]]] = []


def bad(invariant: str) -> Callable[[Callable[[], Story]], Callable[[], Story]]:
    def keep(story: Callable[[], Story]) -> Callable[[], Story]:
        BAD.append((invariant, story))
        return story

    return keep


@bad("S1")
def a_label_is_pushed_on_a_version_that_loads() -> Story:
    return deployed().states(3, state="LOADING").revision([1, 2, 3], 3).config([1, 2, 3], 3)


@bad("S1")
def a_label_names_a_version_that_is_not_in_the_push() -> Story:
    return Story().states(1, 2).revision([1, 2], 2).config([1], 2)


@bad("S1")
def a_labelled_version_is_unloaded() -> Story:
    return deployed().states(1, state="UNLOADING", on=["a"])


@bad("S1")
def a_prediction_is_answered_by_another_version() -> Story:
    return deployed().answers(2)


@bad("S1")
def a_prediction_is_answered_by_the_version_of_long_ago() -> Story:
    return promoted().answers(1)


@bad("S2")
def an_acknowledged_promotion_is_lost() -> Story:
    return deployed().asks("up").gets("up", rollout="r2", revision=1)


@bad("S2")
def an_acknowledged_revision_is_lost() -> Story:
    story = deployed().asks("up").started("r2", op="up").gets("up", rollout="r2", revision=7)
    return story.ended("r2", "failed")


@bad("S2")
def a_refused_promotion_has_an_effect() -> Story:
    return deployed().asks("up").revision([1, 2], 2, op="up").started("r2", op="up").refused("up")


@bad("S2")
def a_retry_is_refused_though_its_effect_was_seen() -> Story:
    story = deployed().asks("up").hears_nothing("up").revision([1, 2], 2, op="up")
    story.started("r2", op="up").tell("watcher", "events.read", seqs=[story._seq])
    return story.asks("up").refused("up")


@bad("S3")
def a_revision_is_missing() -> Story:
    story = deployed()
    story._revision += 1
    return story.revision([1, 2], 2)


@bad("S3")
def a_list_of_revisions_has_a_gap() -> Story:
    return promoted().lists(2)


@bad("S3")
def a_list_of_revisions_gets_shorter() -> Story:
    return promoted().lists(1, 2).lists(1)


@bad("S4")
def a_read_does_not_see_what_was_acknowledged() -> Story:
    return promoted().asks("look", "read").gets("look", "read", revision=1)


@bad("S5")
def two_rollouts_of_a_model_are_live() -> Story:
    return deployed().revision([1, 2], 2).started("r2").revision([1, 2], 1).started("r3")


@bad("S6")
def a_rollout_goes_on_after_its_end() -> Story:
    return promoted().moves("r2")


@bad("S6")
def a_rollout_ends_twice() -> Story:
    return promoted().ended("r2", "failed")


@bad("S7")
def a_push_under_an_old_epoch_follows_one_under_a_new_epoch() -> Story:
    return deployed().pushed(2, 100).pushed(1, 101)


@bad("S7")
def an_epoch_has_two_holders() -> Story:
    return deployed().leads(1, "r0").leads(1, "r1")


@bad("S7")
def an_old_epoch_is_in_force_again() -> Story:
    return deployed().leads(2, "r0").leads(1, "r1")


@bad("S9")
def somebody_elses_config_stays() -> Story:
    return deployed().config([1], 1, foreign=True, on=["a"]).end()


@bad("S10")
def a_push_leaves_out_a_model_that_serves() -> Story:
    return deployed().config([5], model="other", on=["a"])


@bad("S11")
def a_push_drops_the_version_that_a_label_names() -> Story:
    return deployed().revision([2], 2).config([2], 2, on=["a"])


@bad("S12")
def a_push_forgets_a_label() -> Story:
    return deployed().config([1, 2], on=["a"])


@bad("S13")
def a_label_moves_to_where_nobody_asked_for() -> Story:
    return deployed().config([1, 2], 2, on=["a"])


@bad("S13")
def a_label_moves_again_after_it_was_rolled_back() -> Story:
    story = promoted().asks("undo", "rollback").revision([1, 2], 1, "rollback", "undo")
    story.started("r3", "rollback", "undo").gets("undo", "rollback", rollout="r3", revision=3)
    story.config([1, 2], 1).ended("r3", verified=1)
    return story.lists().lists().lists().config([1, 2], 2, on=["a"])


@bad("S13")
def a_promotion_moves_on_though_one_server_never_had_the_version() -> Story:
    story = deployed().states(3, on=["a"]).revision([1, 2, 3], 3).started("r2")
    return story.moves("r2").config([1, 2, 3], 3, on=["a"]).ended("r2")


@bad("S14")
def a_rollback_goes_somewhere_else() -> Story:
    story = promoted().states(3).revision([1, 2, 3], 3).started("r3").moves("r3")
    story.config([1, 2, 3], 3).ended("r3", verified=3)
    story.asks("undo", "rollback").revision([1, 2, 3], 1, "rollback", "undo")
    return story.started("r4", "rollback", "undo").gets("undo", "rollback", "r4", 4)


@bad("S15")
def a_retry_is_carried_out_again() -> Story:
    story = deployed().asks("up").revision([1, 2], 2, op="up").started("r2", op="up")
    story.hears_nothing("up").ended("r2", "failed").asks("up")
    story.revision([1, 2], 2, op="up").started("r3", op="up")
    return story.gets("up", rollout="r3", revision=3)


@bad("S15")
def a_retry_gets_another_answer() -> Story:
    story = promoted().asks("up")
    return story.gets("up", rollout="r2", revision=1)


@bad("S17")
def the_journal_has_a_gap() -> Story:
    story = deployed()
    story._seq += 1
    return story.revision([1, 2], 2)


@bad("S18")
def a_watcher_misses_an_event() -> Story:
    return promoted().tell("watcher", "events.read", seqs=[1, 2, 4])


@bad("S18")
def a_watcher_sees_an_event_twice() -> Story:
    story = promoted().tell("watcher", "events.read", seqs=[1, 2])
    return story.tell("watcher", "events.read", seqs=[2, 3])


@bad("S21")
def a_prediction_fails_on_a_label_that_we_hold() -> Story:
    return deployed().fails("NOT_FOUND")


@bad("S22")
def a_write_is_acknowledged_without_a_database() -> Story:
    story = deployed().revision([1, 2], 2, op="up").started("r2", op="up")
    story.tell("nemesis", "fault.on", fault="database-down", target="")
    return story.asks("up").gets("up", rollout="r2", revision=2)


@bad("S22")
def a_push_is_sent_without_a_database() -> Story:
    story = deployed().tell("nemesis", "fault.on", fault="database-down", target="")
    return story.lists().lists().lists().config([1, 2], 1, on=["a"])


@bad("S21")
def a_prediction_fails_though_its_version_was_loaded_again() -> Story:
    story = deployed().tell("server:b", "server.began").config([1, 2], 1, on=["b"])
    return story.states(1, 2, on=["b"]).fails("NOT_FOUND", on="b")


@bad("L1")
def a_rollout_never_ends() -> Story:
    return deployed().revision([1, 2], 1).started("r2").end()


@bad("L2")
def a_label_ends_where_it_should_not() -> Story:
    return deployed().revision([1, 2], 2).end()


@bad("L2")
def a_version_is_left_loaded() -> Story:
    return deployed().states(7, on=["b"]).end()


@pytest.mark.parametrize(("invariant", "story"), BAD, ids=lambda one: getattr(one, "__name__", one))
def test_a_bad_history_breaks_the_invariant_that_it_is_about(
    invariant: str, story: Callable[[], Story]
) -> None:
    assert {one.invariant for one in check(story().lines)} == {invariant}


def test_a_promotion_and_its_rollback_break_nothing() -> None:
    story = promoted().answers(2).lists(1, 2).asks("undo", "rollback")
    story.revision([1, 2], 1, "rollback", "undo").started("r3", "rollback", "undo")
    story.hears_nothing("undo").asks("undo", "rollback")
    story.gets("undo", "rollback", rollout="r3", revision=3)
    story.config([1, 2], 1).ended("r3", verified=1).answers(1).leads(1, "r0").leads(2, "r1")
    story.asks("look", "read").gets("look", "read", revision=3).end()
    assert check(story.lines) == []


def test_a_try_without_an_answer_may_have_its_effect_after_the_next_one_was_refused() -> None:
    story = deployed().asks("up").hears_nothing("up").asks("up").refused("up")
    story.revision([1, 2], 2, op="up").started("r2", op="up")
    story.tell("watcher", "events.read", seqs=[story._seq])
    assert check(story.lines) == []


def test_a_rollback_to_where_a_promotion_goes_leaves_what_was_true_before_it() -> None:
    story = promoted().states(3).revision([2, 3], 3, op="on").started("r3", op="on")
    story.tell("client", "api.call", op="there", verb="rollback", model="m", version=3)
    story.ended("r3", "aborted").revision([3], 3, "rollback", "there")
    story.started("r4", "rollback", "there").ended("r4", verified=3)
    story.asks("undo", "rollback").revision([1, 3], 1, "rollback", "undo")
    assert not [one for one in check(story.lines) if one.invariant == "S14"]


def test_what_others_did_to_a_server_is_not_held_against_us() -> None:
    story = deployed().config([2], 2, foreign=True, on=["a"]).answers(2).fails("NOT_FOUND")
    story.states(1, state="UNLOADING", on=["a"]).states(1, state="END", on=["a"])
    story.config([1, 2], on=["a"]).states(1, state="START", on=["a"]).states(1, on=["a"])
    assert check(story.config([1, 2], 1, on=["a"]).answers(1).end().lines) == []


def test_a_push_that_crosses_somebody_elses_may_point_at_what_that_one_unloads() -> None:
    story = deployed().config([2], 2, foreign=True, on=["a"]).config([1, 2], 1, on=["a"])
    story.lines[-1]["t"] = story.lines[-3]["t"] + 0.1
    story.states(1, state="UNLOADING", on=["a"]).lines[-1]["t"] = story.lines[-2]["t"] + 0.1
    story.fails("NOT_FOUND").states(1, state="START", on=["a"]).fails("NOT_FOUND")
    assert check(story.states(1, on=["a"]).answers(1).end().lines) == []


def test_a_restarted_server_is_filled_again_before_it_has_its_labels() -> None:
    story = deployed().tell("server:a", "server.began").fails("UNAVAILABLE")
    story.config([1, 2], on=["a"]).fails("INVALID_ARGUMENT").states(1, 2, on=["a"])
    assert check(story.config([1, 2], 1, on=["a"]).answers(1).end().lines) == []


def test_a_server_with_the_flag_takes_labels_with_its_first_config_after_a_restart() -> None:
    story = deployed().tell("server:b", "server.began").config([1, 2], 1, on=["b"])
    story.fails("NOT_FOUND", on="b").states(1, 2, on=["b"]).answers(1, on="b").end()
    assert check(story.lines) == []


def test_a_server_with_the_flag_keeps_a_label_on_what_somebody_else_unloaded() -> None:
    story = deployed().config([2], 2, foreign=True, on=["b"]).config([1, 2], 1, on=["b"])
    story.lines[-1]["t"] = story.lines[-3]["t"] + 0.1
    story.states(1, state="UNLOADING", on=["b"]).lines[-1]["t"] = story.lines[-2]["t"] + 0.1
    story.states(1, state="START", on=["b"]).config([1, 2], 1, on=["b"]).states(1, on=["b"])
    assert check(story.answers(1, on="b").end().lines) == []


def test_what_was_left_unanswered_may_have_happened_or_not() -> None:
    story = deployed().asks("lost").hears_nothing("lost")
    story.asks("up").revision([1, 2], 2, op="up").started("r2", op="up").hears_nothing("up")
    assert check(story.ended("r2", "failed").lines) == []


def test_a_promotion_that_takes_over_from_another_begins_where_that_began() -> None:
    story = deployed().states(3).revision([1, 2], 2).started("r2").moves("r2")
    story.config([1, 2], 2, on=["a"]).ended("r2", "aborted")
    story.revision([1, 2, 3], 3).started("r3").config([1, 2, 3], 1, on=["a"]).moves("r3")
    story.config([1, 2, 3], 3)
    story.ended("r3", verified=3)
    assert check(story.end().lines) == []


def test_a_promotion_that_is_turned_back_moves_its_label_there_and_back() -> None:
    story = deployed().revision([1, 2], 2).started("r2").moves("r2").config([1, 2], 2, on=["a"])
    story.revision([1, 2], 1, "revert").ended("r2", "rolled_back").config([1, 2], 1, on=["a"])
    assert check(story.end().lines) == []
