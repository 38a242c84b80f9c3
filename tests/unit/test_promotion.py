"""What a request makes of a deployment."""

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.errors import (
    ExpectationFailed,
    FieldInvalid,
    NotFound,
    NothingToRollBackTo,
    StillInUse,
    VersionUnknown,
)
from control_plane.domain.promotion import (
    DeployRequest,
    NothingToChange,
    PromoteRequest,
    Verification,
    check_registered,
    deployed,
    expanded,
    promoted,
    restored,
    retired,
    reverted,
    rollback_target,
    rolled_back,
    undeployed,
)
from control_plane.domain.revision import All, Deployment, Latest

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def serving(*versions: int, keep: int = 1, **labels: int) -> Deployment:
    return Deployment("m", frozenset(versions), labels, keep_previous=keep)


def verified(*newest_first: int, bad: tuple[int, ...] = ()) -> tuple[Verification, ...]:
    count = len(newest_first)
    return tuple(
        Verification(version, at(count - i), at(99) if version in bad else None)
        for i, version in enumerate(newest_first)
    )


def changed(result: Deployment | NothingToChange) -> Deployment:
    assert isinstance(result, Deployment)
    return result


def test_a_put_is_taken_exactly() -> None:
    request = DeployRequest(frozenset({2, 3}), {"stable": 2})
    assert deployed(serving(1, stable=1, keep=4), "m", request) == serving(2, 3, stable=2, keep=4)


def test_the_same_put_again_changes_nothing() -> None:
    request = DeployRequest(frozenset({1}), {"stable": 1})
    assert deployed(serving(1, stable=1), "m", request) == NothingToChange(serving(1, stable=1))


def test_a_label_on_a_version_outside_the_deployment_is_refused_by_name() -> None:
    with pytest.raises(FieldInvalid) as refused:
        deployed(None, "m", DeployRequest(frozenset({1}), {"stable": 2}))
    assert refused.value.field == "labels.stable"


def test_a_deployment_without_versions_is_refused() -> None:
    with pytest.raises(FieldInvalid) as refused:
        deployed(None, "m", DeployRequest(frozenset()))
    assert refused.value.field == "versions"


def test_a_promotion_keeps_the_previous_stable_version_loaded() -> None:
    after = promoted(serving(1, stable=1), "m", PromoteRequest(version=2), verified(1))
    assert after == serving(1, 2, stable=2)


def test_a_promotion_drops_what_nothing_holds() -> None:
    after = promoted(serving(1, 2, stable=2), "m", PromoteRequest(version=3), verified(2, 1))
    assert after == serving(2, 3, stable=3)


def test_a_promotion_keeps_what_another_label_holds() -> None:
    before = serving(1, 2, stable=2, legacy=1)
    after = changed(promoted(before, "m", PromoteRequest(version=3), verified(2, 1)))
    assert after.versions == {1, 2, 3}


def test_a_promotion_keeps_a_listed_version_that_no_label_was_on() -> None:
    before = serving(1, 2, 3, stable=1)
    after = changed(promoted(before, "m", PromoteRequest(version=2), verified(1)))
    assert after.versions == {1, 2, 3}


def test_keep_previous_counts_verified_stable_versions() -> None:
    before = serving(2, 3, 4, stable=4, keep=2)
    after = changed(promoted(before, "m", PromoteRequest(version=5), verified(4, 3, 2)))
    assert after.versions == {3, 4, 5}


def test_a_version_that_was_rolled_back_from_is_not_kept() -> None:
    before = serving(2, 3, stable=3)
    after = changed(promoted(before, "m", PromoteRequest(version=4), verified(3, 2, bad=(3,))))
    assert after.versions == {2, 4}


def test_a_canary_leaves_stable_and_its_rollback_target_alone() -> None:
    before = serving(4, 5, 6, stable=5, canary=6)
    request = PromoteRequest(label="canary", version=7)
    after = promoted(before, "m", request, verified(5, 4))
    assert after == serving(4, 5, 7, stable=5, canary=7)


def test_a_version_can_be_taken_from_another_label() -> None:
    before = serving(1, 2, stable=1, canary=2)
    request = PromoteRequest(from_label="canary")
    assert promoted(before, "m", request, verified(1)) == serving(1, 2, stable=2, canary=2)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (PromoteRequest(), "version"),
        (PromoteRequest(from_label="canary"), "from_label"),
        (PromoteRequest(version=2, from_label="stable"), "from_label"),
    ],
)
def test_a_promotion_that_does_not_say_where_to_is_refused(
    request_: PromoteRequest, field: str
) -> None:
    with pytest.raises(FieldInvalid) as refused:
        promoted(serving(1, stable=1), "m", request_, ())
    assert refused.value.field == field


def test_a_failed_expectation_tells_the_actual_version() -> None:
    with pytest.raises(ExpectationFailed) as refused:
        promoted(serving(1, 2, stable=2), "m", PromoteRequest(version=2, expect=1), ())
    assert refused.value.details["actual"] == 2


def test_a_label_that_is_there_already_is_no_change() -> None:
    before = serving(1, stable=1)
    assert promoted(before, "m", PromoteRequest(version=1), ()) == NothingToChange(before)


