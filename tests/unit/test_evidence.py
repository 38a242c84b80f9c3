"""What looks prove: markers, intents, restarts; each test fails when its rule is broken."""

from collections.abc import Mapping
from dataclasses import replace

from control_plane.domain.observed import Intent, Look, Observed, Verified
from control_plane.domain.state import (
    Absent,
    Dangling,
    LabelAnswer,
    Marker,
    ReloadAnswer,
    Resolved,
    State,
    VersionStatus,
)
from tests.unit.planning import LONG_AGO, NOW, OWNER, config, domain, entry, running, strange

SETTLE_S = 3.0
OLD = config(m=entry("m", 1, stable=1))
NEW = config(m=entry("m", 1, stable=1), n=entry("n", 1))
ONE = running(OLD, {"m": {1: State.AVAILABLE}})
LOST, OK = ReloadAnswer("DEADLINE_EXCEEDED"), ReloadAnswer("OK")
AVAILABLE = VersionStatus(State.AVAILABLE)


def learn(observed: Observed, look: Look) -> Observed:
    learned: Observed = domain("evidence").learn(observed, look, SETTLE_S)
    return learned


def look(
    at: float = NOW + 1,
    statuses: Mapping[str, Mapping[int, VersionStatus]] | None = None,
    *,
    old: LabelAnswer | None = None,
    new: LabelAnswer | None = None,
    full: bool = False,
) -> Look:
    asked = {("m", OLD.digest_label): old, ("m", NEW.digest_label): new}
    markers = {place: answer for place, answer in asked.items() if answer is not None}
    return Look(at, statuses=statuses or {}, markers=markers, full=full)


def intent(answer: ReloadAnswer | None = None) -> Intent:
    names = frozenset({"n"})
    return Intent(NEW, Marker("m", 1), names, NOW, answer=answer, answered_at=NOW + 0.1)


def test_a_config_is_ours_while_its_marker_answers() -> None:
    assert learn(ONE, look(old=Resolved(1))).verified == ONE.verified
    lost = learn(ONE, look(old=Absent()))
    assert (lost.verified, lost.foreign, lost.looked_at) == (None, True, 0.0)
    assert lost.proven == {"m": {"stable": 1}}


def test_a_marker_on_another_version_is_somebody_elses() -> None:
    assert learn(ONE, look(old=Resolved(2))).verified is None


def test_a_dangling_marker_means_that_its_version_is_gone() -> None:
    ended = {"m": {1: VersionStatus(State.END)}}
    gone = learn(ONE, look(statuses=ended, old=Dangling(1)))
    assert gone.verified == ONE.verified
    assert gone.marker_gone


def test_a_label_that_was_moved_beside_our_marker_is_found_by_a_sweep() -> None:
    swept = replace(look(old=Resolved(1), full=True), labels={"m": {"stable": Resolved(2)}})
    assert learn(ONE, swept).verified is None


def test_a_marker_that_answers_proves_the_labels_beside_it() -> None:
    sent = replace(ONE, intent=intent(OK), labels={"m": {"stable": 9}})
    proven = learn(sent, look(new=Resolved(1)))
    assert proven.verified is not None
    assert proven.verified.config == NEW
    assert (proven.labels["m"], proven.quiet_since) == ({"stable": 1}, NOW + 1)


def test_without_a_marker_a_label_says_nothing_until_it_is_asked() -> None:
    plain = replace(intent(OK), marker=None)
    sent = replace(ONE, intent=plain, labels={"m": {"stable": 9}})
    shown = {"m": {1: AVAILABLE}, "n": {1: AVAILABLE}}
    assert learn(sent, look(statuses=shown, full=True)).labels["m"] == {"stable": 9}


def test_a_closed_port_and_no_marker_prove_a_restart_though_all_is_loaded() -> None:
    same = {"m": {1: AVAILABLE}}
    away = learn(ONE, Look(NOW, reachable=False, closed=True))
    away = learn(away, Look(NOW + 0.5, reachable=False))
    back = learn(away, look(statuses=same, old=Absent()))
    assert (back.restarted_at, back.foreign, back.closed) == (NOW + 1, False, False)
    assert back.proven == {"m": {"stable": 1}}
    for answered in (look(statuses=same, old=Resolved(1)), look(statuses=same, new=Resolved(1))):
        assert learn(replace(away, intent=intent(LOST)), answered).restarted_at == 0.0


def test_silence_and_no_marker_are_somebody_elses_config() -> None:
    away = learn(ONE, Look(NOW, reachable=False))
    back = learn(away, look(statuses={"m": {1: AVAILABLE}}, old=Absent()))
    assert (back.restarted_at, back.foreign) == (0.0, True)


def test_a_status_entry_that_is_gone_proves_a_restart() -> None:
    waiting = replace(ONE, intent=intent(LOST), wedged="restart me")
    back = learn(waiting, look(statuses={"m": {}}, old=Absent(), full=True))
    assert (back.verified, back.intent, back.wedged) == (None, None, "")
    assert back.restarted_at == NOW + 1
    assert not back.foreign
    assert back.proven == {"m": {"stable": 1}}


def test_a_push_that_met_the_restarted_process_is_recognised() -> None:
    sent = replace(ONE, intent=intent(None))
    back = learn(sent, look(statuses={"m": {}}, old=Absent(), new=Dangling(1), full=True))
    assert back.intent is None
    assert back.verified is not None
    assert back.verified.config == NEW


def test_without_a_marker_every_status_is_asked() -> None:
    bare = replace(ONE, verified=Verified(OLD, None, LONG_AGO))
    asked = domain("questions").questions(bare, {"m": {"stable": 1}}, OWNER, frozenset())
    assert asked.statuses == ("m",)


def test_an_unreachable_server_keeps_what_is_known_of_it() -> None:
    away = learn(ONE, Look(NOW + 1, reachable=False))
    assert (away.reachable, away.models, away.verified) == (False, ONE.models, ONE.verified)


def test_an_answer_is_no_effect_until_the_marker_shows() -> None:
    sent = replace(ONE, intent=intent(OK))
    listed = {"m": {1: AVAILABLE}, "n": {1: AVAILABLE}}
    applied = learn(sent, look(statuses=listed, old=Absent(), new=Resolved(1)))
    assert applied.intent is None
    assert applied.verified is not None
    assert applied.verified.config == NEW
    replaced = learn(sent, look(statuses=listed, old=Absent(), new=Absent()))
    assert (replaced.verified, replaced.intent, replaced.foreign) == (None, None, True)


def test_nothing_is_concluded_while_the_call_runs() -> None:
    sent = replace(ONE, intent=intent(None))
    still = learn(sent, look(statuses={"n": {1: AVAILABLE}}, old=Absent(), new=Resolved(1)))
    assert still.intent is not None


def test_a_lost_answer_is_applied_only_when_its_new_names_have_moved() -> None:
    sent = replace(ONE, intent=intent(LOST))
    waiting = learn(sent, look(statuses={"n": {}}, old=Absent(), new=Resolved(1)))
    assert waiting.intent is not None
    moved = learn(waiting, look(NOW + 2, {"n": {1: AVAILABLE}}, new=Resolved(1)))
    assert moved.verified is not None
    assert moved.verified.config == NEW


def test_a_lost_answer_without_a_sign_is_void_after_settling() -> None:
    sent = replace(ONE, intent=intent(LOST))
    early = learn(sent, look(NOW + 1, {"n": {}}, old=Resolved(1), new=Absent()))
    assert early.intent is not None
    late = learn(early, look(NOW + 1 + SETTLE_S, {"n": {}}, old=Resolved(1), new=Absent()))
    assert late.intent is None
    assert len(late.ghosts) == 1
    assert late.verified == ONE.verified


def test_a_void_intent_that_was_applied_after_all_is_recognised() -> None:
    haunted = replace(ONE, ghosts=(intent(LOST),))
    owned = learn(haunted, look(old=Absent(), new=Resolved(1)))
    assert owned.verified is not None
    assert owned.verified.config == NEW


def test_a_refused_config_changes_nothing_and_is_looked_into() -> None:
    refusal = ReloadAnswer("FAILED_PRECONDITION", "Request to assign label to version 2 of model m")
    refused = learn(replace(ONE, intent=intent(refusal)), look(old=Resolved(1), new=Absent()))
    assert refused.intent is None
    assert refused.verified == ONE.verified
    assert refused.looked_at == 0.0
    assert refused.refusal is not None