def test_what_is_not_deployed_cannot_be_promoted() -> None:
    with pytest.raises(NotFound):
        promoted(None, "m", PromoteRequest(version=1), ())


def test_rolling_back_again_goes_back_further() -> None:
    history = verified(3, 2, 1)
    assert rollback_target(history, 3, {1, 2, 3}) == 2
    later = (Verification(2, at(50)), *verified(3, 2, 1, bad=(3,)))
    assert rollback_target(later, 2, {1, 2, 3}) == 1


def test_rolling_back_stops_where_nothing_is_left() -> None:
    history = (Verification(1, at(60)), *verified(2, 3, 2, 1, bad=(2, 3)))
    with pytest.raises(NothingToRollBackTo):
        rollback_target(history, 1, {1, 2, 3})


def test_a_version_verified_again_after_its_rollback_is_a_target_again() -> None:
    again = Verification(3, at(200))
    history = (Verification(4, at(300)), again, *verified(2, 3, 1, bad=(3,)))
    assert rollback_target(history, 4, {1, 2, 3, 4}) == 3


def test_a_deleted_version_is_no_target() -> None:
    assert rollback_target(verified(3, 2, 1), 3, {1, 3}) == 1


def test_a_version_that_was_rolled_back_from_is_dropped() -> None:
    after = rolled_back(serving(2, 3, stable=3), "stable", 2, {3}, verified(3, 2, 1))
    assert after == serving(2, stable=2)


def test_a_version_that_was_rolled_back_from_stays_for_another_label() -> None:
    before = serving(2, 3, stable=3, canary=3)
    after = rolled_back(before, "stable", 2, {3}, verified(3, 2))
    assert after == serving(2, 3, stable=2, canary=3)


def test_a_rollback_keeps_the_next_target_if_it_is_loaded() -> None:
    before = serving(1, 2, 3, stable=3, keep=2)
    after = rolled_back(before, "stable", 2, {3}, verified(3, 2, 1))
    assert after.versions == {1, 2}


def test_a_rollback_loads_nothing_only_to_keep_it() -> None:
    before = serving(2, 3, stable=3)
    assert rolled_back(before, "stable", 2, {3}, verified(3, 2, 1)).versions == {2}


def test_retiring_drops_versions() -> None:
    assert retired(serving(1, 2, stable=2), "m", frozenset({1})) == serving(2, stable=2)


def test_retiring_what_is_not_there_changes_nothing() -> None:
    before = serving(1, stable=1)
    assert retired(before, "m", frozenset({9})) == NothingToChange(before)


def test_a_labelled_version_cannot_be_retired() -> None:
    with pytest.raises(StillInUse) as refused:
        retired(serving(1, 2, stable=2), "m", frozenset({2}))
    assert refused.value.details["labels"] == {"stable": 2}


def test_the_last_version_cannot_be_retired() -> None:
    with pytest.raises(FieldInvalid):
        retired(serving(1), "m", frozenset({1}))


def test_undeploying_takes_the_model_away() -> None:
    assert undeployed(serving(1), "m") == {"m": None}
    with pytest.raises(NotFound):
        undeployed(None, "m")


def test_restoring_leaves_newer_models_unless_pruned() -> None:
    head = {"m": serving(2, stable=2), "new": serving(1)}
    past = {"m": serving(1, stable=1)}
    assert restored(head, past, prune=False) == past
    assert restored(head, past, prune=True) == {**past, "new": None}


def test_restoring_the_present_is_no_change() -> None:
    head = {"m": serving(1)}
    assert restored(head, dict(head), prune=True) == {}


def test_reverting_takes_back_what_was_not_there() -> None:
    assert reverted({"m": serving(1)}, ("m", "new")) == {"m": serving(1), "new": None}


def test_a_policy_takes_the_highest_versions_and_what_is_held() -> None:
    before = Deployment("m", frozenset({1, 2}), {"stable": 1}, Latest(2))
    waits = expanded(before, {1, 2, 3, 4}, verified(1))
    assert waits == NothingToChange(before), "numbers above stable wait for a person"
    auto = Deployment("m", frozenset({1, 2}), {"stable": 1}, Latest(2, auto_load=True))
    assert changed(expanded(auto, {1, 2, 3, 4}, verified(1))).versions == {1, 3, 4}


def test_a_policy_does_not_bring_back_what_was_rolled_back_from() -> None:
    before = Deployment("m", frozenset({2}), {"stable": 2}, Latest(2, auto_load=True))
    after = changed(expanded(before, {1, 2, 3}, verified(3, 2, bad=(3,))))
    assert after.versions == {1, 2}


def test_a_policy_for_all_takes_all_below_stable() -> None:
    before = Deployment("m", frozenset({3}), {"stable": 3}, All())
    assert changed(expanded(before, {1, 2, 3, 4}, ())).versions == {1, 2, 3}


def test_a_specific_policy_takes_nothing() -> None:
    before = serving(1, stable=1)
    assert expanded(before, {1, 2}, ()) == NothingToChange(before)


def test_an_unregistered_version_is_refused_with_those_known() -> None:
    with pytest.raises(VersionUnknown) as refused:
        check_registered("m", {1, 9}, {1, 2})
    assert refused.value.details["known"] == [1, 2]
    assert "1, 2" in refused.value.message