def test_a_refusal_that_names_a_model_we_did_not_send_is_a_wedge() -> None:
    text = "Illegal setting neither a nor b, model name is ghost"
    answer = ReloadAnswer("INVALID_ARGUMENT", text)
    refused = learn(replace(ONE, intent=intent(answer)), look(old=Resolved(1)))
    assert refused.wedged == text


def test_our_owner_marker_without_our_digest_means_another_writer() -> None:
    place = {("m", OWNER): Resolved(1)}
    alien = strange({"m": {1: State.AVAILABLE}})
    found = learn(alien, Look(NOW + 1, markers=place, full=True))
    assert found.other_writer_since == NOW + 1
    nobody = learn(alien, Look(NOW + 1, markers={("m", OWNER): Absent()}, full=True))
    assert not nobody.other_writer_since


def test_a_version_that_leaves_the_config_counts_as_dropped_from_its_verification_on() -> None:
    both = running(config(m=entry("m", 1, 2)), {"m": {1: State.AVAILABLE, 2: State.AVAILABLE}})
    fewer = Intent(OLD, Marker("m", 1), frozenset(), NOW, answer=OK)
    markers: dict[tuple[str, str], LabelAnswer] = {("m", OLD.digest_label): Resolved(1)}
    after = learn(replace(both, intent=fewer), Look(NOW + 1, markers=markers))
    assert after.dropped["m"] == {2: NOW + 1}


def test_a_version_that_was_unloaded_before_a_push_was_not_dropped_by_it() -> None:
    states = {"m": {1: State.AVAILABLE, 2: State.END}}
    stranger = running(config(m=entry("m", 1, 2)), states)
    failed = replace(stranger.models["m"][2], error_code=13, error="bad")
    fewer = Intent(OLD, Marker("m", 1), frozenset(), NOW, answer=OK)
    markers: dict[tuple[str, str], LabelAnswer] = {("m", OLD.digest_label): Resolved(1)}
    after = learn(replace(stranger, intent=fewer), Look(NOW + 1, markers=markers))
    assert after.dropped["m"] == {2: stranger.models["m"][2].since}
    models = {"m": {**stranger.models["m"], 2: failed}}
    after = learn(replace(stranger, models=models, intent=fewer), Look(NOW + 1, markers=markers))
    assert after.dropped["m"] == {2: NOW + 1}, "it was managed to this day"


def test_a_marker_that_was_asked_for_in_vain_says_nothing_about_our_push() -> None:
    before = running(
        config(m=entry("m", 1, 2, stable=1)), {"m": dict.fromkeys((1, 2), State.AVAILABLE)}
    )
    moved = config(m=entry("m", 1, 2, stable=2))
    push = Intent(moved, Marker("m", 2), frozenset(), NOW, answer=OK)
    labels: dict[str, dict[str, LabelAnswer]] = {"m": {"stable": Resolved(2)}}
    told = learn(replace(before, intent=push), Look(NOW + 1, labels=labels))
    assert (told.foreign, told.intent) == (False, push)
    markers: dict[tuple[str, str], LabelAnswer] = {("m", moved.digest_label): Resolved(2)}
    after = learn(told, Look(NOW + 2, labels=labels, markers=markers))
    assert (after.foreign, after.intent) == (False, None)
    assert after.verified is not None
    assert after.verified.config == moved


def test_a_failure_is_counted_once_and_again_after_the_next_try() -> None:
    bad = {"m": {1: AVAILABLE, 2: VersionStatus(State.END, 13, "bad")}}
    first = learn(ONE, look(NOW + 1, bad))
    again = learn(first, look(NOW + 2, bad))
    assert again.failures["m"][2].count == 1
    retried = replace(again, added={"m": {2: NOW + 10}})
    assert learn(retried, look(NOW + 11, bad)).failures["m"][2].count == 1
    assert learn(retried, look(NOW + 10 + SETTLE_S, bad)).failures["m"][2].count == 2


def test_changes_are_dated_and_quiet_is_what_did_not_change() -> None:
    same = learn(ONE, look(statuses={"m": {1: AVAILABLE}}))
    assert same.models["m"][1].since == LONG_AGO
    assert same.quiet_since == ONE.quiet_since
    changed = learn(ONE, look(statuses={"m": {1: VersionStatus(State.UNLOADING)}}))
    assert changed.models["m"][1].since == NOW + 1
    assert changed.quiet_since == NOW + 1
